//! The pulls of a session: the first one, the periodic ones, and those that are asked for (protocol section 6.5).

use std::{sync::Arc, time::Duration};

use sorcha_register::{
    clock::{Monotonic, Timestamp},
    names::Version,
    session_name::session_name,
};
use sorcha_runtime::{metrics::SyncType, spans, supervise::Supervisor};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

use super::{
    LiveSession,
    pull::{self, News, Partial, PullError, Pulled},
    refusal,
    replicate::{Failed, Ways},
};
use crate::{
    machine::{
        effect::SyncPlan,
        event::{Event, Fault},
    },
    status::{PullEvent, ReplicationEvent, StatusEvent, SyncRecord},
};

/// What is asked for.
pub(crate) enum Request {
    /// Pull; a user waits for the answer, or the machine asked.
    Sync { plan: SyncPlan, reply: Option<oneshot::Sender<Result<usize, String>>> },
    /// Do the full sync that is asked for, unless that has happened.
    Resync,
}

impl Request {
    /// Tells the user, if one waits, that it was not done.
    pub(crate) fn refuse(self, why: &str) {
        if let Self::Sync { reply: Some(reply), .. } = self {
            drop(reply.send(Err(why.to_owned())));
        }
    }
}

/// Pulls until the session ends.
pub(super) async fn run(session: LiveSession, ways: Arc<Ways>, requests: mpsc::Receiver<Request>) {
    let mut supervisor = Supervisor::new("pull", &session.node.env);
    let mut pulling = Pulling { session, ways, requests, partial: Partial::default(), news: News::default() };
    loop {
        let why = supervisor.watch(pulling.work()).await;
        pulling.died(&why).await;
        supervisor.pause().await;
    }
}

struct Pulling {
    session: LiveSession,
    ways: Arc<Ways>,
    requests: mpsc::Receiver<Request>,
    partial: Partial,
    news: News,
}

/// A pull under way.
struct Begun {
    plan: SyncPlan,
    /// The token that asks for it.
    asked: Option<String>,
    from: Version,
    started: Timestamp,
    since: Monotonic,
}

impl Begun {
    const fn sync_type(&self) -> SyncType {
        match self.plan {
            SyncPlan::Full => SyncType::Full,
            SyncPlan::Resume => SyncType::Incremental,
        }
    }
}

impl Pulling {
    async fn work(&mut self) {
        loop {
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(request) => self.serve(request).await,
                    // The session is over; its tasks end with it.
                    None => std::future::pending().await,
                },
                () = self.ways.pull_due() => drop(self.pull().await),
            }
        }
    }

    /// Brings order into what a pull that did not end has left.
    async fn died(&mut self, why: &str) {
        (self.partial, self.news) = (Partial::default(), News::default());
        self.ways.set_replacing(false);
        let why = format!("the pull died: {why}");
        self.session.node.note(StatusEvent::Pull(PullEvent::Died(why.clone())));
        self.session.note(ReplicationEvent::Fails(why.clone()));
        self.ways.pull_within(Duration::ZERO);
        let epoch = self.session.epoch;
        self.session.tell(Event::SyncFailed { epoch, fault: Fault::Passing, message: why }).await;
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Resync if self.session.node.resync.pending().is_some() => drop(self.pull().await),
            Request::Resync => {}
            Request::Sync { plan, reply } => {
                if plan == SyncPlan::Full {
                    self.ways.set_plan(SyncPlan::Full);
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
        self.ways.begin_pull();
        let begun = self.begin();
        let span = match begun.plan {
            SyncPlan::Full => spans::full_sync(&self.session.node.id, &self.session.central),
            SyncPlan::Resume => {
                spans::incremental_sync(&self.session.node.id, &self.session.central, begun.from)
            }
        };
        let outcome = self.fetch(begun.plan).instrument(span.clone()).await;
        let elapsed = self.session.node.env.clock.monotonic().since(begun.since);
        spans::finish(&span, elapsed, &outcome);
        let (entries, error) = match &outcome {
            Ok(Pulled::Complete(entries) | Pulled::Overtaken(entries)) => (*entries, None),
            Ok(Pulled::Diverged | Pulled::Behind) => (0, None),
            Err(error) => (0, Some(error.to_string())),
        };
        spans::blueprints(&span, entries);
        self.record(&begun, elapsed, entries, error.clone());
        if let Some(token) = begun.asked.filter(|_| matches!(outcome, Ok(Pulled::Complete(_)))) {
            self.session.node.resynced(token).await;
        }
        self.pulled(outcome).await;
        error.map_or(Ok(entries), Err)
    }

    fn begin(&self) -> Begun {
        let node = &self.session.node;
        let asked = node.resync.pending();
        if asked.is_some() {
            self.ways.set_plan(SyncPlan::Full);
        }
        let begun = Begun {
            plan: self.ways.plan(),
            asked,
            from: node.replica.head(),
            started: node.env.clock.now(),
            since: node.env.clock.monotonic(),
        };
        node.note(StatusEvent::Pull(PullEvent::Began));
        tracing::debug!(
            central_node_id = self.session.central,
            session_id = session_name(&self.session.id),
            sync_type = begun.sync_type().as_str(),
            from = begun.from.get(),
            "sync started"
        );
        begun
    }

    async fn fetch(&mut self, plan: SyncPlan) -> Result<Pulled, PullError> {
        let replaces = plan == SyncPlan::Full || !self.session.node.replica.findings().is_empty();
        self.ways.set_replacing(replaces);
        let pulled = match plan {
            SyncPlan::Full => pull::full(&self.session, &mut self.partial).await,
            SyncPlan::Resume => pull::incremental(&self.session, &mut self.news).await,
        };
        self.ways.set_replacing(false);
        pulled
    }

    fn record(&self, begun: &Begun, elapsed: Duration, entries: usize, error: Option<String>) {
        let (node, sync_type) = (&self.session.node, begun.sync_type());
        let (from, to, is_good) = (begun.from, node.replica.head(), error.is_none());
        let (id, started, ended) = (0, begun.started, node.env.clock.now());
        let record = SyncRecord { id, sync_type, started, ended, entries, from, to, error };
        node.note(StatusEvent::Pull(PullEvent::Ended(record)));
        if !is_good {
            return node.env.metrics.sync_failed(sync_type);
        }
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

    async fn pulled(&mut self, outcome: Result<Pulled, PullError>) {
        let epoch = self.session.epoch;
        match outcome {
            Ok(Pulled::Complete(_)) => {
                refusal::settle(&self.session.node, &self.session.central);
                self.ways.set_level(true);
                self.ways.set_plan(SyncPlan::Resume);
                self.ways.works();
                self.session.note(ReplicationEvent::Works);
                self.ways.end_pull(self.session.node.config.sync.interval);
                self.session.tell(Event::SyncSucceeded { epoch }).await;
            }
            Ok(Pulled::Behind) => {
                // Its tail may be late. If it has lost versions, heartbeats tell; what it gives instead is not pushed here.
                self.ways.set_level(false);
                let (_, wait) = self.ways.count_failure();
                self.ways.end_pull(wait);
            }
            Ok(Pulled::Diverged) => {
                tracing::error!(
                    central_node_id = self.session.central,
                    "replica diverged; comparing all of it"
                );
                self.ways.set_plan(SyncPlan::Full);
                self.ways.end_pull(Duration::ZERO);
            }
            Ok(Pulled::Overtaken(_)) => {
                tracing::debug!(
                    central_node_id = self.session.central,
                    "what was pushed is newer than the pull"
                );
                self.ways.end_pull(Duration::ZERO);
            }
            Err(error) => self.failed(&error).await,
        }
    }

    async fn failed(&self, error: &PullError) {
        if matches!(error, PullError::Stalled(_)) {
            self.session.node.env.metrics.stalled("pull");
        }
        match self.ways.failed(&self.session, error) {
            Failed::Over(event) => {
                self.ways.end_pull(self.session.node.config.sync.interval);
                self.session.tell(event).await;
            }
            Failed::Retry { wait, event, is_trouble } => {
                tracing::warn!(
                    central_node_id = self.session.central, session_id = session_name(&self.session.id), %error,
                    retry_in_ms = wait.as_millis(), "sync failed"
                );
                if is_trouble {
                    self.session.note(ReplicationEvent::Fails(error.to_string()));
                }
                self.ways.end_pull(wait);
                if let Some(event) = event {
                    self.session.tell(event).await;
                }
            }
        }
    }
}
