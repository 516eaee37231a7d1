//! The audit log: one line for each publication, change of state and refusal on the write API, whoever asked.
//!
//! A line says who (by what it is known, from where), what (action, blueprint, checksum, size) and how it ended. Tokens
//! and documents are never in it. A caller that goes away before its answer has a line too.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{Extensions, request::Parts},
    middleware::Next,
    response::Response,
};
use sorcha_central::CentralNode;
use sorcha_runtime::{metrics::Metrics, source::Source, traces};
use sorcha_store::Publication;

use super::{auth::Writer, problem::Problem};

/// Target of the audit log: one line for each write over HTTP and each refusal of one.
pub const AUDIT: &str = "audit";
/// Longest text of a caller, and longest reason, in a line, characters.
const TEXT_CHARS: usize = 300;
/// How a request ended whose caller went away first: it may have been done all the same.
const UNANSWERED: &str = "unanswered";

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(super) struct Remote(pub(super) Arc<str>);

impl Remote {
    /// Whose limits it counts against.
    pub(super) fn source(&self) -> Source {
        Source::of(&self.0)
    }
}

/// What becomes known of a write as it is worked on.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    caller: Option<Writer>,
    blueprint_id: Option<String>,
    bytes: Option<u64>,
    checksum: Option<String>,
    version: Option<i64>,
    changed: Option<bool>,
}

impl Trail {
    /// That of a request; one that nobody reads where there is none.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks.
    pub(super) fn caller(&self, caller: Option<&Writer>) {
        self.facts().caller = caller.cloned();
    }

    /// What is asked about.
    pub(super) fn blueprint(&self, id: &str) {
        self.facts().blueprint_id = Some(short(id));
    }

    /// Size of the document, bytes as they came.
    pub(super) fn bytes(&self, bytes: usize) {
        self.facts().bytes = Some(bytes as u64);
    }

    /// What was stored, or was before.
    pub(super) fn stored(&self, publication: &Publication) {
        let (mut facts, entry) = (self.facts(), publication.entry.entry());
        facts.checksum = Some(entry.document.checksum().to_string());
        facts.version = Some(entry.version.get());
        facts.changed = Some(publication.changed);
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Trail {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// Writes the line of a request when it ends.
pub(super) async fn audited(
    State(node): State<Arc<CentralNode>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let action = path.and_then(|path| path.as_str().rsplit('/').next()).unwrap_or_default().to_owned();
    let trail = Trail::default();
    request.extensions_mut().insert(trail.clone());
    let remote = request.extensions().get::<Remote>().map(|remote| Arc::clone(&remote.0));
    let trace = traces::trace_id(request.headers());
    let mut line = Line { action, remote, trace, trail, metrics: node.env.metrics.clone(), answer: None };
    let response = next.run(request).await;
    let problem = response.extensions().get::<Problem>().cloned();
    line.answer = Some(Answer { status: response.status().as_u16(), problem });
    response
}

struct Answer {
    status: u16,
    problem: Option<Problem>,
}

/// A line that is written when it is dropped: a request whose caller goes away is dropped as well.
struct Line {
    action: String,
    remote: Option<Arc<str>>,
    trace: Option<String>,
    trail: Trail,
    metrics: Metrics,
    answer: Option<Answer>,
}

impl Line {
    fn result(&self, facts: &Facts) -> &'static str {
        match &self.answer {
            None => UNANSWERED,
            Some(Answer { problem: Some(problem), .. }) => problem.kind.slug,
            Some(Answer { status: 400.., .. }) => "refused",
            Some(_) if facts.changed == Some(false) => "unchanged",
            Some(_) => "done",
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let facts = self.trail.facts();
        let result = self.result(&facts);
        self.metrics.wrote(&self.action, result);
        let problem = self.answer.as_ref().and_then(|answer| answer.problem.as_ref());
        let reason = problem.map(|problem| short(&problem.detail));
        tracing::info!(
            target: AUDIT,
            action = self.action,
            result,
            status = self.answer.as_ref().map(|answer| answer.status),
            reason,
            who = facts.caller.as_ref().map(|caller| caller.name.as_str()),
            via = facts.caller.as_ref().map(|caller| caller.via.as_str()),
            remote = self.remote.as_deref(),
            blueprint_id = facts.blueprint_id.as_deref(),
            version = facts.version,
            checksum = facts.checksum.as_deref(),
            bytes = facts.bytes,
            trace = self.trace.as_deref(),
            "write over HTTP"
        );
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}
