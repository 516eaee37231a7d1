//! Where a node reports its part of a custom resource's status (ADR 39).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, Role, show};

/// Plural names of the resources that nodes report into.
pub const PEERS: &str = "sorchapeers";
/// See [`PEERS`].
pub const CENTRAL_NODES: &str = "sorchacentralnodes";
/// What the name of a node's field manager begins with; the name of its pod follows.
pub const FIELD_MANAGER: &str = "sorcha-node.";
/// Longest name that the API server takes for a field manager.
const FIELD_MANAGER_CHARS: usize = 128;
/// Longest name of a resource or namespace that a DNS label allows.
const LABEL_CHARS: usize = 63;

/// Reports into the status of a custom resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Report {
    /// The resource: `sorchapeers/NAME` or `sorchacentralnodes/NAME`. Unset: no reports, as outside Kubernetes.
    pub resource: Option<String>,
    /// Name of this pod. Default: the node's id.
    pub pod: Option<String>,
    /// Namespace of the resource. Default: the service account's.
    pub namespace: Option<String>,
    /// Shortest time between two reports.
    #[serde(with = "humantime_serde")]
    pub min_interval: Duration,
    /// Mean time between reports while versions change all the time.
    #[serde(with = "humantime_serde")]
    pub busy_interval: Duration,
    /// Time between reports while nothing changes but the instant at which the replica was last known to be fresh.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Longest wait for the API server's answer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            resource: None,
            pod: None,
            namespace: None,
            min_interval: Duration::from_secs(2),
            busy_interval: Duration::from_secs(10),
            interval: Duration::from_secs(120),
            timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Name of this node's pod, where it reports.
    #[must_use]
    pub fn pod(&self) -> &str {
        self.report.pod.as_deref().unwrap_or(&self.node.id)
    }

    /// Name of the resource that the node reports into; `None` when it reports nothing.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is not a resource of the role.
    pub fn report_resource(&self, role: Role) -> Result<Option<&str>, ConfigError> {
        const SETTING: &str = "report.resource";
        self.report.resource.as_deref().map(|resource| name_of(SETTING, resource, role)).transpose()
    }

    pub(super) fn validate_report(&self, role: Role) -> Result<(), ConfigError> {
        let report = &self.report;
        let second = Duration::from_secs(1);
        for (setting, value, low, high) in [
            ("report.min_interval", report.min_interval, second / 10, 60 * second),
            ("report.busy_interval", report.busy_interval, report.min_interval, 600 * second),
            ("report.interval", report.interval, report.busy_interval, 3600 * second),
            ("report.timeout", report.timeout, second, 60 * second),
        ] {
            if !(low..=high).contains(&value) {
                let problem = format!("{} is outside {} to {}", show(value), show(low), show(high));
                return Err(ConfigError::Invalid { setting, problem });
            }
        }
        if self.report_resource(role)?.is_none() {
            return Ok(());
        }
        if let Some(namespace) = report.namespace.as_deref().filter(|namespace| !is_label(namespace)) {
            let problem = format!("{namespace:?} is not the name of a namespace");
            return Err(ConfigError::Invalid { setting: "report.namespace", problem });
        }
        let limit = FIELD_MANAGER_CHARS - FIELD_MANAGER.len();
        if !(1..=limit).contains(&self.pod().len()) {
            let problem = format!("{:?} must have 1 to {limit} characters", self.pod());
            return Err(ConfigError::Invalid { setting: "report.pod", problem });
        }
        Ok(())
    }
}

/// The name in `<plural>/NAME`, a resource of the role.
pub(super) fn name_of<'a>(
    setting: &'static str,
    resource: &'a str,
    role: Role,
) -> Result<&'a str, ConfigError> {
    let plural = match role {
        Role::Central => CENTRAL_NODES,
        Role::Peer => PEERS,
    };
    let refuse = |problem| Err(ConfigError::Invalid { setting, problem });
    match resource.split_once('/') {
        Some((kind, name)) if kind == plural && is_label(name) => Ok(name),
        Some((kind, _)) if kind == plural => {
            refuse(format!("{resource:?} must end in a name of 1 to {LABEL_CHARS} of a-z, 0-9 and -"))
        }
        _ => refuse(format!(
            "{resource:?} is not a resource of this node's role; a {} is a {plural}/NAME",
            role.as_str()
        )),
    }
}

/// Whether a text is a DNS label, as names of namespaces and of our resources are.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=LABEL_CHARS).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(resource: &str) -> Config {
        let mut config = Config::default().with_identity("edge-0");
        config.report.resource = Some(resource.to_owned());
        config
    }

    #[test]
    fn the_resource_belongs_to_the_role() {
        let peer = config("sorchapeers/edge");
        assert_eq!(peer.report_resource(Role::Peer).unwrap(), Some("edge"));
        let error = peer.report_resource(Role::Central).unwrap_err().to_string();
        assert!(error.contains("report.resource") && error.contains("sorchacentralnodes/NAME"), "{error}");
        assert_eq!(config("sorchacentralnodes/n0").report_resource(Role::Central).unwrap(), Some("n0"));
        for bad in
            ["sorchapeers/", "sorchapeers/Edge", "sorchapeers/a/b", "sorchapeers", "pods/edge", "/", ""]
        {
            assert!(config(bad).validate(Role::Peer).is_err(), "{bad}");
        }
        assert_eq!(Config::default().report_resource(Role::Peer).unwrap(), None);
    }

    #[test]
    fn pod_namespace_and_times_are_checked() {
        let refused = |change: &dyn Fn(&mut Report)| {
            let mut config = config("sorchapeers/edge");
            change(&mut config.report);
            config.validate(Role::Peer).unwrap_err().to_string()
        };
        assert_eq!(config("sorchapeers/edge").pod(), "edge-0");
        let long = "p".repeat(117);
        let pod = refused(&|report| report.pod = Some(long.clone()));
        assert!(pod.contains("report.pod") && pod.contains("1 to 116"), "{pod}");
        assert!(refused(&|report| report.namespace = Some("My Space".into())).contains("report.namespace"));
        let interval = refused(&|report| report.interval = Duration::from_secs(5));
        assert_eq!(interval, "report.interval: 5s is outside 10s to 1h");
        assert!(refused(&|report| report.timeout = Duration::ZERO).contains("report.timeout"));
    }
}
