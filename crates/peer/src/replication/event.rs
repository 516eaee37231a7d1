//! What can happen to a session's replication.

use std::time::Duration;

use sorcha_register::succession::Contradiction;

use crate::machine::event::{Fault, Loss};

/// Something that a task of the session saw.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SyncEvent {
    /// A pull that is due or asked for begins.
    PullBegins {
        /// Everything is fetched again, whatever is held.
        full: bool,
        /// What is held is damaged.
        damaged: bool,
    },
    /// What the pull brings has come and is stored, or will not come.
    PullFetched,
    /// The pull is over, with its record.
    PullEnded(PullOutcome),
    PullDied(String),
    PushOpened {
        /// The stream brings whole entries from the version held on, and nothing else is known to be missing.
        sound: bool,
    },
    /// Something was pushed.
    PushArrived {
        /// Bytes that pulls of the session have received.
        received: u64,
    },
    /// What was pushed has waited for as long as [`SyncEffect::Hold`](super::SyncEffect::Hold) said.
    PushHeld {
        /// Bytes that pulls of the session have received.
        received: u64,
    },
    /// What was pushed is stored.
    PushStored,
    /// The stream says that there is something to pull.
    PushNoticed,
    /// What was pushed could not be taken; the stream is given up.
    PushFailed(SyncFailure),
    /// The stream was closed or refused.
    PushClosed(Closing),
    PushDied(String),
}

/// How a pull ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PullOutcome {
    /// The replica equals the central node's register at the head that it stated.
    Complete,
    /// The central node's register ends before the version held.
    Behind,
    /// What came would make another register; nothing was taken.
    Diverged,
    /// Newer entries were pushed meanwhile.
    Overtaken,
    Failed(SyncFailure),
}

/// How a push stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// It ended or was refused, with a hint when to come back.
    Ended {
        retry_after: Option<Duration>,
    },
    /// The central node has none.
    Unoffered,
    /// The central node did not begin to answer; so many are configured.
    Stalled {
        why: String,
        central_nodes: usize,
    },
    Lost(Loss),
    /// The central node does not know the session.
    Rejected,
}

/// A pull that failed, or a push that could not be taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SyncFailure {
    pub(crate) fault: SyncFault,
    /// The reason, for people.
    pub(crate) message: String,
    pub(crate) hint: Option<RetryHint>,
}

/// Whose failure it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SyncFault {
    /// What came contradicts what is held.
    Refused(Contradiction),
    Lost(Loss),
    /// The central node does not know the session.
    Rejected,
    /// The central node's.
    Central(Fault),
    /// The central node sent too little for too long.
    Stalled,
    /// Not the central node's: it limits how often it is asked, or the store here takes nothing. Another one would not help.
    Blameless,
}

/// The central node's word on when to come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RetryHint {
    pub(crate) after: Duration,
    /// A fresh draw, uniform in [0, 1), for jitter.
    pub(crate) draw: f64,
}
