//! The HTTP API: who may write, and what callers may hold on to.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Config, ConfigError, Role,
    report::{is_label, name_of},
};

/// The HTTP API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// File with one bearer token a line, `name: token`, that let their bearers write.
    pub token_file: Option<PathBuf>,
    /// Lets every caller write, for trials; the start-up log warns.
    pub insecure_writes: bool,
    /// Central node: lets Kubernetes identities write that RBAC allows.
    pub kubernetes: TokenReviews,
    /// Connections at once; when all are taken, the one that makes the least of its place is ended for a new one.
    pub max_connections: usize,
    /// Head of a request, bytes.
    pub max_head_bytes: usize,
    /// Time for the head of a request to arrive.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// How long a connection is kept between two requests.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// A body that sends nothing for this long is given up.
    #[serde(with = "humantime_serde")]
    pub body_idle_timeout: Duration,
    /// Time for a whole body.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// A caller that takes nothing of its answer for this long is cut off.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// What a caller must take of an answer and send of a body, on average over `rate_window`.
    pub min_bytes_per_second: u64,
    /// See `min_bytes_per_second`; only time in which the caller is waited for counts.
    #[serde(with = "humantime_serde")]
    pub rate_window: Duration,
    /// Bytes of answers that had to be made, of all callers together. Documents are not made: callers share them.
    pub max_answer_bytes: usize,
    /// Bytes of bodies that are held, of all publishers together; one publisher gets half of them.
    pub max_body_bytes: usize,
    /// Bodies at once of one publisher; further ones wait.
    pub max_publisher_bodies: usize,
    /// Lets reads go on with their staleness stated, or refuses them beyond an age.
    pub max_staleness: MaxStaleness,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            token_file: None,
            insecure_writes: false,
            kubernetes: TokenReviews::default(),
            max_connections: 1024,
            max_head_bytes: 32 * 1024,
            head_timeout: Duration::from_secs(10),
            // Longer than load balancers keep theirs (60 s mostly): else they send requests into connections that end.
            idle_timeout: Duration::from_secs(75),
            body_idle_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(30),
            // 64 kbit/s: the slowest link that a reader or a publisher is behind.
            min_bytes_per_second: 8 * 1024,
            rate_window: Duration::from_secs(20),
            max_answer_bytes: 64 << 20,
            max_body_bytes: 128 << 20,
            max_publisher_bodies: 32,
            max_staleness: MaxStaleness::default(),
        }
    }
}

/// Bearer tokens that the Kubernetes API server checks: TokenReview says who, LocalSubjectAccessReview whether.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenReviews {
    /// Whether the API server is asked about tokens that are not in `http.token_file`.
    pub enabled: bool,
    /// The resource whose verb `publish` a caller needs: `sorchacentralnodes/NAME`. Default: `report.resource`.
    pub resource: Option<String>,
    /// Namespace of the resource. Default: `report.namespace`, else the service account's.
    pub namespace: Option<String>,
    /// Longest wait for the API server's answer, a free place to ask it included.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long a yes is remembered, the token's own end at the longest.
    #[serde(with = "humantime_serde")]
    pub cache_for: Duration,
    /// How long a no is remembered.
    #[serde(with = "humantime_serde")]
    pub cache_refusals_for: Duration,
    /// Answers that are remembered, of each kind.
    pub max_cached: usize,
    /// Reviews at once; further ones wait.
    pub max_concurrent: usize,
}

impl Default for TokenReviews {
    fn default() -> Self {
        Self {
            enabled: false,
            resource: None,
            namespace: None,
            timeout: Duration::from_secs(5),
            cache_for: Duration::from_secs(60),
            cache_refusals_for: Duration::from_secs(10),
            max_cached: 1024,
            max_concurrent: 8,
        }
    }
}

/// What a peer does when its replica is old.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaxStaleness {
    /// The age in question.
    #[serde(with = "humantime_serde")]
    pub after: Duration,
    /// Refuse reads (503) beyond it; otherwise only warn.
    pub refuse_reads: bool,
}

impl Default for MaxStaleness {
    fn default() -> Self {
        Self { after: Duration::from_secs(3600), refuse_reads: false }
    }
}

impl Config {
    /// Name of the central node resource on which publishers need the verb `publish`; `None` when the API server is not
    /// asked about tokens.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is asked, but about no resource.
    pub fn reviewed_resource(&self) -> Result<Option<&str>, ConfigError> {
        const SETTING: &str = "http.kubernetes.resource";
        let reviews = &self.http.kubernetes;
        if !reviews.enabled {
            return Ok(None);
        }
        if let Some(resource) = reviews.resource.as_deref() {
            return name_of(SETTING, resource, Role::Central).map(Some);
        }
        let name = self.report_resource(Role::Central)?.ok_or_else(|| ConfigError::Invalid {
            setting: SETTING,
            problem: "is not set, nor is report.resource; name this node's resource, sorchacentralnodes/NAME"
                .into(),
        })?;
        Ok(Some(name))
    }

    pub(super) fn validate_http(&self, role: Role) -> Result<(), ConfigError> {
        let reviews = &self.http.kubernetes;
        if !reviews.enabled {
            return Ok(());
        }
        let refuse = |setting, problem: String| Err(ConfigError::Invalid { setting, problem });
        if role == Role::Peer {
            let problem = "is for central nodes: a peer takes no publications; set it to false".into();
            return refuse("http.kubernetes.enabled", problem);
        }
        self.reviewed_resource()?;
        match reviews.namespace.as_deref().filter(|namespace| !is_label(namespace)) {
            Some(namespace) => {
                refuse("http.kubernetes.namespace", format!("{namespace:?} is not the name of a namespace"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default().with_identity("n0.sorcha.dev");
        config.http.kubernetes.enabled = true;
        change(&mut config);
        config
    }

    #[test]
    fn the_resource_follows_from_the_report() {
        let reporting = config(|config| config.report.resource = Some("sorchacentralnodes/n0".into()));
        reporting.validate(Role::Central).unwrap();
        assert_eq!(reporting.reviewed_resource().unwrap(), Some("n0"));
        let own = config(|config| {
            config.http.kubernetes.resource = Some("sorchacentralnodes/n7".into());
        });
        own.validate(Role::Central).unwrap();
        assert_eq!(own.reviewed_resource().unwrap(), Some("n7"));
        assert_eq!(Config::default().reviewed_resource().unwrap(), None, "off by default");
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut TokenReviews), role| {
            let config = config(|config| {
                config.http.kubernetes.resource = Some("sorchacentralnodes/n0".into());
                config.node.validate_hostname = false;
                config.central_nodes = Vec::new();
                config.node.id = "n0".into();
                change(&mut config.http.kubernetes);
            });
            config.validate(role).unwrap_err().to_string()
        };
        for (change, role, parts) in [
            (
                &(|_: &mut TokenReviews| ()) as &dyn Fn(&mut TokenReviews),
                Role::Peer,
                ["enabled", "central nodes"],
            ),
            (&|r| r.resource = None, Role::Central, ["resource", "report.resource"]),
            (
                &|r| r.resource = Some("sorchapeers/n0".into()),
                Role::Central,
                ["resource", "sorchacentralnodes/NAME"],
            ),
            (&|r| r.namespace = Some("No Name".into()), Role::Central, ["namespace", "No Name"]),
            (&|r| r.max_concurrent = 0, Role::Central, ["max_concurrent", "1 to 1000"]),
            (&|r| r.timeout = Duration::ZERO, Role::Central, ["timeout", "100ms to 1m"]),
        ] {
            let told = refused(change, role);
            assert!(told.starts_with(&format!("http.kubernetes.{}", parts[0])), "{told}");
            assert!(told.contains(parts[1]), "{told}");
        }
    }
}
