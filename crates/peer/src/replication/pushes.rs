//! The push stream, held open while the session lives (protocol section 6.6).

use std::time::Duration;

use super::{Closing, SyncEffect, SyncFailure, SyncTurn, state::Patience};
use crate::{
    machine::{effect::SyncPlan, event::Event},
    status::{PushEvent, StatusEvent},
};

/// The pause before a stream that keeps stalling is opened again is doubled up to this many times.
const MOST_DOUBLINGS: u32 = 6;
/// A pull of which nothing has arrived for this long is not waited for by what is pushed.
const GETS_ON: Duration = Duration::from_secs(1);

impl SyncTurn<'_> {
    fn show_push(&mut self, event: PushEvent) {
        self.emit(SyncEffect::Show(StatusEvent::Push(event)));
    }

    /// A stream that resumes starts at the version held: the next pull is the periodic one.
    pub(super) fn push_opened(&mut self, sound: bool) {
        let push = &mut self.state.push;
        (push.stalls, push.moves, push.patience) = (0, 0, Patience::Fresh);
        if sound && self.state.plan == SyncPlan::Resume && self.state.is_level {
            self.put_off_pull();
        }
        self.show_push(PushEvent::Opened(self.now.wall));
    }

    /// Lets a pull that replaces the replica come to its end before anything is pushed into the old one, as long as it gets
    /// on: what is pushed meanwhile would have to be fetched again.
    pub(super) fn push_arrived(&mut self, received: u64) {
        if self.state.is_replacing && self.state.push.patience != Patience::Gone(received) {
            self.state.push.patience = Patience::Waiting(received);
            self.emit(SyncEffect::Hold(GETS_ON));
        }
    }

    pub(super) fn push_held(&mut self, received: u64) {
        if self.state.push.patience == Patience::Waiting(received) {
            self.state.push.patience = Patience::Gone(received);
        }
        self.push_arrived(received);
    }

    pub(super) fn push_stored(&mut self) {
        if std::mem::take(&mut self.state.push.has_failed) {
            self.show_push(PushEvent::Recovered);
        }
    }

    /// What can't be stored now is fetched again by the pull.
    pub(super) fn push_failed(&mut self, failure: SyncFailure) {
        self.state.push.has_failed = true;
        self.show_push(PushEvent::Failed(failure.message.clone()));
        self.open_after(self.policy.resubscribe_after);
        let (wait, event) = self.failed(failure, |wait, why| SyncEffect::PullInstead { wait, why });
        if let Some(wait) = wait {
            self.pull_within(wait);
        }
        self.tell(event);
    }

    pub(super) fn push_closed(&mut self, closing: Closing) {
        let epoch = self.state.epoch;
        self.open_after(self.policy.resubscribe_after);
        self.show_push(PushEvent::Closed);
        match closing {
            // What was published meanwhile is pulled, now if a hint does not say later.
            Closing::Ended { retry_after } => self.pull_within(retry_after.unwrap_or_default()),
            Closing::Unoffered => {
                self.state.push.open_at = None;
                self.pull_within(Duration::ZERO);
            }
            Closing::Stalled { why, central_nodes } => self.push_stalled(&why, central_nodes),
            Closing::Lost(loss) => self.tell(Some(Event::ConnectionLost { epoch, loss })),
            Closing::Rejected => self.tell(Some(Event::SessionRejected { epoch })),
        }
    }

    /// The central node does not answer. Pulls go on; where another one may be better, it is tried, once.
    fn push_stalled(&mut self, why: &str, central_nodes: usize) {
        self.show_push(PushEvent::Stalled(why.to_owned()));
        let stalls = self.state.push.stalls.saturating_add(1);
        self.state.push.stalls = stalls;
        let pause = self.policy.resubscribe_after.saturating_mul(1 << stalls.min(MOST_DOUBLINGS));
        self.emit(SyncEffect::OpenAgain { stalls, pause, why: why.to_owned() });
        self.open_after(pause);
        self.pull_within(Duration::ZERO);
        let others = u32::try_from(central_nodes.saturating_sub(1)).unwrap_or(u32::MAX);
        if stalls >= self.policy.max_failures && self.state.push.moves < others {
            self.state.push.moves += 1;
            // Pulls that succeed between the stalls don't make the stream work: all of them count now.
            (0..self.policy.max_failures).for_each(|_| self.tell_failed(why.to_owned()));
        }
    }

    pub(super) fn push_died(&mut self, why: String) {
        self.show_push(PushEvent::Died(why.clone()));
        self.state.push.open_at = self.state.push.open_at.map(|_| self.now.monotonic);
        self.pull_within(Duration::ZERO);
        self.tell_failed(why);
    }

    fn open_after(&mut self, pause: Duration) {
        self.state.push.open_at = Some(self.now.monotonic.plus(pause));
    }
}
