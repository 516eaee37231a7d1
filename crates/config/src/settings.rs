//! Settings of the process: identity, listeners, store, logs, export. docs/configuration.md lists all; a test compares.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Identity of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Identity: `peer_id` of a peer, `central_node_id` of a central node. Default: the host name.
    pub id: String,
    /// Host name that decides, with `hostname_pattern`, whether the role fits. Default: the id.
    pub hostname: String,
    /// The network that central nodes belong to; the default pattern is `*.<network>` (protocol D30).
    pub network: String,
    /// Pattern that a central node's host name matches and a peer's does not. Default: `*.<network>`.
    pub hostname_pattern: Option<String>,
    /// Whether the host name is checked against the pattern.
    pub validate_hostname: bool,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            id: String::new(),
            hostname: String::new(),
            network: "sorcha.dev".into(),
            hostname_pattern: None,
            validate_hostname: true,
        }
    }
}

/// Where a node listens (protocol section 1: gRPC 5000, HTTP 8080).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// gRPC, central nodes only.
    pub grpc: SocketAddr,
    /// HTTP, both roles.
    pub http: SocketAddr,
    /// HTTP over TLS, both roles, where `[tls]` names its files.
    pub https: SocketAddr,
    /// Probes, both roles, on a thread of their own; unset: the HTTP port only.
    pub probes: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let everywhere = |port| SocketAddr::from(([0, 0, 0, 0], port));
        // Probes: two nodes on one machine would clash; on Kubernetes the controller sets it.
        Self { grpc: everywhere(5000), http: everywhere(8080), https: everywhere(8443), probes: None }
    }
}

/// Where the register is stored: in MongoDB if it has a URI, otherwise in `data_dir`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Directory of the embedded store and of this node's keys; on MongoDB also of a file for the documents that were read.
    pub data_dir: PathBuf,
    /// Embedded store of a peer: replicated batches are fsynced within this time.
    #[serde(with = "humantime_serde")]
    pub flush_within: Duration,
    /// Bytes of the newest entries that are kept in memory; older ones are read from the register's file.
    pub cache_bytes: u64,
    /// MongoDB, when `uri` or `uri_file` is set.
    pub mongodb: MongoDb,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            data_dir: "./data".into(),
            flush_within: Duration::from_secs(1),
            cache_bytes: 4 << 20,
            mongodb: MongoDb::default(),
        }
    }
}

/// MongoDB (protocol section 7, D33).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MongoDb {
    /// Connection string. Prefer `uri_file`: a password in the environment or in a flag can be read by others.
    pub uri: Option<String>,
    /// File that holds the connection string, such as a mounted Secret.
    pub uri_file: Option<PathBuf>,
    /// Database name.
    pub database: String,
    /// Collection of the entries; the default is the protocol's.
    pub collection: String,
    /// Time limit of one operation, server selection included.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Shortest time between two polls for new entries.
    #[serde(with = "humantime_serde")]
    pub poll_min: Duration,
    /// Longest time between two polls, reached while nothing is published.
    #[serde(with = "humantime_serde")]
    pub poll_max: Duration,
    /// Whether a change stream wakes the poll, where the server has them.
    pub change_stream: bool,
}

impl Default for MongoDb {
    fn default() -> Self {
        Self {
            uri: None,
            uri_file: None,
            database: "sorcha".into(),
            collection: "sorcha_system_register_blueprints".into(),
            timeout: Duration::from_secs(5),
            poll_min: Duration::from_millis(50),
            poll_max: Duration::from_millis(500),
            change_stream: true,
        }
    }
}

/// Logs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `human` or `json`.
    pub format: LogFormat,
    /// Filter in the syntax of `RUST_LOG`.
    pub filter: String,
    /// Log each heartbeat too.
    pub heartbeats: bool,
    /// Log each write over HTTP and each refusal of one, whatever the filter says.
    pub audit: bool,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: "info".into(), heartbeats: false, audit: true }
    }
}

/// OpenTelemetry export.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// OTLP/gRPC endpoint such as `http://collector:4317`; unset: no export. `/metrics` is always there.
    pub otlp_endpoint: Option<String>,
}
