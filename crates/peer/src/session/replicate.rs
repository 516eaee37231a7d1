//! The two ways of replicating, [`pulling`](super::pulling) and [`pushing`](super::pushing), and what they share. Each is a
//! task of its own (protocol sections 6.1, 6.5, 6.6): a central node that lets one of them wait does not keep the other from
//! working.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sorcha_register::names::Version;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::Code;

use super::{
    LiveSession,
    faults::{Meaning, fault, meaning, retry_after},
    pull::PullError,
    refusal,
};
use crate::machine::{
    effect::SyncPlan,
    event::{Event, Fault},
};

/// Pause after the first failed sync, and the longest one.
const RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(60);
/// A push stream that is open by then makes the first pull needless, where everything is held already.
const HEAD_START: Duration = Duration::from_secs(5);
/// A pull of which nothing has arrived for this long is not waited for by what is pushed.
const GETS_ON: Duration = Duration::from_secs(1);
/// While a pull is under way the next one is this far away, unless it is asked for.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What pulls and pushes of a session share.
pub(super) struct Ways {
    /// The kind of the next pull.
    plan: Mutex<SyncPlan>,
    pull_at: watch::Sender<Instant>,
    /// The periodic pull takes place by then, whatever push streams bring.
    pull_by: Mutex<Instant>,
    interval: Duration,
    /// Syncs that failed in a row, on either way.
    failures: AtomicU32,
    was_pulled: watch::Sender<bool>,
    /// What is pushed may be added to what is held: there is nothing, or the central node has shown that it continues it. One
    /// of the original contract can't show it.
    is_level: watch::Sender<bool>,
    subscribe: Notify,
    /// A pull that puts a replica of its own in the old one's place is under way.
    replacing: watch::Sender<bool>,
}

impl Ways {
    pub(super) fn new(session: &LiveSession, plan: SyncPlan) -> Arc<Self> {
        let node = &session.node;
        let plan = if node.resync.pending().is_some() { SyncPlan::Full } else { plan };
        let holds_nothing = node.replica.head() == Version::ZERO;
        let is_level = session.is_level || session.genesis.is_none() || holds_nothing;
        let waits = plan == SyncPlan::Resume && session.is_level && push_resumes(session);
        let head_start = if waits { HEAD_START } else { Duration::ZERO };
        Arc::new(Self {
            was_pulled: watch::Sender::new(waits),
            is_level: watch::Sender::new(is_level),
            ..Self::starting(plan, node.config.sync.interval, head_start)
        })
    }

    /// Before anything was pulled: the first pull is due `first_in` from now.
    fn starting(plan: SyncPlan, interval: Duration, first_in: Duration) -> Self {
        Self {
            plan: Mutex::new(plan),
            pull_at: watch::Sender::new(Instant::now() + first_in),
            pull_by: Mutex::new(Instant::now() + interval),
            interval,
            failures: AtomicU32::new(0),
            was_pulled: watch::Sender::new(false),
            is_level: watch::Sender::new(false),
            subscribe: Notify::new(),
            replacing: watch::Sender::new(false),
        }
    }

    pub(super) fn plan(&self) -> SyncPlan {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_plan(&self, plan: SyncPlan) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// Waits until a pull is due.
    pub(super) async fn pull_due(&self) {
        let mut pull_at = self.pull_at.subscribe();
        loop {
            let at = *pull_at.borrow_and_update();
            tokio::select! {
                () = sleep_until(at) => return,
                // The sender lives as long as `self`.
                _ = pull_at.changed() => {}
            }
        }
    }

    /// A pull begins.
    pub(super) fn begin_pull(&self) {
        self.pull_at.send_replace(Instant::now() + FAR);
    }

    /// A pull has ended, well or not. What was asked for meanwhile stays due.
    pub(super) fn end_pull(&self, next_in: Duration) {
        *self.pull_by.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.interval;
        self.pull_within(next_in);
        self.was_pulled.send_replace(true);
    }

    /// Has a pull take place by then.
    pub(super) fn pull_within(&self, time: Duration) {
        self.pull_at.send_modify(|at| *at = (*at).min(Instant::now() + time));
    }

    /// Puts the next pull off until the periodic one: the push stream brings what it would.
    pub(super) fn put_off_pull(&self) {
        let by = *self.pull_by.lock().unwrap_or_else(PoisonError::into_inner);
        self.pull_at.send_modify(|at| *at = (*at).max(by));
    }

    /// Waits until the push stream may be opened: the first pull has ended, where one comes first, and what is pushed may be
    /// added to what is held.
    pub(super) async fn may_push(&self) {
        // The senders live as long as `self`.
        drop(self.was_pulled.subscribe().wait_for(|was| *was).await);
        drop(self.is_level.subscribe().wait_for(|is_level| *is_level).await);
    }

    /// Notes whether the central node has shown that it continues what is held.
    pub(super) fn set_level(&self, is_level: bool) {
        self.is_level.send_replace(is_level);
    }

    /// Whether an open push stream brings all that is newer, so that no pull is due before the periodic one.
    pub(super) fn push_resumes(&self, session: &LiveSession) -> bool {
        self.plan() == SyncPlan::Resume && *self.is_level.borrow() && push_resumes(session)
    }

    /// Has the push stream opened now if it is closed.
    pub(super) fn subscribe(&self) {
        self.subscribe.notify_one();
    }

    pub(super) async fn subscribe_asked(&self) {
        self.subscribe.notified().await;
    }

    /// Begins or ends a pull that replaces the replica.
    pub(super) fn set_replacing(&self, replacing: bool) {
        self.replacing.send_replace(replacing);
    }

    /// Lets a pull that replaces the replica come to its end before anything is pushed into the old one, as long as it gets
    /// on: what is pushed meanwhile would have to be fetched again. `stuck` remembers where it did not get on.
    pub(super) async fn let_replace(&self, session: &LiveSession, stuck: &mut Option<u64>) {
        if !*self.replacing.borrow() {
            return;
        }
        let mut replacing = self.replacing.subscribe();
        loop {
            let before = session.received.bytes();
            if *stuck == Some(before)
                || timeout(GETS_ON, replacing.wait_for(|replacing| !replacing)).await.is_ok()
            {
                return;
            }
            *stuck = (session.received.bytes() == before).then_some(before);
        }
    }

    pub(super) fn works(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Notes a failure; how many there are in a row, and how long to wait.
    pub(super) fn count_failure(&self) -> (u32, Duration) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        (failures, RETRY.saturating_mul(1 << failures.min(6)).min(SLOWEST_RETRY))
    }

    /// Notes a failure; what is to be done about it.
    pub(super) fn failed(&self, session: &LiveSession, error: &PullError) -> Failed {
        if let PullError::Refused(contradiction) = error {
            self.set_level(false);
            refusal::tell(&session.node, &session.central, contradiction);
            // The session is over: the machine looks elsewhere, and comes back here later.
            let (epoch, message) = (session.epoch, error.to_string());
            return Failed::Over(Event::SyncFailed { epoch, fault: Fault::Refused, message });
        }
        let (failures, wait) = self.count_failure();
        Failed::new(session, error, wait, failures)
    }
}

/// Whether the push stream alone brings what is newer to a replica that is level: a pull would be a second round trip.
/// What failed before is tried at once, so that it is known to work again.
fn push_resumes(session: &LiveSession) -> bool {
    let (config, replica) = (&session.node.config.sync, &session.node.replica);
    let status = session.node.status.borrow();
    config.push
        && !config.force_full_on_startup
        && replica.findings().is_empty()
        && session.genesis.is_some()
        && !status.refuses(&session.central)
        && status.last_sync_error.is_none()
}

/// What follows from a failed sync.
pub(super) enum Failed {
    /// The session is over.
    Over(Event),
    /// Another try, after a while.
    Retry {
        /// After how long.
        wait: Duration,
        /// For the machine, where the central node is at fault.
        event: Option<Event>,
        /// Whether replication does not work, as far as can be told.
        is_trouble: bool,
    },
}

impl Failed {
    fn new(session: &LiveSession, error: &PullError, mut wait: Duration, failures: u32) -> Self {
        let epoch = session.epoch;
        let mut found = Fault::Passing;
        if let PullError::Call(status) = error {
            match meaning(status) {
                Meaning::Lost(loss) => return Self::Over(Event::ConnectionLost { epoch, loss }),
                Meaning::Rejected => return Self::Over(Event::SessionRejected { epoch }),
                Meaning::Call(_) => found = fault(status.code()),
            }
            wait =
                retry_after(status).map_or(wait, |hint| hint + wait.mul_f64(session.node.env.random.unit()));
        }
        // A refusal for rate is no failure of the central node: the hint says when to come back. Nor is a full disk here:
        // no other central node would help.
        let is_its_failure = match error {
            PullError::Call(status) => status.code() != Code::ResourceExhausted,
            PullError::Store(_) => false,
            PullError::Entry(_) | PullError::Refused(_) | PullError::Stalled(_) => true,
        };
        let event =
            is_its_failure.then(|| Event::SyncFailed { epoch, fault: found, message: error.to_string() });
        let is_trouble = failures > 1 || matches!(error, PullError::Stalled(_));
        Self::Retry { wait, event, is_trouble }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn push_streams_that_open_again_and_again_put_no_periodic_pull_off() {
        let ways = Ways::starting(SyncPlan::Resume, INTERVAL, Duration::ZERO);
        for _ in 0..3 {
            ways.pull_due().await;
            let before = Instant::now();
            ways.begin_pull();
            ways.end_pull(INTERVAL);
            let opens = async {
                loop {
                    tokio::time::sleep(Duration::from_secs(7)).await;
                    // It was closed, with a hint to pull later, and is open again.
                    ways.pull_within(Duration::from_secs(60));
                    ways.put_off_pull();
                }
            };
            tokio::select! {
                () = ways.pull_due() => {}
                () = opens => {}
            }
            assert_eq!(before.elapsed(), INTERVAL);
        }
    }
}
