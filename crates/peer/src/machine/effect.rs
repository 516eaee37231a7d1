//! What is to be done: the outputs of [`step`](super::step), in the order in which the shell starts them.

use sorcha_register::clock::Monotonic;

use super::{event::Loss, phase::SessionId};
use crate::failover::CentralId;

/// One thing for the shell to do. Nothing here reports back but by an event with the effect's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Connect: 5 s for TCP and TLS, 30 s in all (ADR 33); ends in `ConnectOk` or `ConnectFailed`.
    Dial {
        /// Of the new attempt, and of the session that may come of it.
        epoch: u64,
        /// Whom to dial.
        central: CentralId,
    },
    /// Drop the attempt; its result no longer matters.
    AbandonDial {
        /// Of the attempt.
        epoch: u64,
    },
    /// Start the session's tasks on the connection of this epoch: heartbeats at the normal interval, push stream,
    /// sync and periodic pull.
    OpenSession {
        /// Of the attempt that succeeded.
        epoch: u64,
        /// The central node.
        central: CentralId,
        /// Handle for the calls.
        session: SessionId,
        /// How to begin.
        sync: SyncPlan,
    },
    /// Say goodbye on the connection of this epoch: best effort, bounded in time, in the background. It must not
    /// delay the effects after it, the next dial least of all.
    Disconnect {
        /// Of the session.
        epoch: u64,
        /// Handle to give back.
        session: SessionId,
        /// What to tell the central node.
        reason: DisconnectReason,
    },
    /// End the tasks of this epoch and drop its connection (a goodbye on its way may finish). Always follows
    /// [`Disconnect`](Effect::Disconnect), also where no session was opened on the connection.
    CloseSession {
        /// Of the session.
        epoch: u64,
    },
    /// Sync now (protocol D38); joins one that runs, unless that resumes and this is full.
    SyncNow {
        /// Of the session.
        epoch: u64,
        /// From where.
        plan: SyncPlan,
    },
    /// Double the heartbeat interval, up to the shell's cap (protocol section 6.3, REDUCE_FREQUENCY).
    SlowHeartbeat {
        /// Of the session.
        epoch: u64,
    },
    /// Return to the normal heartbeat interval.
    NormalHeartbeat {
        /// Of the session.
        epoch: u64,
    },
    /// Find out whether a better central node would take this peer, without connecting to it; ends in `ProbeOk` or
    /// `ProbeFailed`.
    Probe {
        /// Of the session that stays open meanwhile.
        epoch: u64,
        /// The node to ask.
        central: CentralId,
    },
    /// Tell the log, the metrics, the status and whoever listens.
    Report(Report),
}

/// How a session begins to sync (ADR 41).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncPlan {
    /// Everything anew.
    Full,
    /// From the version held.
    Resume,
}

/// Facts worth telling (protocol section 10, structured log events).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A whole pass found nobody: the peer serves its replica alone (protocol section 6.4).
    EnteredIsolated,
    /// A central node took the peer again.
    LeftIsolated {
        /// Since when it was isolated.
        since: Monotonic,
    },
    /// A central node serves another lineage (ADR 26).
    SplitBrain {
        /// Which one.
        central: CentralId,
    },
    /// A refusal that trying again can't overcome.
    ConfigurationFault {
        /// Who refused.
        central: CentralId,
        /// Its reason.
        message: String,
    },
    /// A heartbeat was missed, not yet one too many (protocol section 6.3, grace).
    HeartbeatMissed {
        /// Who did not answer.
        central: CentralId,
        /// Misses in a row.
        missed: u32,
    },
    /// A session on another node replaced one that ended; counted once, when it succeeds (protocol section 10,
    /// `peer.failover.count`).
    FailedOver {
        /// The node left.
        from: CentralId,
        /// The node found.
        to: CentralId,
        /// Why it was left.
        cause: Cause,
        /// When that was noticed: recovery took from then to now.
        noticed_at: Monotonic,
    },
    /// A session on the same node replaced one that ended; not a failover.
    Reconnected {
        /// The node.
        central: CentralId,
        /// Why the session before ended.
        cause: Cause,
        /// When that was noticed.
        noticed_at: Monotonic,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too many heartbeats missed in a row (protocol D7).
    HeartbeatTimeout,
    /// The central node asked for it: drain or overload (ADR 37).
    Advised,
    /// The connection was lost.
    ConnectionLost(Loss),
    /// The central node no longer knows the session (protocol D4).
    SessionRejected,
    /// Too many syncs failed in a row.
    SyncFailed,
    /// What the node sent contradicts what the peer holds.
    Refused,
    /// The node is no longer in the list.
    Delisted,
    /// Asked for by a person (protocol section 8).
    Requested,
    /// A better node works again (ADR 33).
    Failback,
}

impl Cause {
    /// Label of metrics and spans (protocol section 10, `reason`).
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Advised => "advised",
            Self::ConnectionLost(Loss::Closed) => "connection_closed",
            Self::ConnectionLost(Loss::Unavailable) => "unavailable",
            Self::ConnectionLost(Loss::Keepalive) => "keepalive_lost",
            Self::SessionRejected => "session_rejected",
            Self::SyncFailed => "sync_failed",
            Self::Refused => "register_refused",
            Self::Delisted => "delisted",
            Self::Requested => "requested",
            Self::Failback => "failback",
        }
    }

    /// What the central node that is left gets told.
    #[must_use]
    pub(crate) const fn disconnect_reason(self) -> DisconnectReason {
        match self {
            Self::HeartbeatTimeout => DisconnectReason::HeartbeatTimeout,
            Self::Advised | Self::Delisted | Self::Failback => DisconnectReason::Failover,
            Self::ConnectionLost(_) | Self::SessionRejected | Self::SyncFailed | Self::Refused => {
                DisconnectReason::Error
            }
            Self::Requested => DisconnectReason::ClientRequest,
        }
    }
}

/// Reason of a disconnect (protocol section 4); the discriminants are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum DisconnectReason {
    /// Orderly stop of the peer.
    Shutdown = 1,
    /// The peer saw heartbeats time out.
    HeartbeatTimeout = 2,
    /// The peer moves to another node.
    Failover = 3,
    /// Connection fault, or a lineage that must not be merged.
    Error = 4,
    /// Asked for by the client.
    ClientRequest = 5,
}
