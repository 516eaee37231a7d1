//! The two ways of replicating, [`pulling`](super::pulling) and [`pushing`](super::pushing), and what they share: the state of
//! their [`replication`], and what a step wakes. Each is a task of its own (protocol sections 6.1, 6.5, 6.6): a central node
//! that lets one of them wait does not keep the other from working.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use sorcha_register::{clock::Monotonic, names::Version, session_name::session_name};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::Code;

use super::{
    LiveSession,
    faults::{Meaning, meaning, retry_after},
    pull::PullError,
    refusal,
};
use crate::{
    machine::{effect::SyncPlan, event::Fault},
    replication::{
        self, Beginning, Relation, Replication, RetryHint, SyncEffect, SyncEvent, SyncFailure, SyncFault,
        SyncPolicy,
    },
};

/// What pulls and pushes of a session share.
pub(super) struct Ways {
    session: LiveSession,
    policy: SyncPolicy,
    /// One instant on both clocks.
    origin: (Instant, Monotonic),
    state: Mutex<Replication>,
    pull_retimed: watch::Sender<()>,
    push_let: watch::Sender<()>,
    replaced: watch::Sender<()>,
    subscribe: Notify,
}

impl Ways {
    pub(super) fn new(session: &LiveSession, plan: SyncPlan) -> Arc<Self> {
        let (node, sync) = (&session.node, &session.node.config.sync);
        let policy = SyncPolicy {
            interval: sync.interval,
            push: sync.push,
            resubscribe_after: sync.resubscribe_after,
            max_failures: sync.max_failures,
        };
        let beginning = Beginning {
            epoch: session.epoch,
            plan: if node.resync.pending().is_some() { SyncPlan::Full } else { plan },
            relation: relation(session),
            sound: is_sound(session),
            moves: node.push_moves.load(Ordering::Relaxed),
        };
        let now = node.env.clock.monotonic();
        Arc::new(Self {
            session: session.clone(),
            origin: (Instant::now(), now),
            state: Mutex::new(Replication::begin(beginning, &policy, now)),
            policy,
            pull_retimed: watch::Sender::new(()),
            push_let: watch::Sender::new(()),
            replaced: watch::Sender::new(()),
            subscribe: Notify::new(),
        })
    }

    /// Takes in what happened on a way, and does what follows.
    pub(super) async fn on(&self, event: SyncEvent) {
        let mut effects = VecDeque::from(self.step(event));
        while let Some(effect) = effects.pop_front() {
            if let Some(event) = self.perform(effect).await {
                effects.extend(self.step(event));
            }
        }
    }

    fn step(&self, event: SyncEvent) -> Vec<SyncEffect> {
        let node = &self.session.node;
        let mut state = self.state();
        let (after, effects) = replication::step(*state, event, &self.policy, node.env.clock.moment());
        *state = after;
        node.push_moves.store(after.moves(), Ordering::Relaxed);
        effects
    }

    /// Does one thing; what came of it.
    async fn perform(&self, effect: SyncEffect) -> Option<SyncEvent> {
        let LiveSession { node, central, .. } = &self.session;
        match effect {
            SyncEffect::RetimePull => self.pull_retimed.send_replace(()),
            SyncEffect::LetPush => self.push_let.send_replace(()),
            SyncEffect::LetStore => self.replaced.send_replace(()),
            SyncEffect::Hold(time) => return self.hold(time).await,
            SyncEffect::Settle => refusal::settle(node, central),
            SyncEffect::Refuse(contradiction) => refusal::tell(node, central, &contradiction),
            SyncEffect::Show(event) => node.note(event),
            SyncEffect::PullAgain { wait, why } => self.log_pull_again(wait, &why),
            SyncEffect::PullInstead { wait, why } => self.log_pull_instead(wait, &why),
            SyncEffect::OpenAgain { stalls, pause, why } => self.log_open_again(stalls, pause, &why),
            SyncEffect::Tell(event) => self.session.tell(event).await,
        }
        None
    }

    /// Waits until nothing is replaced any more, or for so long.
    async fn hold(&self, time: Duration) -> Option<SyncEvent> {
        let mut replaced = self.replaced.subscribe();
        let replaced = replaced.wait_for(|()| !self.state().is_replacing());
        let held = timeout(time, replaced).await.is_err();
        held.then(|| SyncEvent::PushHeld { received: self.session.received.bytes() })
    }

    /// The state as it is now.
    pub(super) fn state(&self) -> MutexGuard<'_, Replication> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instant(&self, at: Monotonic) -> Instant {
        self.origin.0 + at.since(self.origin.1)
    }

    /// Waits until a pull is due.
    pub(super) async fn pull_due(&self) {
        let mut retimed = self.pull_retimed.subscribe();
        loop {
            let at = self.state().pull_at().map(|at| self.instant(at));
            tokio::select! {
                () = due(at) => return,
                // The sender lives as long as `self`.
                _ = retimed.changed() => {}
            }
        }
    }

    /// Waits until the push stream is to be opened, if it may be.
    pub(super) async fn push_due(&self) {
        let at = self.state().open_at().map(|at| self.instant(at));
        due(at).await;
    }

    /// Waits until the push stream may be opened.
    pub(super) async fn may_push(&self) {
        // The sender lives as long as `self`.
        drop(self.push_let.subscribe().wait_for(|()| self.state().may_push()).await);
    }

    /// Has the push stream opened now if it is closed.
    pub(super) fn subscribe(&self) {
        self.subscribe.notify_one();
    }

    pub(super) async fn subscribe_asked(&self) {
        self.subscribe.notified().await;
    }

    fn log_pull_again(&self, wait: Duration, why: &str) {
        tracing::warn!(
            central_node_id = self.session.central, session_id = session_name(&self.session.id), error = %why,
            retry_in_ms = wait.as_millis(), "sync failed"
        );
    }

    fn log_pull_instead(&self, wait: Duration, why: &str) {
        tracing::warn!(
            central_node_id = self.session.central, session_id = session_name(&self.session.id), error = %why,
            pull_in_ms = wait.as_millis(), "what was pushed can't be taken"
        );
    }

    fn log_open_again(&self, stalls: u32, pause: Duration, why: &str) {
        tracing::warn!(
            central_node_id = self.session.central,
            stalls,
            reason = why,
            retry_in_ms = pause.as_millis(),
            "push stream not opened; pulls bring what is new"
        );
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn relation(session: &LiveSession) -> Relation {
    if session.is_level {
        Relation::Level
    } else if session.genesis.is_none() || session.node.replica.head() == Version::ZERO {
        Relation::Open
    } else {
        Relation::Unproven
    }
}

/// Whether the push stream alone brings what is newer to a replica that is level: a pull would be a second round trip.
/// What failed before is tried at once, so that it is known to work again.
pub(super) fn is_sound(session: &LiveSession) -> bool {
    let (config, replica) = (&session.node.config.sync, &session.node.replica);
    let status = session.node.status.borrow();
    config.push
        && !config.force_full_on_startup
        && replica.findings().is_empty()
        && session.genesis.is_some()
        && !status.refuses(&session.central)
        && status.last_sync_error.is_none()
}

/// What a sync that failed says.
pub(super) fn failure(session: &LiveSession, error: &PullError) -> SyncFailure {
    let mut hint = None;
    let fault = match error {
        PullError::Refused(contradiction) => SyncFault::Refused(contradiction.clone()),
        PullError::Entry(_) => SyncFault::Central(Fault::Passing),
        PullError::Stalled(_) => SyncFault::Stalled,
        PullError::Store(_) => SyncFault::Blameless,
        PullError::Call(status) => match meaning(status) {
            Meaning::Lost(loss) => SyncFault::Lost(loss),
            Meaning::Rejected => SyncFault::Rejected,
            Meaning::Call(fault) => {
                let draw = || session.node.env.random.unit();
                hint = retry_after(status).map(|after| RetryHint { after, draw: draw() });
                let is_limit = status.code() == Code::ResourceExhausted;
                if is_limit { SyncFault::Blameless } else { SyncFault::Central(fault) }
            }
        },
    };
    SyncFailure { fault, message: error.to_string(), hint }
}
