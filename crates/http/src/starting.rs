//! HTTP from the first moment: what a node answers while it opens its store, and its whole API from then on, on the
//! same listener.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::from_fn,
    routing::get,
};
use tokio::sync::watch;
use tower::Service as _;

use super::{
    Auth, NodeHandle, health, metrics,
    problem::{self, Kind, Problem},
    router,
};

/// When a caller asks a starting node again.
const RETRY: Duration = Duration::from_secs(5);

/// How far a node is; its HTTP API and its reports follow it.
#[derive(Clone)]
pub enum Stage {
    /// It opens its store and checks its register.
    Opening {
        /// Why the store could not be opened yet, if it was tried.
        store_fault: Option<String>,
    },
    /// It can't start, and ends.
    Failed {
        /// Why.
        fault: String,
    },
    /// It serves its role.
    Started(NodeHandle),
}

impl Stage {
    /// What a node that has not started waits for.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        match self {
            Self::Opening { store_fault: None } => Some("opening the store".to_owned()),
            Self::Opening { store_fault: Some(why) } => Some(format!("waiting for the store: {why}")),
            Self::Failed { fault } => Some(format!("start failed: {fault}")),
            Self::Started(_) => None,
        }
    }
}

/// The API of a node at every stage. Before the start only the probes and the metrics have an answer of their own.
pub fn front(stage: watch::Receiver<Stage>, auth: Auth, metrics: prometheus::Registry) -> Router {
    let starting = starting(stage.clone(), metrics.clone());
    let started = Arc::new(OnceLock::new());
    let answer = move |request: Request| {
        let now = stage.borrow().clone();
        let mut router = match now {
            Stage::Started(node) => {
                let make = || router(node, auth.clone(), metrics.clone());
                Router::clone(started.get_or_init(make))
            }
            Stage::Opening { .. } | Stage::Failed { .. } => starting.clone(),
        };
        router.call(request)
    };
    Router::new().fallback(answer)
}

fn starting(stage: watch::Receiver<Stage>, metrics: prometheus::Registry) -> Router {
    Router::new()
        .fallback(not_started)
        .with_state(stage)
        .route("/livez", get(health::livez))
        .merge(Router::from(metrics::routes().with_state(metrics)))
        .layer(from_fn(problem::finish))
}

async fn not_started(State(stage): State<watch::Receiver<Stage>>) -> Problem {
    let waits_for = stage.borrow().waits_for();
    let detail = waits_for.unwrap_or_else(|| "the node has just started; ask again".to_owned());
    Problem::new(Kind::NOT_READY, detail).retry_after(RETRY)
}
