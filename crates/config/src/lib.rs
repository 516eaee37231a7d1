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

mod central_nodes;
mod environment;
mod error;
mod file;
mod hostname;
mod http;
mod identity;
mod limits;
mod ranges;
mod replication;
pub mod report;
mod settings;
mod tls;

use file::TomlFile;

pub use central_nodes::{CentralNodeAddress, read_central_nodes};
pub use error::ConfigError;
pub(crate) use hostname::HostnamePattern;
pub use http::{Http, MaxStaleness, TokenReviews};
pub use limits::{Drain, Limits, Rate};
pub use replication::{Connect, Heartbeat, Keepalive, Sync};
pub use report::Report;
pub use settings::{Listen, Log, LogFormat, MongoDb, Node, Store, Telemetry};
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
