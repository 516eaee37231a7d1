//! Tests of replication: the whole transition table, and random histories.

mod random;
mod table;

use std::time::Duration;

use sorcha_register::{
    clock::{Moment, Monotonic, Timestamp},
    succession::Contradiction,
};

use super::{
    Beginning, Closing, PullOutcome, Relation, Replication, RetryHint, SyncEffect, SyncEvent, SyncFailure,
    SyncFault, SyncPolicy, step,
};
use crate::machine::{
    effect::SyncPlan,
    event::{Event, Fault, Loss},
};

const EPOCH: u64 = 7;
const POLICY: SyncPolicy =
    SyncPolicy { interval: secs(300), push: true, resubscribe_after: secs(5), max_failures: 3 };

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A session's replication under test.
#[derive(Clone, Copy, Debug)]
struct Trial {
    state: Replication,
    now: Monotonic,
}

impl Trial {
    fn begin(plan: SyncPlan, relation: Relation, sound: bool) -> Self {
        let now = Monotonic::default();
        let beginning = Beginning { epoch: EPOCH, plan, relation, sound, moves: 0 };
        Self { state: Replication::begin(beginning, &POLICY, now), now }
    }

    fn send(&mut self, event: SyncEvent) -> Vec<SyncEffect> {
        let now = Moment { wall: Timestamp::from_millis(0), monotonic: self.now };
        let (after, effects) = step(self.state, event, &POLICY, now);
        self.state = after;
        effects
    }

    fn after(mut self, seconds: u64, events: impl IntoIterator<Item = SyncEvent>) -> Self {
        self.now = self.now.plus(secs(seconds));
        for event in events {
            self.send(event);
        }
        self
    }
}

fn failure(fault: SyncFault, hint: Option<RetryHint>) -> SyncFailure {
    SyncFailure { fault, message: "why".into(), hint }
}

fn refused() -> SyncFault {
    SyncFault::Refused(Contradiction::NoDigest)
}

fn hint(seconds: u64) -> RetryHint {
    RetryHint { after: secs(seconds), draw: 0.5 }
}

#[test]
fn a_hint_puts_a_pull_off_for_an_hour_at_most() {
    let failed = failure(SyncFault::Blameless, Some(hint(u64::from(u32::MAX))));
    let begins = SyncEvent::PullBegins { full: false, damaged: false };
    let mut trial = Trial::begin(SyncPlan::Resume, Relation::Open, true);
    trial.send(begins);
    trial.send(SyncEvent::PullEnded(PullOutcome::Failed(failed)));
    // Half of the first pause is the draw's.
    assert_eq!(trial.state.pull_at, Some(trial.now.plus(secs(3601))));
}
