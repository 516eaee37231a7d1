//! What follows for the shell.

use std::time::Duration;

use sorcha_register::succession::Contradiction;

use crate::{machine::event::Event, status::StatusEvent};

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) enum SyncEffect {
    /// The time of the next pull was set: who waits for it looks at it again.
    RetimePull,
    /// What the push stream waits for before it is opened has changed: it looks again.
    LetPush,
    /// What is pushed does not have to wait for a pull any more.
    LetStore,
    /// What was pushed waits for the pull that replaces the replica, so long at the most.
    Hold(Duration),
    /// The central node's register continues what is held.
    Settle,
    /// It contradicts what is held.
    Refuse(Contradiction),
    Show(StatusEvent),
    /// Log that a pull failed.
    PullAgain {
        wait: Duration,
        why: String,
    },
    /// Log that what was pushed can't be taken.
    PullInstead {
        wait: Duration,
        why: String,
    },
    /// Log that the push stream was not opened.
    OpenAgain {
        stalls: u32,
        pause: Duration,
        why: String,
    },
    /// Tell the connection's machine.
    Tell(Event),
}
