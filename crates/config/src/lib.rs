//! Every setting of a node, with the contract's default, in one place (protocol section 9).
//!
//! Layers: TOML file, then environment (`SORCHA_HEARTBEAT__INTERVAL=30s`: sections are joined by two
//! underscores), then command-line flags. Unknown keys are errors. Nothing else reads settings from the environment.
//! After [`Config::validate`] each number and time is within the range that docs/configuration.md states.
//!
//! Deliberately absent: settings of the controller, defaults anywhere else, values that change while a node runs; files that
//! may change are settings by name only. Begin with [`Config::load`], [`Config`], [`Role`].

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{Figment, providers::Serialized};
use serde::{Deserialize, Serialize};
use sorcha_register::{
    limits,
    names::{InvalidField, PeerId, check_length},
};

mod central_nodes;
mod environment;
mod file;
mod hostname;
mod http;
mod ranges;
pub mod report;
mod settings;
mod tls;

use file::TomlFile;

pub use central_nodes::{CentralNodeAddress, read_central_nodes};
pub use hostname::HostnamePattern;
pub use http::{Http, MaxStaleness, TokenReviews};
pub use report::Report;
pub use settings::{
    Connect, Drain, Heartbeat, Keepalive, Limits, Listen, Log, LogFormat, MongoDb, Node, Rate, Store, Sync,
    Telemetry,
};
pub use tls::{Tls, TlsVersion};

/// What this process is (ADR 35).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the register and accepts peers.
    Central,
    /// Holds a replica and connects to one central node.
    Peer,
}

impl Role {
    /// `central` or `peer`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Central => "central",
            Self::Peer => "peer",
        }
    }
}

/// A node's configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who this node is.
    pub node: Node,
    /// Where it listens.
    pub listen: Listen,
    /// Where the register lies.
    pub store: Store,
    /// Peer: the central nodes, in any order; `priority` decides.
    pub central_nodes: Vec<CentralNodeAddress>,
    /// Peer: a TOML or JSON file with the central nodes instead, read again when it changes.
    pub central_nodes_file: Option<PathBuf>,
    /// Heartbeats (protocol section 6.3).
    pub heartbeat: Heartbeat,
    /// Pull and push (protocol sections 6.5, 6.6).
    pub sync: Sync,
    /// Peer: connecting, backoff, failback (protocol section 6.2, ADR 33).
    pub connect: Connect,
    /// HTTP/2 keepalive, both sides: finds a silent loss (ADR 33).
    pub keepalive: Keepalive,
    /// Mutual TLS on gRPC (ADR 38).
    pub tls: Tls,
    /// Central node: rates, caps and sizes (protocol section 6.10, ADR 36).
    pub limits: Limits,
    /// Central node: how it leaves (ADR 37).
    pub drain: Drain,
    /// The HTTP API.
    pub http: Http,
    /// Reports into the status of a custom resource.
    pub report: Report,
    /// Logs.
    pub log: Log,
    /// OpenTelemetry export.
    pub telemetry: Telemetry,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A layer can't be read or has an unknown key or a wrong type.
    #[error("{0}")]
    Layer(Box<figment::Error>),
    /// A value is outside its range, or two settings contradict each other.
    #[error("{setting}: {problem}")]
    Invalid {
        /// The setting as written in the file.
        setting: &'static str,
        /// What is wrong and what to change.
        problem: String,
    },
    /// A variable of the environment is no setting, or holds something else than its setting takes.
    #[error("{variable}: {problem}")]
    Environment {
        /// Its name.
        variable: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// A file named by a setting can't be read.
    #[error("{setting}: read {path}: {source}")]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ConfigError {
    fn field(setting: &'static str, error: &InvalidField) -> Self {
        Self::Invalid { setting, problem: error.to_string() }
    }
}

impl Config {
    /// Reads file and environment over the defaults; `overrides` come from flags and win.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and the layer.
    pub fn load(file: Option<&Path>, overrides: impl Serialize) -> Result<Self, ConfigError> {
        Self::load_with(file, environment::of_process(), overrides)
    }

    fn load_with(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: impl Serialize,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = file {
            figment = figment.merge(TomlFile::read("--config", path)?);
        }
        for variable in environment::settings(variables)? {
            figment = figment.merge(variable);
        }
        figment
            .merge(Serialized::defaults(overrides))
            .extract()
            .map_err(|error| ConfigError::Layer(Box::new(error)))
    }

    /// Fills in what follows from other settings: the id from the machine's name, the host name from the id.
    #[must_use]
    pub fn with_identity(mut self, machine: &str) -> Self {
        if self.node.id.is_empty() {
            self.node.id =
                if self.node.hostname.is_empty() { machine.to_owned() } else { self.node.hostname.clone() };
        }
        if self.node.hostname.is_empty() {
            self.node.hostname.clone_from(&self.node.id);
        }
        self
    }

    /// Gives a peer that was not given an id the first label of its host name, where the whole name can be no peer's id. Machines
    /// may have their domain in their name.
    #[must_use]
    pub fn with_peer_identity(self, machine: &str) -> Self {
        let is_given = !self.node.id.is_empty();
        let mut named = self.with_identity(machine);
        let label = named.node.id.split('.').next().unwrap_or_default();
        if !is_given && PeerId::new(&named.node.id).is_err() && PeerId::new(label).is_ok() {
            named.node.id = label.to_owned();
        }
        named
    }

    /// Checks ranges, identity and role (ADR 35).
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] naming the setting, the limit and what to change.
    pub fn validate(&self, role: Role) -> Result<(), ConfigError> {
        self.validate_ranges()?;
        self.validate_identity(role)?;
        self.validate_report(role)?;
        self.validate_tls()?;
        self.validate_http(role)?;
        match role {
            Role::Central => Ok(()),
            Role::Peer => self.validate_central_nodes(),
        }
    }

    fn validate_identity(&self, role: Role) -> Result<(), ConfigError> {
        let Node { id, hostname, .. } = &self.node;
        check_length("node.hostname", hostname, limits::HOSTNAME_CHARS)
            .map_err(|e| ConfigError::field("node.hostname", &e))?;
        match role {
            Role::Peer => {
                PeerId::new(id).map_err(|error| ConfigError::Invalid {
                    setting: "node.id",
                    problem: format!("{error}; name this peer with node.id or --node-id"),
                })?;
            }
            Role::Central if id.is_empty() => {
                return Err(ConfigError::Invalid {
                    setting: "node.id",
                    problem: "is empty; name this central node".into(),
                });
            }
            Role::Central => {
                check_length("node.id", id, limits::NODE_ID_CHARS)
                    .map_err(|e| ConfigError::field("node.id", &e))?;
            }
        }
        if !self.node.validate_hostname {
            return Ok(());
        }
        let pattern = self.hostname_pattern();
        let contradiction = match (role, pattern.matches(hostname)) {
            (Role::Central, false) => format!(
                "this node is told to be a central node, but its host name {hostname:?} does not match {pattern}; set node.hostname, \
                 or node.hostname_pattern, or node.validate_hostname = false, or start it as a peer"
            ),
            (Role::Peer, true) => format!(
                "this node is told to be a peer, but its host name {hostname:?} matches {pattern}, the central nodes' pattern; set \
                 node.hostname, or node.hostname_pattern, or node.validate_hostname = false, or start it as a central node"
            ),
            _ => return Ok(()),
        };
        Err(ConfigError::Invalid { setting: "node.hostname", problem: contradiction })
    }

    fn validate_central_nodes(&self) -> Result<(), ConfigError> {
        let mut seen = std::collections::BTreeSet::new();
        for central in &self.central_nodes {
            central.validate()?;
            self.tls.check_ca_of(central)?;
            if central.id() == self.node.id || central.host == self.node.hostname {
                let problem =
                    format!("{} is this node itself; a node does not replicate from itself", central.id());
                return Err(ConfigError::Invalid { setting: "central_nodes", problem });
            }
            if !seen.insert(central.id()) {
                let problem = format!("{} is listed twice", central.id());
                return Err(ConfigError::Invalid { setting: "central_nodes", problem });
            }
        }
        Ok(())
    }

    /// The pattern that central nodes' host names match.
    #[must_use]
    pub fn hostname_pattern(&self) -> HostnamePattern {
        let default = || format!("*.{}", self.node.network);
        HostnamePattern::new(self.node.hostname_pattern.clone().unwrap_or_else(default))
    }

    /// The MongoDB connection string, from the setting or the file it names.
    ///
    /// # Errors
    /// [`ConfigError::File`] when the file can't be read.
    pub fn mongodb_uri(&self) -> Result<Option<String>, ConfigError> {
        let MongoDb { uri, uri_file, .. } = &self.store.mongodb;
        match (uri, uri_file) {
            (Some(uri), _) => Ok(Some(uri.clone())),
            (None, Some(path)) => {
                let text = file::text("store.mongodb.uri_file", path)?;
                Ok(Some(text.trim().to_owned()))
            }
            (None, None) => Ok(None),
        }
    }
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests;
