//! The push stream of a session, held open while the session lives (protocol section 6.6).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sorcha_register::session_name::session_name;
use sorcha_runtime::supervise::Supervisor;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

use super::{
    LiveSession,
    faults::{Meaning, meaning, retry_after},
    pull::PullError,
    push::{self, Arrival, Push},
    replicate::{Failed, Ways},
    told::told,
};
use crate::{
    machine::event::{Event, Fault},
    status::{PushEvent, ReplicationEvent, StatusEvent},
};

/// The pause before a stream that keeps stalling is opened again is doubled up to this many times.
const MOST_DOUBLINGS: u32 = 6;

/// How often a peer has left central nodes because none of them answered when the push stream was to be opened: each is tried
/// once, and then the peer stays where it is.
#[derive(Debug, Default)]
pub(crate) struct PushesStalled(AtomicU32);

impl PushesStalled {
    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether one of so many central nodes is still to be tried.
    fn try_another(&self, central_nodes: usize) -> bool {
        let others = u32::try_from(central_nodes.saturating_sub(1)).unwrap_or(u32::MAX);
        let left = |moves: u32| (moves < others).then_some(moves + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

/// Holds the push stream open until the session ends. A session that is over is noticed here first: the stream breaks.
pub(super) async fn run(session: LiveSession, ways: Arc<Ways>) {
    let mut supervisor = Supervisor::new("push", &session.node.env);
    let wanted = session.node.config.sync.push;
    let mut pushing =
        Pushing { session, ways, open_at: wanted.then(Instant::now), stalls: 0, has_failed: false };
    loop {
        let why = supervisor.watch(pushing.work()).await;
        pushing.died(&why).await;
        supervisor.pause().await;
    }
}

struct Pushing {
    session: LiveSession,
    ways: Arc<Ways>,
    /// When the stream is to be opened; `None`: when a user asks.
    open_at: Option<Instant>,
    /// Times in a row that the central node did not answer.
    stalls: u32,
    /// What was pushed last could not be taken.
    has_failed: bool,
}

impl Pushing {
    async fn work(&mut self) {
        loop {
            tokio::select! {
                () = due(self.open_at) => {}
                () = self.ways.subscribe_asked() => {}
            }
            self.ways.may_push().await;
            match push::open(&self.session).await {
                Ok(push) => self.follow(push).await,
                Err(status) => self.closed(&status).await,
            }
        }
    }

    async fn died(&mut self, why: &str) {
        let why = format!("the push stream's task died: {why}");
        self.note(PushEvent::Died(why.clone()));
        self.open_at = self.open_at.map(|_| Instant::now());
        self.ways.pull_within(Duration::ZERO);
        let epoch = self.session.epoch;
        self.session.tell(Event::SyncFailed { epoch, fault: Fault::Passing, message: why }).await;
    }

    /// Takes what an open stream brings, until it closes.
    async fn follow(&mut self, mut push: Push) {
        self.opened(&push);
        let mut stuck = None;
        loop {
            let first = match push.next().await {
                Ok(first) => first,
                Err(status) => return self.closed(&status).await,
            };
            self.ways.let_replace(&self.session, &mut stuck).await;
            match push.take(&self.session, first).await {
                Ok(Arrival::Stored) if self.has_failed => {
                    self.has_failed = false;
                    self.note(PushEvent::Recovered);
                }
                Ok(Arrival::Stored) => {}
                Ok(Arrival::PullNow) => self.ways.pull_within(Duration::ZERO),
                Ok(Arrival::Ended) => return self.closed(&Status::ok("the stream ended")).await,
                // What can't be stored now is fetched again by the pull.
                Err(error) => return self.failed(&error).await,
            }
        }
    }

    fn opened(&mut self, push: &Push) {
        let node = &self.session.node;
        self.stalls = 0;
        node.pushes_stalled.reset();
        if matches!(push, Push::Entries { .. }) && self.ways.push_resumes(&self.session) {
            // The stream starts at the version held: the next pull is the periodic one.
            self.ways.put_off_pull();
        }
        self.note(PushEvent::Opened(node.env.clock.now()));
    }

    async fn failed(&mut self, error: &PullError) {
        self.has_failed = true;
        self.note(PushEvent::Failed(error.to_string()));
        self.open_again();
        match self.ways.failed(&self.session, error) {
            Failed::Over(event) => self.session.tell(event).await,
            Failed::Retry { wait, event, is_trouble } => {
                tracing::warn!(
                    central_node_id = self.session.central, session_id = session_name(&self.session.id), %error,
                    pull_in_ms = wait.as_millis(), "what was pushed can't be taken"
                );
                if is_trouble {
                    self.session.note(ReplicationEvent::Fails(error.to_string()));
                }
                self.ways.pull_within(wait);
                if let Some(event) = event {
                    self.session.tell(event).await;
                }
            }
        }
    }

    /// The stream is closed or was refused: what that means, and when to open it again.
    async fn closed(&mut self, status: &Status) {
        let epoch = self.session.epoch;
        self.open_again();
        self.note(PushEvent::Closed);
        match (status.code(), meaning(status)) {
            (Code::Ok, _) => {}
            (Code::Unimplemented, _) => {
                tracing::info!(
                    central_node_id = self.session.central,
                    "the central node offers no push; pulls bring what is new"
                );
                self.open_at = None;
                self.ways.pull_within(Duration::ZERO);
                return;
            }
            (Code::DeadlineExceeded, _) => return self.stalled(&told(status.message())).await,
            (_, Meaning::Lost(loss)) => {
                return self.session.tell(Event::ConnectionLost { epoch, loss }).await;
            }
            (_, Meaning::Rejected) => return self.session.tell(Event::SessionRejected { epoch }).await,
            (code, Meaning::Call(_)) => {
                tracing::warn!(
                    central_node_id = self.session.central,
                    ?code,
                    reason = told(status.message()),
                    "push stream closed"
                );
            }
        }
        // What was published meanwhile is pulled, now if a hint does not say later.
        self.ways.pull_within(retry_after(status).unwrap_or_default());
    }

    /// The central node does not answer. Pulls go on; where another one may be better, it is tried, once.
    async fn stalled(&mut self, why: &str) {
        let node = &self.session.node;
        self.stalls = self.stalls.saturating_add(1);
        node.env.metrics.stalled("push");
        self.note(PushEvent::Stalled(why.to_owned()));
        let pause = node.config.sync.resubscribe_after.saturating_mul(1 << self.stalls.min(MOST_DOUBLINGS));
        tracing::warn!(
            central_node_id = self.session.central,
            stalls = self.stalls,
            reason = why,
            retry_in_ms = pause.as_millis(),
            "push stream not opened; pulls bring what is new"
        );
        self.open_at = Some(Instant::now() + pause);
        self.ways.pull_within(Duration::ZERO);
        let most = node.config.sync.max_failures;
        let central_nodes = node.status.borrow().central_nodes.len();
        if self.stalls < most || !node.pushes_stalled.try_another(central_nodes) {
            return;
        }
        let epoch = self.session.epoch;
        // Pulls that succeed between the stalls don't make the stream work: all of them count now.
        for _ in 0..most {
            let message = why.to_owned();
            self.session.tell(Event::SyncFailed { epoch, fault: Fault::Passing, message }).await;
        }
    }

    fn note(&self, event: PushEvent) {
        self.session.node.note(StatusEvent::Push(event));
    }

    fn open_again(&mut self) {
        self.open_at = Some(Instant::now() + self.session.node.config.sync.resubscribe_after);
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
