//! Pulls: the first one, the periodic ones, and those that are asked for (protocol section 6.5).

use std::time::Duration;

use super::{PullOutcome, SyncEffect, SyncTurn};
use crate::{
    machine::{
        effect::SyncPlan,
        event::{Event, Fault},
    },
    status::{PullEvent, ReplicationEvent, StatusEvent},
};

impl SyncTurn<'_> {
    /// Has a pull take place by then.
    pub(super) fn pull_within(&mut self, time: Duration) {
        let at = self.now.monotonic.plus(time);
        self.state.pull_at = Some(self.state.pull_at.map_or(at, |due| due.min(at)));
        self.emit(SyncEffect::RetimePull);
    }

    /// Puts the next pull off until the periodic one: the push stream brings what it would.
    pub(super) fn put_off_pull(&mut self) {
        self.state.pull_at = self.state.pull_at.map(|due| due.max(self.state.pull_by));
        self.emit(SyncEffect::RetimePull);
    }

    pub(super) fn pull_begins(&mut self, full: bool, damaged: bool) {
        if full {
            self.state.plan = SyncPlan::Full;
        }
        self.state.is_replacing = self.state.plan == SyncPlan::Full || damaged;
        self.state.pull_at = None;
    }

    pub(super) fn pull_fetched(&mut self) {
        if std::mem::take(&mut self.state.is_replacing) {
            self.emit(SyncEffect::LetStore);
        }
    }

    pub(super) fn pull_ended(&mut self, outcome: PullOutcome) {
        self.pull_fetched();
        let conditions = (self.state.is_pulled, self.state.is_level);
        let interval = self.policy.interval;
        let (next_in, event) = match outcome {
            PullOutcome::Complete => (interval, Some(self.complete())),
            PullOutcome::Behind => {
                // Its tail may be late. If it has lost versions, heartbeats tell; what it gives instead is not pushed here.
                self.state.is_level = false;
                (self.count_failure(), None)
            }
            PullOutcome::Diverged => {
                self.state.plan = SyncPlan::Full;
                (Duration::ZERO, None)
            }
            PullOutcome::Overtaken => (Duration::ZERO, None),
            PullOutcome::Failed(failure) => {
                let (wait, event) = self.failed(failure, |wait, why| SyncEffect::PullAgain { wait, why });
                (wait.unwrap_or(interval), event)
            }
        };
        self.end_pull(next_in);
        if conditions != (self.state.is_pulled, self.state.is_level) {
            self.emit(SyncEffect::LetPush);
        }
        self.tell(event);
    }

    fn complete(&mut self) -> Event {
        self.emit(SyncEffect::Settle);
        (self.state.is_level, self.state.plan, self.state.failures) = (true, SyncPlan::Resume, 0);
        self.emit(SyncEffect::Show(StatusEvent::Replication(ReplicationEvent::Works)));
        Event::SyncSucceeded { epoch: self.state.epoch }
    }

    /// What was asked for meanwhile stays due.
    fn end_pull(&mut self, next_in: Duration) {
        self.state.pull_by = self.now.monotonic.plus(self.policy.interval);
        self.state.is_pulled = true;
        self.pull_within(next_in);
    }

    pub(super) fn pull_died(&mut self, why: String) {
        self.pull_fetched();
        self.emit(SyncEffect::Show(StatusEvent::Pull(PullEvent::Died(why.clone()))));
        self.emit(SyncEffect::Show(StatusEvent::Replication(ReplicationEvent::Fails(why.clone()))));
        self.pull_within(Duration::ZERO);
        self.tell_failed(why);
    }

    /// A failure that may pass by itself.
    pub(super) fn tell_failed(&mut self, message: String) {
        let epoch = self.state.epoch;
        self.tell(Some(Event::SyncFailed { epoch, fault: Fault::Passing, message }));
    }
}
