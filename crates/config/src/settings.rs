//! The sections of the configuration with their defaults. docs/configuration.md lists them; a test compares.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use sorcha_register::limits;

/// Who a node is.
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
    /// gRPC, central nodes only: nothing ever dials a peer.
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

/// Where the register lies. With a MongoDB URI it lies there, otherwise in `data_dir`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Directory of the embedded store and of this node's keys.
    pub data_dir: PathBuf,
    /// Embedded store of a peer: replicated batches are fsynced within this time.
    #[serde(with = "humantime_serde")]
    pub flush_within: Duration,
    /// MongoDB, when `uri` or `uri_file` is set.
    pub mongodb: MongoDb,
}

impl Default for Store {
    fn default() -> Self {
        Self { data_dir: "./data".into(), flush_within: Duration::from_secs(1), mongodb: MongoDb::default() }
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
    /// Collection of the entries; the contract's name.
    pub collection: String,
    /// Time for one operation, server selection included.
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

/// Heartbeats (protocol sections 6.3 and 9).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heartbeat {
    /// Period, 10 s to 120 s.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Wait for one acknowledgement, 10 s to 120 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Misses in a row that lead to failover, 1 to 10.
    pub max_missed: u32,
    /// Whether heartbeats carry health metrics.
    pub include_metrics: bool,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            max_missed: 2,
            include_metrics: true,
        }
    }
}

/// Pull and push (protocol sections 6.5, 6.6 and 9).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// Period of the pull, 1 to 60 minutes.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Whether the peer asks for pushes, and the central node offers them.
    pub push: bool,
    /// Entries per pull; 0 = no cap.
    pub max_blueprints: u32,
    /// Peer: start with a full sync whatever is held.
    pub force_full_on_startup: bool,
    /// Peer: a file whose content asks, whenever it is a new one, for one full sync.
    pub force_resync_file: Option<PathBuf>,
    /// Peer: wait before a broken push stream is opened again (protocol section 6.6).
    #[serde(with = "humantime_serde")]
    pub resubscribe_after: Duration,
    /// Peer: a central node that sends nothing, or next to nothing, for this long is not waited for any longer: when a pull or
    /// the push stream is opened, and during a pull. Longer than its `limits.full_sync_wait`.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Peer: entries that are committed to the replica together.
    pub batch: usize,
    /// Peer: memory that the replica may take, bytes; a sync may take as much once more until it has ended. Unset: a third of
    /// what the process may use.
    pub max_memory: Option<u64>,
    /// Peer: failed syncs in a row that lead to failover.
    pub max_failures: u32,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            push: true,
            max_blueprints: 0,
            force_full_on_startup: false,
            force_resync_file: None,
            resubscribe_after: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            batch: 512,
            max_memory: None,
            max_failures: 3,
        }
    }
}

impl Sync {
    /// Memory that a replica may take, bytes.
    #[must_use]
    pub fn replica_memory(&self) -> u64 {
        self.max_memory.unwrap_or(u64::MAX)
    }
}

/// Connecting (protocol section 6.2, ADR 33).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connect {
    /// Whole attempt on one central node, 10 s to 120 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The part of it that may go into opening the connection.
    #[serde(with = "humantime_serde")]
    pub dial_timeout: Duration,
    /// Delay before the second round over the central nodes.
    #[serde(with = "humantime_serde")]
    pub initial_delay: Duration,
    /// Longest delay between rounds.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Factor from one delay to the next.
    pub multiplier: f64,
    /// Up to this much random delay before the first dial after a lost connection, against reconnect storms.
    #[serde(with = "humantime_serde")]
    pub failover_jitter: Duration,
    /// Return to a better central node: after this time at another one, once two probes of it have succeeded; unset: never.
    #[serde(with = "humantime_serde")]
    pub failback_after: Option<Duration>,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(5),
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            multiplier: 2.0,
            failover_jitter: Duration::ZERO,
            failback_after: None,
        }
    }
}

/// HTTP/2 keepalive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keepalive {
    /// Time between pings.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Wait for the answer to a ping.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), timeout: Duration::from_secs(10) }
    }
}

/// A token bucket: `per_second` tokens a second, at most `burst` saved up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: f64,
    /// Tokens saved up at the most.
    pub burst: u32,
}

/// Limits of a central node (protocol section 6.10, ADR 36).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Sessions at once.
    pub max_peers: usize,
    /// Full syncs at once; also `max_concurrent_syncs` of the connect response.
    pub max_concurrent_full_syncs: usize,
    /// How long a full sync waits for its turn before it is refused.
    #[serde(with = "humantime_serde")]
    pub full_sync_wait: Duration,
    /// A full sync that its peer takes more slowly loses its slot, bytes per second; 0: none is too slow.
    pub full_sync_min_rate: u64,
    /// Connects of one peer.
    pub connects: Rate,
    /// Connects of all peers together.
    pub all_connects: Rate,
    /// Full syncs of one peer.
    pub full_syncs: Rate,
    /// Sessions at once of one certificate: a SorchaPeer's speaks for all of its pods.
    pub identity_sessions: usize,
    /// Connects of one certificate, whatever peers it speaks for.
    pub identity_connects: Rate,
    /// Full syncs of one certificate, whatever peers it speaks for.
    pub identity_full_syncs: Rate,
    /// Heartbeats of one peer; the rate is this many times the configured heartbeat rate.
    pub heartbeat_rate_factor: f64,
    /// Heartbeats of one peer that may come at once.
    pub heartbeat_burst: u32,
    /// Largest gRPC message, bytes: a 16 MB document and what surrounds it.
    pub max_message_bytes: usize,
    /// Largest gRPC message that a caller may send, bytes; all that the contract knows are smaller by far.
    pub max_request_bytes: usize,
    /// Connections at once; while all are taken, those without a session give way.
    pub max_connections: usize,
    /// A connection that no session uses for this long is cut.
    #[serde(with = "humantime_serde")]
    pub sessionless_connection: Duration,
    /// A peer that has been behind for longer is reported (protocol section 6.9).
    #[serde(with = "humantime_serde")]
    pub lagging_after: Duration,
    /// Pushed entries that a peer may leave unacknowledged before the node waits.
    pub push_window: usize,
    /// A push stream that takes nothing for this long is closed (protocol section 6.6).
    #[serde(with = "humantime_serde")]
    pub push_write_timeout: Duration,
    /// Streams that one connection may have open.
    pub max_streams_per_connection: u32,
    /// TLS handshakes at once; the oldest gives way to a new one.
    pub max_handshakes: usize,
    /// A TLS handshake that takes longer is cut.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Log lines about failed handshakes and identities that are refused; all are counted in metrics.
    pub refusal_logs: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_peers: 10_000,
            max_concurrent_full_syncs: 3,
            full_sync_wait: Duration::from_secs(5),
            full_sync_min_rate: 16 * 1024,
            connects: Rate { per_second: 1.0, burst: 3 },
            all_connects: Rate { per_second: 500.0, burst: 1000 },
            full_syncs: Rate { per_second: 1.0 / 60.0, burst: 2 },
            identity_sessions: 1000,
            identity_connects: Rate { per_second: 50.0, burst: 300 },
            identity_full_syncs: Rate { per_second: 5.0, burst: 100 },
            heartbeat_rate_factor: 2.0,
            heartbeat_burst: 10,
            max_message_bytes: limits::DOCUMENT_BYTES + 64 * 1024,
            max_request_bytes: 256 * 1024,
            max_connections: 15_000,
            sessionless_connection: Duration::from_secs(60),
            lagging_after: Duration::from_secs(3600),
            push_window: 1024,
            push_write_timeout: Duration::from_secs(30),
            max_streams_per_connection: 64,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(5),
            refusal_logs: Rate { per_second: 1.0, burst: 10 },
        }
    }
}

/// Leaving (ADR 37).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// Peers are told to move at moments spread over this time.
    #[serde(with = "humantime_serde")]
    pub spread: Duration,
    /// After this time the node stops whoever is left.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { spread: Duration::from_secs(3), timeout: Duration::from_secs(15) }
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
