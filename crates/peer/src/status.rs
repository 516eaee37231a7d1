//! What a peer knows of itself and of its central nodes: in memory, never shared, lost on restart (protocol
//! section 7: ActivePeerInfo, CentralNodeInfo). HTTP, logs and the reporter read this snapshot.

//!
//! It changes by events alone: `PeerStatus::on` is the fold, and `PeerNode::note` its one caller.

mod ahead;
mod central_node;
mod event;
mod fold;
mod heartbeat;
mod past;
mod refused;

use std::{collections::VecDeque, time::Duration};

use sorcha_config::CentralNodeAddress;
use sorcha_register::{
    clock::{Moment, Monotonic, Timestamp},
    names::Version,
};

pub(crate) use self::event::{
    DialEvent, HeartbeatEvent, PullEvent, PushEvent, ReplicationEvent, Said, Shown, StatusEvent,
};
pub use self::{
    ahead::{Ahead, Comparison},
    central_node::{CentralNodeInfo, CentralNodeState},
    heartbeat::HeartbeatCounters,
    past::{SyncRecord, Transition},
    refused::Refused,
};
use super::machine::state::PeerState;

/// A peer's snapshot of itself.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// State of the connection (protocol D36).
    pub state: PeerState,
    /// Since when.
    pub since: Timestamp,
    /// Central node connected to.
    pub central_node_id: Option<String>,
    /// Handle of the session.
    pub session_id: Option<String>,
    /// Start of the session.
    pub connected_at: Option<Timestamp>,
    /// Since when no central node could be reached.
    pub isolated_since: Option<Timestamp>,
    /// A central node with a register of another lineage was met; nothing was merged.
    pub split_brain: Option<String>,
    /// A central node's register contradicts this replica; nothing of it was taken. Until a sync with it brings a true continuation.
    pub refused: Option<Refused>,
    /// All central nodes of which that is so, the newest last.
    refusals: Vec<Refused>,
    /// A central node refuses this peer, and trying again can't help.
    pub configuration_fault: Option<String>,
    /// This replica is ahead of its central node's register: that has lost what is held here, or is supposed to have.
    pub ahead: Option<Ahead>,
    /// Heartbeats in a row whose answer named an older version than is held, without saying that this is certain.
    pub behind_beats: u32,
    /// Newest version at the central node, as last heard.
    pub central_version: Version,
    /// The replica was last known to equal its central node's head at this instant.
    pub fresh_as_of: Option<Moment>,
    /// Heartbeats.
    pub heartbeat: HeartbeatCounters,
    /// Moves to another central node since start.
    pub failovers: u64,
    /// Since when the push stream is open.
    pub subscribed_at: Option<Timestamp>,
    /// A pull runs now.
    pub syncing: bool,
    /// Why the last pull failed; `None` after one that succeeded.
    pub last_sync_error: Option<String>,
    /// Why replication does not work: a pull that stalls, keeps failing or died; `None` after one that succeeded.
    pub replication_fault: Option<String>,
    /// The replica is behind, and nothing arrives.
    pub standstill: Option<String>,
    /// Why nothing can be stored any more.
    pub store_fault: Option<String>,
    /// Why there is no push stream, where the central node does not answer or the task died.
    pub push_fault: Option<String>,
    /// The newest pulls, newest first.
    pub syncs: VecDeque<SyncRecord>,
    /// The newest transitions, newest first.
    pub transitions: VecDeque<Transition>,
    /// The last token of `sync.force_resync_file` whose full sync was done.
    pub force_resync: Option<String>,
    /// What keeps the file of central nodes from being used.
    pub central_nodes_fault: Option<String>,
    /// The configured central nodes, in priority order.
    pub central_nodes: Vec<CentralNodeInfo>,
    /// Publication to persistence of the newest pushed entries.
    pub push_latencies: VecDeque<Duration>,
}

impl PeerStatus {
    /// A peer that has just started.
    #[must_use]
    pub fn new(now: Timestamp, central_nodes: &[CentralNodeAddress]) -> Self {
        Self {
            state: PeerState::Disconnected,
            since: now,
            central_node_id: None,
            session_id: None,
            connected_at: None,
            isolated_since: None,
            split_brain: None,
            refused: None,
            refusals: Vec::new(),
            configuration_fault: None,
            ahead: None,
            behind_beats: 0,
            central_version: Version::ZERO,
            fresh_as_of: None,
            heartbeat: HeartbeatCounters::default(),
            failovers: 0,
            subscribed_at: None,
            syncing: false,
            last_sync_error: None,
            replication_fault: None,
            standstill: None,
            store_fault: None,
            push_fault: None,
            syncs: VecDeque::new(),
            force_resync: None,
            central_nodes_fault: None,
            transitions: VecDeque::new(),
            central_nodes: central_nodes.iter().cloned().map(CentralNodeInfo::new).collect(),
            push_latencies: VecDeque::new(),
        }
    }

    /// What keeps the replica from following its central node, while heartbeats may go on.
    #[must_use]
    pub fn replication_trouble(&self) -> Option<&str> {
        self.store_fault.as_deref().or(self.replication_fault.as_deref()).or(self.standstill.as_deref())
    }

    /// Notes what a central node said its register is at, and whether this replica equals it.
    pub fn hear_of(&mut self, central: Version, held: Version, equal: bool, now: Moment) {
        self.central_version = central;
        if equal && held == central {
            self.fresh_as_of = Some(now);
        }
    }

    /// Versions behind the central node.
    #[must_use]
    pub const fn lag(&self, held: Version) -> i64 {
        let lag = self.central_version.get() - held.get();
        if lag < 0 { 0 } else { lag }
    }

    /// Age of the replica: time since it was last known to equal its central node's head.
    #[must_use]
    pub fn staleness(&self, now: Monotonic) -> Option<Duration> {
        Some(now.since(self.fresh_as_of?.monotonic))
    }
}
