//! How a session replicates, as a pure step: `state x event -> state x effects` (ADR 32), like the connection's
//! [`machine`](super::machine).
//!
//! There are two ways, and neither waits for a central node in the other's place (protocol sections 6.1, 6.5, 6.6). Pulls: while
//! none runs, the next one is due at a known time. The push stream: it is opened once a pull has ended, where one comes first,
//! and once the central node has shown that it continues what is held. Each way is a task of the shell in [`session`](super),
//! which tells what happened to it and performs what follows. Nothing in here reads a clock or waits; `tests/table.txt` shows
//! every transition.

mod effect;
mod event;
mod failure;
mod pulls;
mod pushes;
mod state;

use std::time::Duration;

use sorcha_register::clock::Moment;

pub(crate) use self::{
    effect::SyncEffect,
    event::{Closing, PullOutcome, RetryHint, SyncEvent, SyncFailure, SyncFault},
    state::{Beginning, Relation, Replication},
};
use crate::machine::event::Event;

/// The settings that replication goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncPolicy {
    /// From the end of one pull to the next, whatever is pushed.
    pub(crate) interval: Duration,
    /// Whether the push stream is opened before a user asks.
    pub(crate) push: bool,
    /// Pause before a push stream that was closed is opened again; longer after one that stalled.
    pub(crate) resubscribe_after: Duration,
    /// Failures in a row after which another central node is tried.
    pub(crate) max_failures: u32,
}

/// One step: the next state, and what the shell is to do, in this order.
#[must_use]
pub(crate) fn step(
    state: Replication,
    event: SyncEvent,
    policy: &SyncPolicy,
    now: Moment,
) -> (Replication, Vec<SyncEffect>) {
    let mut turn = SyncTurn { state, policy, now, effects: Vec::new() };
    match event {
        SyncEvent::PullBegins { full, damaged } => turn.pull_begins(full, damaged),
        SyncEvent::PullFetched => turn.pull_fetched(),
        SyncEvent::PullEnded(outcome) => turn.pull_ended(outcome),
        SyncEvent::PullDied(why) => turn.pull_died(why),
        SyncEvent::PushOpened { sound } => turn.push_opened(sound),
        SyncEvent::PushArrived { received } => turn.push_arrived(received),
        SyncEvent::PushHeld { received } => turn.push_held(received),
        SyncEvent::PushStored => turn.push_stored(),
        SyncEvent::PushNoticed => turn.pull_within(Duration::ZERO),
        SyncEvent::PushFailed(failure) => turn.push_failed(failure),
        SyncEvent::PushClosed(closing) => turn.push_closed(closing),
        SyncEvent::PushDied(why) => turn.push_died(why),
    }
    (turn.state, turn.effects)
}

/// One step in the making.
struct SyncTurn<'a> {
    state: Replication,
    policy: &'a SyncPolicy,
    now: Moment,
    effects: Vec<SyncEffect>,
}

impl SyncTurn<'_> {
    fn emit(&mut self, effect: SyncEffect) {
        self.effects.push(effect);
    }

    fn tell(&mut self, event: Option<Event>) {
        self.effects.extend(event.map(SyncEffect::Tell));
    }
}

#[cfg(test)]
mod tests;
