//! What each phase of the [state](super::state) owns.

use std::{collections::VecDeque, fmt, time::Duration};

use sorcha_register::{clock::Monotonic, names::Version, session_name::session_name};

use super::effect::Cause;
use crate::failover::CentralId;

/// A pass under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// How far it is.
    pub progress: Progress,
    /// The nodes still to be tried, in order.
    pub queue: VecDeque<CentralId>,
    /// What it met so far.
    pub tally: Tally,
    /// What it is to end.
    pub outage: Outage,
}

/// How far a pass is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its first dial is held back to spread peers.
    Delayed {
        /// Till then.
        until: Monotonic,
    },
    /// An attempt is in flight.
    Dialling {
        /// Its epoch.
        epoch: u64,
        /// Whom it dials.
        central: CentralId,
    },
}

/// What a pass met so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The nodes it has dealt with, the one being dialled included.
    pub tried: Vec<CentralId>,
    /// How many of them refused for good.
    pub fatal: usize,
    /// How many of them were passed over because of a hint of an earlier pass.
    pub barred: usize,
    /// The smallest retry-after hint given in this pass.
    pub hint: Option<Duration>,
}

/// The time without a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    /// The session that ended; none when there was none since the start.
    pub departure: Option<Departure>,
    /// Present once a whole pass has failed.
    pub isolation: Option<Isolation>,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The node left.
    pub from: CentralId,
    /// Why.
    pub cause: Cause,
    /// When that was noticed.
    pub noticed_at: Monotonic,
}

/// Isolated mode (protocol section 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Since when.
    pub since: Monotonic,
    /// Passes that failed so far while isolated, the first one included; numbers the next delay.
    pub rounds: u32,
}

/// Isolated, between two passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Since when, and how often it waited.
    pub isolation: Isolation,
    /// The session that ended.
    pub departure: Option<Departure>,
    /// When the next pass starts; none while there is no central node in the list.
    pub retry_at: Option<Monotonic>,
}

impl Wait {
    pub(super) fn into_outage(self) -> Outage {
        Outage { departure: self.departure, isolation: Some(self.isolation) }
    }
}

/// Handle of a session, opaque (protocol section 3.1); its debug form is its name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// Wraps what the central node gave.
    #[must_use]
    pub fn new(handle: impl Into<String>) -> Self {
        Self(handle.into())
    }

    /// The text for later calls.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&session_name(&self.0))
    }
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Epoch of the attempt it came of.
    pub epoch: u64,
    /// The central node.
    pub central: CentralId,
    /// Handle for the calls.
    pub id: SessionId,
    /// Newest version at the central node when it answered.
    pub central_version: Version,
    /// When it was opened.
    pub since: Monotonic,
    /// Heartbeats missed in a row; below `Policy::max_missed`.
    pub missed: u32,
    /// Syncs failed in a row; below `Policy::max_sync_failures`.
    pub sync_failures: u32,
    /// Pace of its heartbeats.
    pub beat: Beat,
}

/// Pace of the heartbeats (protocol section 6.3, REDUCE_FREQUENCY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The configured interval.
    Normal,
    /// Longer, on the central node's advice.
    Slowed,
}

/// How far a session has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No heartbeat acknowledged yet.
    Fresh,
    /// Heartbeats are acknowledged; with the search for a better node, where the policy wants one.
    Monitored(Option<Watch>),
}

/// The search for a better central node (ADR 33, failback).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// When the next round of probes starts.
    pub due: Monotonic,
    /// The node whose probe is unanswered.
    pub awaiting: Option<CentralId>,
    /// The node whose last probes succeeded.
    pub passed: Option<Passed>,
}

/// Probes passed in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// By which node.
    pub central: CentralId,
    /// How many.
    pub times: u32,
}
