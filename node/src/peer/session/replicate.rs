//! The replication loop of a session: the one task that writes the replica. It syncs, holds the push stream open,
//! pulls on its timer, and does what it is asked to (contract sections 6.1, 6.5, 6.6).

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tonic::{Code, Status};
use tracing::Instrument as _;

use super::{
    Session,
    faults::{Meaning, fault, meaning, retry_after},
    pull::{self, News, Partial, PullError, Pulled},
    push::{self, Arrival, First, Push},
    refusal,
};
use crate::{
    peer::{
        machine::{
            effect::SyncPlan,
            event::{Event, Fault},
        },
        status::SyncRecord,
    },
    session_name::session_name,
    telemetry::{metrics::SyncType, spans},
};

/// Log progress of long syncs, and the first wait after a failed one.
const RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(60);

/// What the replication task is asked to do.
pub(in crate::peer) enum Request {
    /// Pull; a user waits for the answer, or the machine asked.
    Sync { plan: SyncPlan, reply: Option<oneshot::Sender<Result<usize, String>>> },
    /// Open the push stream now if it is closed.
    Subscribe,
    /// Do the full sync that is asked for, unless that has happened.
    Resync,
}

impl Request {
    /// Tells the user, if one waits, that it was not done.
    pub(in crate::peer) fn refuse(self, why: &str) {
        if let Self::Sync { reply: Some(reply), .. } = self {
            drop(reply.send(Err(why.to_owned())));
        }
    }
}

/// Runs until the session ends. A session that is over is noticed here first: the push stream breaks.
pub(super) async fn run(session: Session, plan: SyncPlan, mut requests: mpsc::Receiver<Request>) {
    let asked = session.node.resync.pending().is_some();
    let plan = if asked { SyncPlan::Full } else { plan };
    let mut task = Replication {
        partial: Partial::default(),
        news: News::default(),
        is_level: session.is_level,
        push: None,
        push_failed: false,
        failures: 0,
        pull_at: Instant::now(),
        plan,
        subscribe_at: session.node.config.sync.push.then(Instant::now),
        session,
    };
    // With everything held already the push stream alone brings what is newer; a pull would be a second round trip.
    if plan == SyncPlan::Resume && task.push_resumes() {
        task.subscribe().await;
    }
    loop {
        tokio::select! {
            biased;
            request = requests.recv() => match request {
                Some(request) => task.serve(request).await,
                None => return,
            },
            () = tokio::time::sleep_until(task.pull_at) => drop(task.pull().await),
            () = due(task.subscribe_at), if task.may_subscribe() => task.subscribe().await,
            first = next(&mut task.push) => task.arrived(first).await,
        }
    }
}

/// How long to wait after so many failures in a row.
fn retry_wait(failures: u32) -> Duration {
    RETRY.saturating_mul(1 << failures.min(6)).min(SLOWEST_RETRY)
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn next(push: &mut Option<Push>) -> Result<First, Status> {
    match push {
        Some(push) => push.next().await,
        None => std::future::pending().await,
    }
}

struct Replication {
    session: Session,
    /// The kind of the next pull.
    plan: SyncPlan,
    partial: Partial,
    news: News,
    /// The central node's register was seen to be the one that is held, or to continue it.
    is_level: bool,
    push: Option<Push>,
    /// What was pushed last could not be taken.
    push_failed: bool,
    failures: u32,
    pull_at: Instant,
    subscribe_at: Option<Instant>,
}

impl Replication {
    fn push_resumes(&self) -> bool {
        self.session.node.config.sync.push
            && !self.session.node.config.sync.force_full_on_startup
            && self.session.node.replica.findings().is_empty()
            && self.session.node.status.borrow().refused.is_none()
            && self.session.genesis.is_some()
            && self.is_level
    }

    /// What is pushed may be added to what is held: the central node has shown that it continues that. One of the original
    /// contract can't show it.
    fn may_subscribe(&self) -> bool {
        self.push.is_none() && (self.session.genesis.is_none() || self.is_level)
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Subscribe if self.may_subscribe() => self.subscribe().await,
            Request::Subscribe => {}
            Request::Resync if self.session.node.resync.pending().is_some() => drop(self.pull().await),
            Request::Resync => {}
            Request::Sync { plan, reply } => {
                if plan == SyncPlan::Full {
                    self.plan = SyncPlan::Full;
                }
                let outcome = self.pull().await;
                if let Some(reply) = reply {
                    drop(reply.send(outcome));
                }
            }
        }
    }

    /// One pull, with its record, its event and the time of the next.
    async fn pull(&mut self) -> Result<usize, String> {
        let node = std::sync::Arc::clone(&self.session.node);
        let asked = node.resync.pending();
        if asked.is_some() {
            self.plan = SyncPlan::Full;
        }
        let (clock, from) = (&node.env.clock, node.replica.head());
        let (started, since) = (clock.now(), clock.monotonic());
        let sync_type = if self.plan == SyncPlan::Full { SyncType::Full } else { SyncType::Incremental };
        node.status.send_modify(|status| status.syncing = true);
        tracing::debug!(
            central_node_id = self.session.central,
            session_id = session_name(&self.session.id),
            sync_type = sync_type.as_str(),
            from = from.get(),
            "sync started"
        );
        let span = match self.plan {
            SyncPlan::Full => spans::full_sync(&node.id, &self.session.central),
            SyncPlan::Resume => spans::incremental_sync(&node.id, &self.session.central, from),
        };
        let outcome = async {
            match self.plan {
                SyncPlan::Full => pull::full(&self.session, &mut self.partial).await.map(Pulled::Complete),
                SyncPlan::Resume => pull::incremental(&self.session, &mut self.news).await,
            }
        };
        let outcome = outcome.instrument(span.clone()).await;
        let elapsed = clock.monotonic().since(since);
        spans::finish(&span, elapsed, &outcome);
        let (entries, error) = match &outcome {
            Ok(Pulled::Complete(entries)) => (*entries, None),
            Ok(Pulled::Diverged | Pulled::Behind) => (0, None),
            Err(error) => (0, Some(error.to_string())),
        };
        spans::blueprints(&span, entries);
        let to = node.replica.head();
        node.status.send_modify(|status| {
            status.syncing = false;
            let id = status.syncs.front().map_or(1, |newest| newest.id + 1);
            let ended = clock.now();
            status.push_sync(SyncRecord {
                id,
                sync_type,
                started,
                ended,
                entries,
                from,
                to,
                error: error.clone(),
            });
        });
        match error {
            None => {
                node.env.metrics.sync_done(sync_type, entries, elapsed);
                tracing::info!(
                    central_node_id = self.session.central,
                    session_id = session_name(&self.session.id),
                    sync_type = sync_type.as_str(),
                    duration_ms = elapsed.as_millis(),
                    entries,
                    from = from.get(),
                    to = to.get(),
                    "sync done"
                );
            }
            Some(_) => node.env.metrics.sync_failed(sync_type),
        }
        if let Some(token) = asked.filter(|_| error.is_none()) {
            node.resynced(token).await;
        }
        self.pulled(outcome).await;
        error.map_or(Ok(entries), Err)
    }

    async fn pulled(&mut self, outcome: Result<Pulled, PullError>) {
        let epoch = self.session.epoch;
        match outcome {
            Ok(Pulled::Complete(_)) => {
                refusal::settle(&self.session.node, &self.session.central);
                self.plan = SyncPlan::Resume;
                self.failures = 0;
                self.is_level = true;
                self.pull_at = Instant::now() + self.session.node.config.sync.interval;
                self.session.tell(Event::SyncSucceeded { epoch }).await;
            }
            Ok(Pulled::Behind) => {
                // Its tail may be late. If it has lost versions, heartbeats tell; what it gives instead is not pushed here.
                self.is_level = false;
                self.failures += 1;
                self.pull_at = Instant::now() + retry_wait(self.failures);
            }
            Ok(Pulled::Diverged) => {
                tracing::error!(
                    central_node_id = self.session.central,
                    "replica diverged; comparing all of it"
                );
                self.plan = SyncPlan::Full;
                self.pull_at = Instant::now();
            }
            Err(error) => self.failed(&error).await,
        }
    }

    async fn failed(&mut self, error: &PullError) {
        let epoch = self.session.epoch;
        if let PullError::Refused(contradiction) = error {
            refusal::tell(&self.session.node, &self.session.central, contradiction);
            // The session is over: the machine looks elsewhere, and comes back here later.
            self.pull_at = Instant::now() + SLOWEST_RETRY;
            (self.push, self.subscribe_at) = (None, None);
            let (fault, message) = (Fault::Refused, error.to_string());
            return self.session.tell(Event::SyncFailed { epoch, fault, message }).await;
        }
        self.failures += 1;
        let mut wait = retry_wait(self.failures);
        let mut found = Fault::Passing;
        if let PullError::Call(status) = error {
            match meaning(status) {
                Meaning::Lost(loss) => return self.session.tell(Event::ConnectionLost { epoch, loss }).await,
                Meaning::Rejected => return self.session.tell(Event::SessionRejected { epoch }).await,
                Meaning::Call(_) => found = fault(status.code()),
            }
            wait = retry_after(status)
                .map_or(wait, |hint| hint + wait.mul_f64(self.session.node.env.random.unit()));
        }
        self.pull_at = Instant::now() + wait;
        tracing::warn!(
            central_node_id = self.session.central, session_id = session_name(&self.session.id), %error,
            retry_in_ms = wait.as_millis(), "sync failed"
        );
        // A refusal for rate is no failure of the central node: the hint says when to come back. Nor is a full disk here:
        // no other central node would help.
        let is_its_failure = match error {
            PullError::Call(status) => status.code() != Code::ResourceExhausted,
            PullError::Store(_) => false,
            PullError::Entry(_) | PullError::Refused(_) => true,
        };
        if is_its_failure {
            self.session.tell(Event::SyncFailed { epoch, fault: found, message: error.to_string() }).await;
        }
    }

    async fn subscribe(&mut self) {
        match push::open(&self.session).await {
            Ok(push) => {
                let resumes = matches!(push, Push::Entries { .. })
                    && self.plan == SyncPlan::Resume
                    && self.push_resumes();
                self.push = Some(push);
                if resumes {
                    // The stream starts at the version held: the next pull is the periodic one.
                    self.pull_at = self.pull_at.max(Instant::now() + self.session.node.config.sync.interval);
                }
                let now = self.session.node.env.clock.now();
                self.session.node.status.send_modify(|status| status.subscribed_at = Some(now));
            }
            Err(status) => self.unsubscribed(&status).await,
        }
    }

    async fn arrived(&mut self, first: Result<First, Status>) {
        let Some(push) = &mut self.push else { return };
        let arrival = match first {
            Ok(first) => push.take(&self.session, first).await,
            Err(status) => return self.unsubscribed(&status).await,
        };
        match arrival {
            Ok(Arrival::Stored) if self.push_failed => {
                self.push_failed = false;
                self.session.node.status.send_modify(|status| status.last_sync_error = None);
            }
            Ok(Arrival::Stored) => {}
            Ok(Arrival::PullNow) => drop(self.pull().await),
            Ok(Arrival::Ended) => self.unsubscribed(&Status::ok("the stream ended")).await,
            Err(error) => {
                // What can't be stored now is fetched again by the pull.
                (self.push, self.push_failed) = (None, true);
                self.session
                    .node
                    .status
                    .send_modify(|status| status.last_sync_error = Some(error.to_string()));
                self.resubscribe();
                self.failed(&error).await;
            }
        }
    }

    /// The push stream is closed or was refused: what that means, and when to open it again.
    async fn unsubscribed(&mut self, status: &Status) {
        let epoch = self.session.epoch;
        self.push = None;
        self.session.node.status.send_modify(|status| status.subscribed_at = None);
        match (status.code(), meaning(status)) {
            (Code::Ok, _) => {}
            (Code::Unimplemented, _) => {
                tracing::info!(
                    central_node_id = self.session.central,
                    "the central node offers no push; pulls bring what is new"
                );
                self.subscribe_at = None;
                return;
            }
            (_, Meaning::Lost(loss)) => {
                return self.session.tell(Event::ConnectionLost { epoch, loss }).await;
            }
            (_, Meaning::Rejected) => return self.session.tell(Event::SessionRejected { epoch }).await,
            (code, Meaning::Call(_)) => {
                tracing::warn!(
                    central_node_id = self.session.central,
                    ?code,
                    reason = status.message(),
                    "push stream closed"
                );
            }
        }
        self.resubscribe();
        // What was published meanwhile is pulled, now if a hint does not say later.
        self.pull_at = self.pull_at.min(Instant::now() + retry_after(status).unwrap_or_default());
    }

    fn resubscribe(&mut self) {
        self.subscribe_at = Some(Instant::now() + self.session.node.config.sync.resubscribe_after);
    }
}
