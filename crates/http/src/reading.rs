//! What every read of the register states beside its answer: version, staleness, validator.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use sorcha_central::CentralNode;
use sorcha_config::MaxStaleness;
use sorcha_peer::{PeerNode, machine::state::PeerState};
use sorcha_register::{integrity::Finding, view::RegisterView};
use sorcha_store::Loaded;

use super::{
    NodeHandle,
    problem::{Kind, Problem},
};

/// Head version of the register that the answer was taken from.
pub(super) const VERSION: HeaderName = HeaderName::from_static("sorcha-register-version");
/// Seconds since the replica was last known to equal its central node's register; absent when it never was.
pub(super) const STALENESS: HeaderName = HeaderName::from_static("sorcha-replica-staleness");
/// State of the peer's connection.
pub(super) const PEER_STATE: HeaderName = HeaderName::from_static("sorcha-peer-state");

/// The register as this node holds it at the moment of a request.
pub(super) struct Register {
    /// Its content.
    pub(super) view: RegisterView,
    held: Held,
    /// Peer: how old it is.
    pub(super) freshness: Option<Freshness>,
    known_tags: Option<String>,
}

/// Who holds what the answer is taken from.
enum Held {
    Central(Arc<CentralNode>),
    Peer(Arc<Loaded>),
}

/// How old a replica is.
#[derive(Clone, Debug)]
pub(super) struct Freshness {
    /// State of the peer's connection.
    pub(super) state: PeerState,
    /// Age; `None` when it never equalled a central node's register, or a clock was wrong when it did, or is now.
    pub(super) age: Option<Duration>,
    limit: MaxStaleness,
}

impl Freshness {
    /// How old a peer's replica is now.
    pub(super) fn of(peer: &PeerNode, loaded: &Loaded) -> Self {
        let status = peer.status();
        // After a restart the checkpoint tells, until a central node is heard of.
        let stored = || loaded.checkpoint.as_ref().map(|checkpoint| checkpoint.last_sync_time);
        Self {
            state: status.state,
            age: status
                .staleness(peer.env.clock.monotonic())
                .or_else(|| stored().and_then(|at| peer.age_of(at))),
            limit: peer.config.http.max_staleness.clone(),
        }
    }

    fn is_stale(&self) -> bool {
        self.age.is_none_or(|age| age > self.limit.after)
    }

    fn refusal(&self) -> Option<Problem> {
        if !(self.limit.refuse_reads && self.is_stale()) {
            return None;
        }
        let age = self.age.map_or("was never synced, or its age is not known".to_owned(), |age| {
            format!("is {} s old", age.as_secs())
        });
        let (limit, state) = (self.limit.after.as_secs(), self.state);
        let detail = format!(
            "the replica {age} and http.max_staleness refuses reads after {limit} s; this peer is {state}: \
             /api/connection/status tells why"
        );
        Some(Problem::new(Kind::STALE, detail))
    }
}

impl Register {
    fn of(node: &NodeHandle, headers: &HeaderMap) -> Self {
        let known_tags =
            headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).map(str::to_owned);
        match node {
            NodeHandle::Central(node) => Self {
                view: RegisterView::clone(&node.log.view()),
                held: Held::Central(Arc::clone(node)),
                freshness: None,
                known_tags,
            },
            NodeHandle::Peer(node) => {
                let loaded = node.replica.state();
                Self {
                    view: loaded.view.clone(),
                    freshness: Some(Freshness::of(node, &loaded)),
                    held: Held::Peer(loaded),
                    known_tags,
                }
            }
        }
    }

    /// What of it failed its integrity check.
    pub(super) fn findings(&self) -> &[Finding] {
        match &self.held {
            Held::Central(node) => node.findings(),
            Held::Peer(loaded) => &loaded.findings,
        }
    }

    /// The answer under a strong validator; its body is not made when the caller has it already.
    pub(super) fn answer(
        &self,
        tag: &str,
        body: impl FnOnce() -> Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        let is_known = self.is_known(tag);
        let tag = format!("\"{tag}\"");
        let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { body()? };
        if let Ok(tag) = HeaderValue::try_from(tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        Ok(response)
    }

    /// Whether the caller has the answer under this validator already.
    pub(super) fn is_known(&self, tag: &str) -> bool {
        let tag = format!("\"{tag}\"");
        let matches = |known: &str| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag;
        self.known_tags.as_ref().is_some_and(|tags| tags.split(',').any(|known| matches(known.trim())))
    }

    /// Validator of what is computed from all entries held.
    pub(super) fn tag(&self) -> String {
        let seal = self.view.seal();
        format!("{}-{}-{}", seal.head, seal.count, seal.held)
    }

    fn state(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(VERSION, HeaderValue::from(self.view.head().get()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let Some(freshness) = &self.freshness else { return };
        headers.insert(PEER_STATE, HeaderValue::from_static(freshness.state.as_str()));
        if let Some(age) = freshness.age {
            headers.insert(STALENESS, HeaderValue::from(age.as_secs()));
        }
        if freshness.is_stale() {
            headers.insert(header::WARNING, HeaderValue::from_static("110 - \"Response is Stale\""));
        }
    }
}

/// Takes the snapshot that a read is answered from, refuses one that is too old, and states its headers.
pub(super) async fn stated(State(node): State<NodeHandle>, mut request: Request, next: Next) -> Response {
    let register = Arc::new(Register::of(&node, request.headers()));
    let mut response = match register.freshness.as_ref().and_then(Freshness::refusal) {
        Some(problem) => problem.into_response(),
        None => {
            request.extensions_mut().insert(Arc::clone(&register));
            next.run(request).await
        }
    };
    register.state(&mut response);
    response
}
