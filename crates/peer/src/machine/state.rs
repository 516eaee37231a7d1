//! Where a peer's connection stands: the state of `step`.

use std::{collections::BTreeMap, fmt};

use sorcha_register::clock::Monotonic;

use super::phase::{Outage, Progress, Search, Session, Stage, Wait};
use crate::failover::{CentralId, distinct};

/// The whole state: what the peer is at, and what it remembers throughout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What the peer is at.
    pub phase: Phase,
    /// What outlives a phase.
    pub memory: Memory,
}

impl State {
    /// A peer that has not started, with the central nodes it knows, best first.
    #[must_use]
    pub fn new(centrals: Vec<CentralId>) -> Self {
        let centrals = distinct(centrals);
        let memory = Memory {
            centrals,
            epoch: 0,
            barred: BTreeMap::new(),
            refusals: BTreeMap::new(),
            split_brain: None,
            short_sessions: 0,
        };
        Self { phase: Phase::Idle, memory }
    }

    /// The state as it is shown to the world (protocol D36).
    #[must_use]
    pub(crate) const fn peer_state(&self) -> PeerState {
        match &self.phase {
            Phase::Idle | Phase::Stopped => PeerState::Disconnected,
            Phase::Searching(Search { outage: Outage { isolation: None, .. }, .. }) => PeerState::Connecting,
            Phase::Searching(_) | Phase::Waiting(_) => PeerState::Isolated,
            Phase::Open(_, Stage::Fresh) => PeerState::Connected,
            Phase::Open(_, Stage::Monitored(_)) => PeerState::HeartbeatMonitoring,
        }
    }

    /// The open session.
    #[must_use]
    pub const fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Open(session, _) => Some(session),
            _ => None,
        }
    }

    /// Epoch of the attempt in flight or of the open session; there is never more than one of both together.
    #[must_use]
    pub(crate) const fn live_epoch(&self) -> Option<u64> {
        self.phase.live_epoch()
    }

    /// Since when the peer is isolated.
    #[must_use]
    pub const fn isolated_since(&self) -> Option<Monotonic> {
        match &self.phase {
            Phase::Searching(Search { outage: Outage { isolation: Some(isolation), .. }, .. })
            | Phase::Waiting(Wait { isolation, .. }) => Some(isolation.since),
            _ => None,
        }
    }
}

/// The state of a peer by its public names (protocol D36).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// Not started, or stopped.
    Disconnected,
    /// A pass over the central nodes is under way and the peer is not isolated.
    Connecting,
    /// A session is open; no heartbeat was acknowledged yet.
    Connected,
    /// A session is open and heartbeats are acknowledged.
    HeartbeatMonitoring,
    /// A whole pass found nobody; passes go on in the background (protocol section 6.4).
    Isolated,
}

impl PeerState {
    /// The public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "Disconnected",
            Self::Connecting => "Connecting",
            Self::Connected => "Connected",
            Self::HeartbeatMonitoring => "HeartbeatMonitoring",
            Self::Isolated => "Isolated",
        }
    }

    /// Value of the gauge `peer.connection.status`: 0 disconnected, 1 connected, 2 isolated (protocol section 10).
    #[must_use]
    pub(crate) const fn gauge(self) -> u8 {
        match self {
            Self::Disconnected | Self::Connecting => 0,
            Self::Connected | Self::HeartbeatMonitoring => 1,
            Self::Isolated => 2,
        }
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What outlives a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The central nodes, best first, each once.
    pub centrals: Vec<CentralId>,
    /// The newest epoch given out; 0 before the first attempt.
    pub epoch: u64,
    /// Nodes that said when to come back, with the instant before which they are not dialled (ADR 36).
    pub barred: BTreeMap<CentralId, Monotonic>,
    /// Nodes whose register contradicts what the peer holds, with how often in a row that was found.
    pub refusals: BTreeMap<CentralId, u32>,
    /// The node last found on another lineage, until a connect proves that the replica's lineage is served
    /// (ADR 26).
    pub split_brain: Option<CentralId>,
    /// Sessions in a row that ended before `Policy::settle_after`.
    pub short_sessions: u32,
}

/// What the peer is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not started.
    Idle,
    /// A pass over the central nodes.
    Searching(Search),
    /// A session.
    Open(Session, Stage),
    /// Isolated, between two passes.
    Waiting(Wait),
    /// Stopped for good.
    Stopped,
}

impl Phase {
    pub(super) const fn live_epoch(&self) -> Option<u64> {
        match self {
            Self::Searching(Search { progress: Progress::Dialling { epoch, .. }, .. }) => Some(*epoch),
            Self::Open(session, _) => Some(session.epoch),
            _ => None,
        }
    }
}
