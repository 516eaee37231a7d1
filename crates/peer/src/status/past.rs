//! What a peer remembers of its past.

use std::time::Duration;

use sorcha_register::{clock::Timestamp, names::Version};
use sorcha_runtime::metrics::SyncType;

use super::PeerStatus;

/// Syncs and transitions that are remembered.
const HISTORY: usize = 50;
/// Latencies that are remembered.
const LATENCIES: usize = 1000;

/// A pull that has ended.
#[derive(Clone, Debug)]
pub struct SyncRecord {
    /// Its number since start.
    pub id: u64,
    /// Full or incremental.
    pub sync_type: SyncType,
    /// Start.
    pub started: Timestamp,
    /// End.
    pub ended: Timestamp,
    /// Entries moved.
    pub entries: usize,
    /// Position before.
    pub from: Version,
    /// Position after.
    pub to: Version,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// A change worth telling.
#[derive(Clone, Debug)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// What happened, in one line.
    pub what: String,
}

impl PeerStatus {
    /// Remembers a pull.
    pub fn push_sync(&mut self, record: SyncRecord) {
        self.last_sync_error.clone_from(&record.error);
        if record.error.is_none() {
            self.configuration_fault = None;
        }
        self.syncs.truncate(HISTORY - 1);
        self.syncs.push_front(record);
    }

    /// Remembers a transition.
    pub fn push_transition(&mut self, at: Timestamp, what: String) {
        self.transitions.truncate(HISTORY - 1);
        self.transitions.push_front(Transition { at, what });
    }

    /// Remembers how long a pushed entry took from its publication.
    pub(super) fn push_latency(&mut self, latency: Duration) {
        self.push_latencies.truncate(LATENCIES - 1);
        self.push_latencies.push_front(latency);
    }
}
