//! Every setting of the controller: flags, each with an environment variable.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, ValueEnum};
use reqwest::Url;

use crate::publication::http::parse_publisher_address;

/// Settings of `sorcha-controller run`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Image of nodes whose resource names none
    #[arg(long, env = "SORCHA_CONTROLLER_NODE_IMAGE", default_value = concat!("localhost/sorcha:", env!("CARGO_PKG_VERSION")))]
    pub node_image: String,
    /// When nodes' images are pulled: Always, IfNotPresent or Never
    #[arg(long, env = "SORCHA_CONTROLLER_NODE_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub node_image_pull_policy: String,
    /// ClusterRoleBinding whose subjects the controller keeps equal to the central nodes' ServiceAccounts, so that these may
    /// have publishers' tokens reviewed; unset: publishers need tokens of a Secret
    #[arg(long, env = "SORCHA_CONTROLLER_NODE_REVIEWS_BINDING", value_name = "NAME")]
    pub node_reviews_binding: Option<String>,
    /// Make PodDisruptionBudgets for nodes. They block the drain of a cluster's only machine: the pod that is evicted first
    /// can't be scheduled elsewhere, and the others wait for it
    #[arg(long, env = "SORCHA_CONTROLLER_DISRUPTION_BUDGETS", default_value_t = true, action = clap::ArgAction::Set)]
    pub disruption_budgets: bool,
    /// Watch this namespace only
    #[arg(long, env = "SORCHA_CONTROLLER_NAMESPACE")]
    pub namespace: Option<String>,
    /// Reconcile only while holding the lease, so that several replicas are safe
    #[arg(long, env = "SORCHA_CONTROLLER_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Name of the lease
    #[arg(long, env = "SORCHA_CONTROLLER_LEASE_NAME", default_value = "sorcha-controller")]
    pub lease_name: String,
    /// Namespace of the lease; default: the one this process runs in
    #[arg(long, env = "SORCHA_CONTROLLER_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Seconds after which a silent leader is replaced
    #[arg(long, env = "SORCHA_CONTROLLER_LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(5..=300))]
    pub lease_seconds: u64,
    /// Address of probes and metrics
    #[arg(long, env = "SORCHA_CONTROLLER_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Resources reconciled at once, of each kind
    #[arg(long, env = "SORCHA_CONTROLLER_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Time after which every resource is reconciled again, changed or not; at least 10s
    #[arg(long, env = "SORCHA_CONTROLLER_RESYNC", default_value = "10m", value_parser = resync)]
    pub resync: Duration,
    /// ServiceAccount whose tokens publish SorchaBlueprints: it may `publish` on SorchaCentralNodes, and nothing else
    #[arg(
        long,
        env = "SORCHA_CONTROLLER_PUBLISHER_SERVICE_ACCOUNT",
        requires = "publisher_service_account_namespace"
    )]
    pub publisher_service_account: Option<String>,
    /// Namespace of that ServiceAccount
    #[arg(long, env = "SORCHA_CONTROLLER_PUBLISHER_SERVICE_ACCOUNT_NAMESPACE")]
    pub publisher_service_account_namespace: Option<String>,
    /// Time limit of one call to a central node's HTTP API
    #[arg(long, env = "SORCHA_CONTROLLER_PUBLISH_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    pub publish_timeout: Duration,
    /// Longest time that a deleted SorchaBlueprint waits for its blueprint to be deprecated
    #[arg(long, env = "SORCHA_CONTROLLER_DEPRECATE_TIMEOUT", default_value = "5m", value_parser = humantime::parse_duration)]
    pub deprecate_timeout: Duration,
    /// HTTPS address of a central node, in place of its Service's: outside the cluster, that of a port-forward. Its certificate
    /// must fit the Service's name all the same. Plain HTTP only to this machine
    #[arg(long = "central-url", value_name = "NAME=URL", value_parser = parse_publisher_address)]
    pub central_urls: Vec<(String, Url)>,
    /// Certificates
    #[command(flatten)]
    pub certificates: Certificates,
    /// Filter of log lines, in the syntax of RUST_LOG
    #[arg(long, env = "SORCHA_CONTROLLER_LOG", default_value = "info")]
    pub log: String,
    /// Format of log lines
    #[arg(long, env = "SORCHA_CONTROLLER_LOG_FORMAT", value_enum, default_value = "human")]
    pub log_format: LogFormat,
}

/// Shortest time after which everything is looked at again: a look costs calls to the API server and to registers.
const SHORTEST_RESYNC: Duration = Duration::from_secs(10);

fn resync(text: &str) -> Result<Duration, String> {
    let resync = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if resync < SHORTEST_RESYNC {
        return Err(format!("at least {}", humantime::format_duration(SHORTEST_RESYNC)));
    }
    Ok(resync)
}

/// How long certificates live, and how soon nodes use new ones.
#[derive(Args, Clone, Debug)]
pub struct Certificates {
    /// Validity of a network's authority; it is followed by another one after two thirds of that
    #[arg(long, env = "SORCHA_CONTROLLER_CA_LIFETIME", default_value = "365d", value_parser = humantime::parse_duration)]
    pub ca_lifetime: Duration,
    /// Validity of a node's certificate; it is renewed after two thirds of that, or a little sooner
    #[arg(long, env = "SORCHA_CONTROLLER_CERTIFICATE_LIFETIME", default_value = "30d", value_parser = humantime::parse_duration)]
    pub certificate_lifetime: Duration,
    /// Time until every node uses what its Secret holds: the kubelet's sync (up to 2m) and tls.reload_interval
    #[arg(long, env = "SORCHA_CONTROLLER_CERTIFICATE_SETTLE", default_value = "5m", value_parser = humantime::parse_duration)]
    pub certificate_settle: Duration,
    /// Time after which Secrets, ConfigMaps and Certificates of others are read again
    #[arg(long, env = "SORCHA_CONTROLLER_FOREIGN_REFRESH", default_value = "1m", value_parser = humantime::parse_duration)]
    pub foreign_refresh: Duration,
}

/// How long certificates are valid, and how long it takes until nodes use what their Secret holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Of an authority.
    pub ca_lifetime: Duration,
    /// Of a node's certificate.
    pub lifetime: Duration,
    /// After this time every node uses what its Secret holds: the kubelet's sync and the node's own interval.
    pub settle: Duration,
}

impl Certificates {
    /// What decisions about certificates need.
    #[must_use]
    pub(crate) const fn policy(&self) -> Policy {
        Policy {
            ca_lifetime: self.ca_lifetime,
            lifetime: self.certificate_lifetime,
            settle: self.certificate_settle,
        }
    }

    /// Checks the times against each other.
    ///
    /// # Errors
    /// Naming the flags that do not go together.
    pub(crate) fn check(&self) -> Result<(), String> {
        // Beyond days it would count in months of its own.
        let text = |duration: Duration| match (duration.as_secs() / 86_400, duration.as_secs() % 86_400) {
            (days, 0) if days > 0 => format!("{days}d"),
            _ => humantime::format_duration(duration).to_string(),
        };
        if self.certificate_lifetime < Duration::from_secs(60) {
            return Err(format!(
                "--certificate-lifetime is {}: at least 1m",
                text(self.certificate_lifetime)
            ));
        }
        if self.certificate_lifetime < self.certificate_settle * 6 {
            return Err(format!(
                "--certificate-lifetime is {} and --certificate-settle {}: the first must be six times the second, so that a certificate is renewed in time",
                text(self.certificate_lifetime),
                text(self.certificate_settle)
            ));
        }
        if self.ca_lifetime < self.certificate_lifetime * 3 {
            return Err(format!(
                "--ca-lifetime is {} and --certificate-lifetime {}: the first must be three times the second",
                text(self.ca_lifetime),
                text(self.certificate_lifetime)
            ));
        }
        Ok(())
    }
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn checked(flags: &[&str]) -> Result<(), String> {
        let arguments = std::iter::once("run").chain(flags.iter().copied());
        Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.settings.certificates.check()
    }

    /// Kubernetes sets variables named after a Service in each pod beside it, such as one called `sorcha-controller`.
    #[test]
    fn no_variable_has_a_name_that_a_service_may_set() {
        use clap::CommandFactory as _;
        let command = Cli::command();
        let variables: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_env).collect();
        assert!(variables.len() > 15, "{variables:?}");
        for variable in variables {
            let name = variable.to_str().unwrap();
            let is_of_a_service = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"]
                .iter()
                .any(|end| name.ends_with(end) || name.contains(&format!("{end}_")));
            assert!(!is_of_a_service, "{name}");
        }
    }

    /// docs/kubernetes.md tells them.
    #[test]
    fn times_that_nobody_sets_are_those_of_the_manual() {
        let settings = Cli::try_parse_from(["run"]).expect("no flags").settings;
        let Certificates { ca_lifetime, certificate_lifetime, certificate_settle, foreign_refresh } =
            settings.certificates;
        let minutes = |of: Duration| of.as_secs() / 60;
        assert_eq!((minutes(ca_lifetime), minutes(certificate_lifetime)), (365 * 24 * 60, 30 * 24 * 60));
        assert_eq!((minutes(certificate_settle), minutes(foreign_refresh)), (5, 1));
        assert_eq!((minutes(settings.resync), minutes(settings.deprecate_timeout)), (10, 5));
    }

    #[test]
    fn times_of_certificates_must_go_together() {
        assert_eq!(checked(&[]), Ok(()), "the defaults");
        for (flags, named) in [
            (&["--certificate-lifetime=10m", "--certificate-settle=2m"][..], "--certificate-settle 2m"),
            (&["--ca-lifetime=60d"], "--ca-lifetime is 60d"),
            (&["--certificate-lifetime=30s", "--certificate-settle=1s"], "at least 1m"),
            (&["--ca-lifetime=soon"], "--ca-lifetime"),
            (&["--resync=0s"], "at least 10s"),
            (&["--resync=9999ms"], "at least 10s"),
        ] {
            let error = checked(flags).expect_err("refused");
            assert!(error.contains(named), "{flags:?}: {error}");
        }
    }
}
