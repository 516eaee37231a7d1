//! Settings of a central node: rates, sizes, counts and the drain at its end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sorcha_register::limits;

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Refill, tokens a second.
    pub per_second: f64,
    /// Capacity, tokens.
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
    /// Slowest full sync that keeps its slot, bytes per second; 0: no limit.
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
    /// Heartbeats of one peer in one burst.
    pub heartbeat_burst: u32,
    /// Largest gRPC message, bytes: a 16 MB document and what surrounds it.
    pub max_message_bytes: usize,
    /// Largest gRPC message that a caller may send, bytes; every request of the protocol is much smaller.
    pub max_request_bytes: usize,
    /// Connections at once; when all are taken, one without a session is evicted.
    pub max_connections: usize,
    /// A connection without a session is evicted after this time.
    #[serde(with = "humantime_serde")]
    pub sessionless_connection: Duration,
    /// A peer that has been behind for longer is reported (protocol section 6.9).
    #[serde(with = "humantime_serde")]
    pub lagging_after: Duration,
    /// Pushed entries that a peer may leave unacknowledged before its stream waits.
    pub push_window: usize,
    /// A push stream that takes nothing for this long is closed (protocol section 6.6).
    #[serde(with = "humantime_serde")]
    pub push_write_timeout: Duration,
    /// Streams that one connection may have open.
    pub max_streams_per_connection: u32,
    /// TLS handshakes at once; a new one evicts the oldest.
    pub max_handshakes: usize,
    /// Longest TLS handshake.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Log lines about failed handshakes and refused identities; metrics count them all.
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

/// Draining a central node (ADR 37).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// Time over which the advices to move to another central node are spread.
    #[serde(with = "humantime_serde")]
    pub spread: Duration,
    /// After this time the node closes the sessions that are left.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { spread: Duration::from_secs(3), timeout: Duration::from_secs(15) }
    }
}
