//! What can happen to a peer's connection: the inputs of [`step`](super::step).

use std::time::Duration;

use sorcha_register::names::Version;

use super::phase::SessionId;
use crate::failover::CentralId;

/// Something the shell observed or was told. Events of an attempt or session carry its epoch; one of another epoch
/// is stale and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The peer starts to connect (protocol section 6.1, peer start). Ignored once started.
    Start,
    /// The list of central nodes, by priority, changed in any way; an address counts too, though the machine sees
    /// names only. The shell sends it for real changes alone.
    CentralNodesChanged(Vec<CentralId>),
    /// The attempt succeeded: `success=true` and a session.
    ConnectOk {
        /// Of the attempt.
        epoch: u64,
        /// What the central node answered.
        info: SessionInfo,
    },
    /// The attempt failed: not reached, out of time (30 s, protocol D16) or refused.
    ConnectFailed {
        /// Of the attempt.
        epoch: u64,
        /// Whether trying again can help.
        fault: Fault,
        /// The reason, for people.
        message: String,
        /// The central node's hint when to come back (ADR 36).
        retry_after: Option<Duration>,
    },
    /// A heartbeat was acknowledged. An acknowledgement with `success=false` that recommends nothing is a
    /// [`HeartbeatMissed`](Event::HeartbeatMissed).
    HeartbeatAcked {
        /// Of the session.
        epoch: u64,
        /// What the central node recommends.
        action: Action,
    },
    /// A heartbeat ran out of time or failed with another error than UNAVAILABLE (protocol section 6.3).
    HeartbeatMissed {
        /// Of the session.
        epoch: u64,
    },
    /// The connection is gone (ADR 33).
    ConnectionLost {
        /// Of the session.
        epoch: u64,
        /// How that showed.
        loss: Loss,
    },
    /// A call was refused because the central node does not know the session: NOT_FOUND, or FAILED_PRECONDITION for
    /// a heartbeat (protocol section 5: connect again). Same as [`Action::Reconnect`].
    SessionRejected {
        /// Of the session.
        epoch: u64,
    },
    /// A sync ran to its end.
    SyncSucceeded {
        /// Of the session.
        epoch: u64,
    },
    /// A sync failed while the connection stands; a lost connection is [`ConnectionLost`](Event::ConnectionLost).
    SyncFailed {
        /// Of the session.
        epoch: u64,
        /// Whether trying again can help.
        fault: Fault,
        /// The reason, for people.
        message: String,
    },
    /// A heartbeat showed other content at the same version (ADR 2 and 25).
    ReplicaDiverged {
        /// Of the session.
        epoch: u64,
    },
    /// A probed central node would take this peer: reachable, healthy, same lineage (`Effect::Probe`).
    ProbeOk {
        /// Of the session that asked.
        epoch: u64,
        /// The node probed.
        central: CentralId,
    },
    /// A probed central node would not.
    ProbeFailed {
        /// Of the session that asked.
        epoch: u64,
        /// The node probed.
        central: CentralId,
    },
    /// Somebody asked for a new connection (protocol section 8, `POST /api/connection/reconnect`).
    ReconnectRequested,
    /// The [`deadline`](super::deadline) was reached. Harmless when early or not asked for.
    Tick,
    /// The peer stops for good (protocol section 6.1, peer stop).
    Stop,
}

impl Event {
    /// The attempt or session this event belongs to, if to any.
    #[must_use]
    pub(crate) const fn epoch(&self) -> Option<u64> {
        match self {
            Self::ConnectOk { epoch, .. }
            | Self::ConnectFailed { epoch, .. }
            | Self::HeartbeatAcked { epoch, .. }
            | Self::HeartbeatMissed { epoch }
            | Self::ConnectionLost { epoch, .. }
            | Self::SessionRejected { epoch }
            | Self::SyncSucceeded { epoch }
            | Self::SyncFailed { epoch, .. }
            | Self::ReplicaDiverged { epoch }
            | Self::ProbeOk { epoch, .. }
            | Self::ProbeFailed { epoch, .. } => Some(*epoch),
            Self::Start
            | Self::CentralNodesChanged(_)
            | Self::ReconnectRequested
            | Self::Tick
            | Self::Stop => None,
        }
    }
}

/// What a successful connect told (protocol section 3.1, ConnectionResponse) and how the replica relates to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionInfo {
    /// Handle for later calls.
    pub session: SessionId,
    /// Newest version at the central node.
    pub central_version: Version,
    /// The central node's lineage against the replica's.
    pub lineage: LineageMatch,
    /// What the peer holds.
    pub replica: Holdings,
}

impl SessionInfo {
    /// The answer of a central node of another lineage that opened no session: it says the same as one that did.
    #[must_use]
    pub(crate) fn refused_for_lineage() -> Self {
        Self {
            session: SessionId::new(""),
            central_version: Version::ZERO,
            lineage: LineageMatch::Foreign,
            replica: Holdings::Diverged,
        }
    }
}

/// How the lineage a central node serves relates to the replica's (ADR 26).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineageMatch {
    /// The same history.
    Same,
    /// The replica has no lineage yet and takes this one.
    FirstVisit,
    /// The central node gave none: one of the original contract.
    Unknown,
    /// Another history: split brain, never merged.
    Foreign,
}

/// What the peer holds when it connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holdings {
    /// Nothing.
    Empty,
    /// Verified entries.
    Held {
        /// The central node its checkpoint belongs to, where known (protocol section 3.3, SyncCheckpoint).
        checkpoint_of: Option<CentralId>,
    },
    /// Entries, but the digests disagree at the same version (ADR 2).
    Diverged,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It can: not reached, overloaded, rate limited, not ready, out of time, internal fault.
    Passing,
    /// It can't until somebody changes something: PERMISSION_DENIED, INVALID_ARGUMENT, FAILED_PRECONDITION
    /// (protocol section 5).
    Fatal,
    /// What the node says or sends contradicts what the peer holds: another node may be right, and this one later.
    Refused,
}

/// What an acknowledgement recommends (protocol section 4, RecommendedAction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Carry on.
    None,
    /// The peer lags: sync at once (protocol D38).
    Sync,
    /// The central node is overloaded: beat less often.
    ReduceFrequency,
    /// Leave for another node (ADR 37: drain).
    Failover,
    /// The session is not valid: connect again.
    Reconnect,
}

/// How the loss of a connection showed (ADR 33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The push stream or the channel was closed.
    Closed,
    /// A call failed with UNAVAILABLE.
    Unavailable,
    /// No answer to an HTTP/2 keepalive ping.
    Keepalive,
}
