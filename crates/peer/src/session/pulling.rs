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
    ways::{Ways, failure},
};
use crate::{
    machine::effect::SyncPlan,
    replication::{PullOutcome, SyncEvent},
    status::{PullEvent, StatusEvent, SyncRecord},
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
        (pulling.partial, pulling.news) = (Partial::default(), News::default());
        pulling.ways.on(SyncEvent::PullDied(format!("the pull died: {why}"))).await;
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
                () = self.ways.pull_due() => drop(self.pull(false).await),
            }
        }
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Resync if self.session.node.resync.pending().is_some() => drop(self.pull(false).await),
            Request::Resync => {}
            Request::Sync { plan, reply } => {
                let outcome = self.pull(plan == SyncPlan::Full).await;
                if let Some(reply) = reply {
                    drop(reply.send(outcome));
                }
            }
        }
    }

    /// One pull, with its record and what follows from it; of everything, if so asked for.
    async fn pull(&mut self, full: bool) -> Result<usize, String> {
        let begun = self.begin(full).await;
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
            Ok(Pulled::Diverged | Pulled::TooMuch | Pulled::Behind) => (0, None),
            Err(error) => (0, Some(error.to_string())),
        };
        spans::blueprints(&span, entries);
        self.record(&begun, elapsed, entries, error.clone());
        if let Some(token) = begun.asked.filter(|_| matches!(outcome, Ok(Pulled::Complete(_)))) {
            self.session.node.resynced(token).await;
        }
        self.ways.on(SyncEvent::PullEnded(self.outcome(&outcome))).await;
        error.map_or(Ok(entries), Err)
    }

    async fn begin(&self, full: bool) -> Begun {
        let node = &self.session.node;
        let asked = node.resync.pending();
        let damaged = !node.replica.findings().is_empty();
        self.ways.on(SyncEvent::PullBegins { full: full || asked.is_some(), damaged }).await;
        let begun = Begun {
            plan: self.ways.state().plan(),
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
        let pulled = match plan {
            SyncPlan::Full => pull::full(&self.session, &mut self.partial).await,
            SyncPlan::Resume => pull::incremental(&self.session, &mut self.news).await,
        };
        self.ways.on(SyncEvent::PullFetched).await;
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

    /// What a pull has come to.
    fn outcome(&self, pulled: &Result<Pulled, PullError>) -> PullOutcome {
        let central_node_id = self.session.central.as_str();
        match pulled {
            Ok(Pulled::Complete(_)) => PullOutcome::Complete,
            Ok(Pulled::Behind) => PullOutcome::Behind,
            Ok(Pulled::Diverged) => {
                tracing::error!(central_node_id, "replica diverged; comparing all of it");
                PullOutcome::Diverged
            }
            Ok(Pulled::TooMuch) => {
                tracing::info!(
                    central_node_id,
                    "what is newer does not fit into memory; fetching everything anew"
                );
                PullOutcome::Diverged
            }
            Ok(Pulled::Overtaken(_)) => {
                tracing::debug!(central_node_id, "what was pushed is newer than the pull");
                PullOutcome::Overtaken
            }
            Err(error) => {
                if matches!(error, PullError::Stalled(_)) {
                    self.session.node.env.metrics.stalled("pull");
                }
                PullOutcome::Failed(failure(&self.session, error))
            }
        }
    }
}
