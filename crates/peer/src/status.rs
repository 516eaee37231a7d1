//! What a peer knows of itself and of its central nodes: in memory, never shared, lost on restart (protocol
//! section 7: ActivePeerInfo, CentralNodeInfo). HTTP, logs and the reporter read this snapshot.

mod refused;

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;
use sorcha_config::CentralNodeAddress;
use sorcha_register::{
    clock::{Moment, Monotonic, Timestamp},
    names::Version,
};
use sorcha_runtime::metrics::SyncType;

pub use self::refused::Refused;
use super::machine::state::PeerState;

/// Syncs and transitions that are remembered.
const HISTORY: usize = 50;
/// Heartbeats in a row that name an older version than is held, until the central node is supposed to have lost it.
const LONG_BEHIND: u32 = 3;
/// Round trips that are averaged (protocol section 3.2).
const ROUND_TRIPS: usize = 10;

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

/// How a replica is known to be ahead of its central node's register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The central node has read its store and says so.
    Told,
    /// The central node does not compare, and goes on answering with an older version.
    Supposed,
}

/// What a central node says about a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is ahead of the register, and that is certain.
    Ahead,
    /// It is not.
    NotAhead,
    /// Nothing.
    Untold,
}

/// Heartbeat counters of a peer.
#[derive(Clone, Debug, Default)]
pub struct HeartbeatCounters {
    /// Sequence number of the newest one.
    pub sequence: i64,
    /// Sent since start.
    pub sent: u64,
    /// Acknowledged since start.
    pub acknowledged: u64,
    /// Missed in a row.
    pub missed: u32,
    /// Why the newest was missed; `None` once one is acknowledged.
    pub fault: Option<String>,
    /// When the newest was sent.
    pub last_sent: Option<Timestamp>,
    /// When the newest was acknowledged.
    pub last_acknowledged: Option<Timestamp>,
    round_trips: VecDeque<Duration>,
}

impl HeartbeatCounters {
    /// Notes an acknowledgement.
    pub fn acknowledge(&mut self, now: Timestamp, round_trip: Duration) {
        self.acknowledged += 1;
        (self.missed, self.fault) = (0, None);
        self.last_acknowledged = Some(now);
        self.round_trips.truncate(ROUND_TRIPS - 1);
        self.round_trips.push_front(round_trip);
    }

    /// Notes a heartbeat that was refused or not answered in time.
    pub fn miss(&mut self, reason: &str) {
        self.missed += 1;
        self.fault = Some(reason.to_owned());
    }

    /// Round trip of the newest heartbeat.
    #[must_use]
    pub fn last_round_trip(&self) -> Option<Duration> {
        self.round_trips.front().copied()
    }

    /// Mean round trip of the last 10, milliseconds.
    #[must_use]
    pub fn average_ms(&self) -> f64 {
        let sum: Duration = self.round_trips.iter().sum();
        if self.round_trips.is_empty() {
            0.0
        } else {
            sum.as_secs_f64() * 1000.0 / self.round_trips.len() as f64
        }
    }
}

/// How a configured central node stands, as this peer knows it (protocol section 6.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CentralNodeState {
    /// Not tried, or left.
    #[default]
    Disconnected,
    /// Being tried.
    Connecting,
    /// In use.
    Connected,
    /// The last try or connection failed.
    Failed,
    /// In use, with a heartbeat missed.
    HeartbeatTimeout,
}

/// A configured central node (protocol section 7).
#[derive(Clone, Debug)]
pub struct CentralNodeInfo {
    /// Its address, identity and priority.
    pub address: CentralNodeAddress,
    /// How it stands.
    pub state: CentralNodeState,
    /// Newest try.
    pub last_attempt: Option<Timestamp>,
    /// Newest success.
    pub last_success: Option<Timestamp>,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Why the newest try failed.
    pub last_error: Option<String>,
}

impl CentralNodeInfo {
    /// One that was never tried.
    #[must_use]
    pub const fn new(address: CentralNodeAddress) -> Self {
        Self {
            address,
            state: CentralNodeState::Disconnected,
            last_attempt: None,
            last_success: None,
            consecutive_failures: 0,
            last_error: None,
        }
    }

    /// The one in use; at most one is.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self.state, CentralNodeState::Connected | CentralNodeState::HeartbeatTimeout)
    }
}

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

    /// The configured central node of this id.
    pub fn central_node(&mut self, id: &str) -> Option<&mut CentralNodeInfo> {
        self.central_nodes.iter_mut().find(|central| central.address.id() == id)
    }

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
    pub fn push_latency(&mut self, latency: Duration) {
        const LATENCIES: usize = 1000;
        self.push_latencies.truncate(LATENCIES - 1);
        self.push_latencies.push_front(latency);
    }

    /// Notes what a central node said its register is at, and whether this replica equals it.
    pub fn hear_of(&mut self, central: Version, held: Version, equal: bool, now: Moment) {
        self.central_version = central;
        if equal && held == central {
            self.fresh_as_of = Some(now);
        }
    }

    /// Takes in how a central node that is at a version compares what is held with its register. One that does not compare is
    /// supposed to have lost what is held once its last heartbeats all ended before that: its tail may be late.
    pub const fn compare(&mut self, central: Version, held: Version, told: Comparison) {
        let is_behind = central.get() < held.get();
        self.behind_beats = if is_behind { self.behind_beats.saturating_add(1) } else { 0 };
        self.ahead = match told {
            Comparison::Ahead => Some(Ahead::Told),
            // One that ends before what is held and says that both are equal contradicts itself.
            _ if is_behind && self.ahead.is_none() && self.behind_beats >= LONG_BEHIND => {
                Some(Ahead::Supposed)
            }
            _ if is_behind => self.ahead,
            _ => None,
        };
    }

    /// By how many versions the replica is ahead of its central node's register, where it is told or supposed to be.
    #[must_use]
    pub const fn ahead_by(&self, held: Version) -> Option<i64> {
        let by = held.get() - self.central_version.get();
        if self.ahead.is_some() { Some(if by < 1 { 1 } else { by }) } else { None }
    }

    /// That the replica is ahead, for people.
    #[must_use]
    pub fn ahead_in_words(&self, held: Version) -> Option<String> {
        let by = self.ahead_by(held)?;
        let central = self.central_node_id.as_deref().unwrap_or("its central node");
        let end = self.central_version;
        Some(match self.ahead? {
            Ahead::Told => format!(
                "this replica is ahead of {central} by {by} versions: what it holds up to version {held} is not in \
                 that register any more, which ends at version {end}"
            ),
            Ahead::Supposed => format!(
                "this replica is ahead of {central} by {by} versions: {central} has answered {LONG_BEHIND} heartbeats \
                 or more with version {end}, so that it can't read its store, or has lost what is held up to \
                 version {held}"
            ),
        })
    }

    /// Versions behind the central node, negative for those that it is ahead.
    #[must_use]
    pub const fn signed_lag(&self, held: Version) -> i64 {
        match self.ahead_by(held) {
            Some(by) => -by,
            None => self.lag(held),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_that_is_told_is_the_mean_of_the_last_ten() {
        let mut heartbeats = HeartbeatCounters::default();
        assert_eq!(heartbeats.average_ms().to_bits(), 0.0_f64.to_bits());
        for millis in [1000, 10, 20, 10, 20, 10, 20, 10, 20, 10, 20] {
            heartbeats.acknowledge(Timestamp::from_millis(0), Duration::from_millis(millis));
        }
        assert!((heartbeats.average_ms() - 15.0).abs() < 1e-9, "{}", heartbeats.average_ms());
        assert_eq!(heartbeats.last_round_trip(), Some(Duration::from_millis(20)));
    }
}
