//! Routers of both roles over registers in memory, and requests at them, for tests of this crate and of those above it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "what is wrong in a test may panic"
)]

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use serde_json::Value;
use sorcha_central::{CentralNode, log::RegisterLog};
use sorcha_config::Config;
use sorcha_peer::{
    PeerNode,
    dial::PlainText,
    replica::{Provenance, Replica},
};
use sorcha_register::{
    clock::Timestamp,
    integrity::Finding,
    names::{PeerId, Version},
    testing::{entry, genesis},
    view::RegisterView,
};
use sorcha_runtime::{
    clock::VirtualClock,
    env::{Env, Random},
    metrics::Metrics,
};
use sorcha_store::{
    Store as _,
    journal::{JournalStore, Options},
};
use tower::ServiceExt as _;

use crate::{Auth, NodeHandle, auth::Reviewer, problem, router};

/// The instant at which each test begins.
pub const START: Timestamp = Timestamp::from_millis(1_763_800_200_000);
#[cfg(test)]
pub(crate) const START_TEXT: &str = "2025-11-22T08:30:00.000Z";

pub fn env() -> Env {
    Env {
        clock: Arc::new(VirtualClock::new(START, 0)),
        random: Random::seeded(1),
        metrics: Metrics::disabled(),
        tls: None,
        tasks: sorcha_runtime::supervise::Tasks::default(),
    }
}

pub fn store() -> JournalStore {
    JournalStore::in_memory(Options { inline: true, ..Options::default() }).unwrap()
}

pub fn config(id: &str, change: impl FnOnce(&mut Config)) -> Arc<Config> {
    let mut config = Config::default();
    config.node.id = id.to_owned();
    config.node.hostname = id.to_owned();
    config.http.insecure_writes = true;
    change(&mut config);
    Arc::new(config)
}

/// A central node with an initialised, empty register, its tail running.
pub async fn central(change: impl FnOnce(&mut Config)) -> (Router, Arc<CentralNode>) {
    let store = store();
    store.init_genesis(genesis(1)).await.unwrap();
    central_over(Arc::new(store), Vec::new(), change).await
}

/// The same, with somebody to ask about tokens.
pub async fn central_reviewed(
    reviewer: Arc<dyn Reviewer>,
    change: impl FnOnce(&mut Config),
) -> (Router, Arc<CentralNode>) {
    let (_, node) = central(change).await;
    let auth = Auth::new(&node.config.http, Arc::clone(&node.env.clock), Some(reviewer)).unwrap();
    (router(NodeHandle::Central(Arc::clone(&node)), auth, prometheus::Registry::new()), node)
}

pub(crate) async fn central_over(
    store: Arc<dyn sorcha_store::Store>,
    findings: Vec<Finding>,
    change: impl FnOnce(&mut Config),
) -> (Router, Arc<CentralNode>) {
    let config = config("n0.sorcha.dev", change);
    let view = store.load().await.unwrap().view;
    let node = CentralNode::new(Arc::clone(&config), env(), RegisterLog::new(store, view), findings);
    let tailing = Arc::clone(&node);
    tokio::spawn(async move { tailing.log.tail().await });
    let auth = Auth::new(&config.http, Arc::clone(&node.env.clock), None).unwrap();
    (router(NodeHandle::Central(Arc::clone(&node)), auth, prometheus::Registry::new()), node)
}

/// A peer that has never synced.
pub(crate) async fn empty_peer(change: impl FnOnce(&mut Config)) -> (Router, Arc<PeerNode>) {
    let config = config("edge-0", change);
    let replica = Replica::load(Arc::new(store())).await.unwrap();
    let id = PeerId::new("edge-0").unwrap();
    let node = PeerNode::new(Arc::clone(&config), env(), id, replica, Arc::new(PlainText));
    let auth = Auth::new(&config.http, Arc::clone(&node.env.clock), None).unwrap();
    (router(NodeHandle::Peer(Arc::clone(&node)), auth, prometheus::Registry::new()), node)
}

/// A peer that synced blueprints `a`, `b` (deprecated) and `c`, at versions 1, 3 and 4.
pub async fn peer(change: impl FnOnce(&mut Config)) -> (Router, Arc<PeerNode>) {
    let (router, node) = empty_peer(change).await;
    let mut deprecated = entry("b", 3);
    deprecated.is_active = false;
    let entries = vec![entry("a", 1).seal(), deprecated.seal(), entry("c", 4).seal()];
    let view = RegisterView::with_entries(Some(Arc::new(genesis(1))), entries, Version::ZERO);
    node.replica.replace(view, &provenance(START)).await.unwrap();
    (router, node)
}

pub(crate) fn provenance(at: Timestamp) -> Provenance {
    let next_due = at.plus(std::time::Duration::from_secs(300));
    Provenance { central_node_id: "n0.sorcha.dev".into(), at, next_due }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        assert_eq!(self.header(header::CONTENT_TYPE.as_str()), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem document of this status and kind; gives its detail.
    #[track_caller]
    pub fn problem(&self, status: u16, slug: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), problem::MEDIA_TYPE);
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["type"], format!("https://sorcha.dev/problems/{slug}"));
        assert_eq!(document["status"], status);
        assert!(document["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert!(document["instance"].as_str().is_some_and(|path| path.starts_with('/')));
        document["detail"].as_str().unwrap().to_owned()
    }
}

pub async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Reply { status: parts.status, headers: parts.headers, body }
}

pub async fn get(router: &Router, path: &str) -> Reply {
    get_with(router, path, &[]).await
}

pub async fn get_with(router: &Router, path: &str, headers: &[(&str, &str)]) -> Reply {
    call(router, Method::GET, path, headers, Body::empty()).await
}

pub async fn post(router: &Router, path: &str, body: impl Into<Body>) -> Reply {
    call(router, Method::POST, path, &[("content-type", "application/json")], body.into()).await
}

pub async fn call(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(body).unwrap()).await
}

/// A publication of a small document.
pub fn publication(id: &str) -> String {
    format!(
        r#"{{"blueprintId":"{id}","blueprint":{{"name":"Blueprint {id}","id":"{id}"}},"metadata":{{"category":"test"}}}}"#
    )
}
