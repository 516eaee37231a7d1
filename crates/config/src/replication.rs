//! Settings of replication: heartbeats, pull and push, connecting, keepalive.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

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
    /// Peer: start with a full sync, whatever the replica holds.
    pub force_full_on_startup: bool,
    /// Peer: a file; each new content of it triggers one full sync.
    pub force_resync_file: Option<PathBuf>,
    /// Peer: wait before a broken push stream is opened again (protocol section 6.6).
    #[serde(with = "humantime_serde")]
    pub resubscribe_after: Duration,
    /// Peer: a pull, or the opening of a push stream, times out after this long with less than 1 KiB a second. Longer than
    /// the central node's `limits.full_sync_wait`.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Peer: entries that are committed to the replica together.
    pub batch: usize,
    /// Peer: memory of the replica, bytes; a running sync may take as much again. Unset: a third of the process's memory limit.
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
