//! Who may write (protocol D23): bearer tokens from a file, and Kubernetes identities that RBAC allows.
//! Reads need none.

mod answers;
mod review;
mod tokens;

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use sorcha_config::{ConfigError, Http};
use sorcha_register::clock::Clock;
use sorcha_runtime::{metrics::Metrics, source::Source};

pub use self::review::{Review, ReviewError, Reviewer, Verdict};
use self::{answers::Reviews, tokens::TokenFile};
use super::{
    audit::{Remote, Trail},
    problem::{Kind, Problem},
};

/// How Kubernetes begins the names of its own users; nobody else's begins so.
const KUBERNETES_PREFIX: &str = "system:";

/// Whether a publisher's name reads as that of a ServiceAccount, or of another of Kubernetes's own users.
fn is_of_kubernetes(name: &str) -> bool {
    let begins = name.trim_start().get(..KUBERNETES_PREFIX.len());
    begins.is_some_and(|begins| begins.eq_ignore_ascii_case(KUBERNETES_PREFIX))
}

/// Publisher's name for nobody in particular.
const ANONYMOUS: &str = "anonymous";
/// Why nobody may write.
const NO_TOKENS: &str = "no token is configured; set http.token_file, http.kubernetes.enabled, or http.insecure_writes = true for a trial";

/// Tells who may write. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Guard>);

struct Guard {
    file: Option<TokenFile>,
    reviews: Option<Reviews>,
    insecure_writes: bool,
}

impl Auth {
    /// Reads the token file, if one is configured; `reviewer` is asked about other tokens.
    ///
    /// # Errors
    /// [`ConfigError`] when the file can't be read, or a line of it is no usable token.
    pub fn new(
        http: &Http,
        clock: Arc<dyn Clock>,
        reviewer: Option<Arc<dyn Reviewer>>,
    ) -> Result<Self, ConfigError> {
        let open = |path| TokenFile::open(path, Arc::clone(&clock));
        let file = http.token_file.as_deref().map(open).transpose()?;
        let is_reviewed = reviewer.is_some();
        if http.insecure_writes {
            tracing::warn!("http.insecure_writes is on: anybody who reaches the HTTP port may write");
        } else if !is_reviewed && file.as_ref().is_some_and(|file| file.count() == 0) {
            tracing::warn!("http.token_file holds no token: all writes are refused");
        }
        let reviews = reviewer.map(|reviewer| Reviews::new(reviewer, &http.kubernetes, clock));
        Ok(Self(Arc::new(Guard { file, reviews, insecure_writes: http.insecure_writes })))
    }

    /// What keeps tokens that may be meant to be good from being good.
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.file.as_ref()?.fault()
    }

    /// Has the state of the token file, where there is one, asked for at each scrape.
    pub fn observe(&self, metrics: &Metrics) {
        if self.0.file.is_some() {
            let guard = Arc::downgrade(&self.0);
            metrics.observe_token_file(move || {
                let guard = guard.upgrade()?;
                let file = guard.file.as_ref()?;
                Some((file.count(), file.fault().is_some()))
            });
        }
    }

    /// The caller, if it may write.
    async fn writer(&self, parts: &Parts) -> Result<Writer, Refusal> {
        let headers = &parts.headers;
        let token = bearer(headers);
        let in_file = |token| self.0.file.as_ref()?.name_of(token);
        if let Some(name) = token.and_then(in_file) {
            return Ok(Writer { name, via: Via::TokenFile });
        }
        if self.0.insecure_writes {
            return Ok(Writer { name: ANONYMOUS.to_owned(), via: Via::Nothing });
        }
        let refuse = |kind, detail: String| Err(Problem::new(kind, detail).into());
        match (&self.0.reviews, token) {
            (Some(reviews), Some(token)) => {
                let from = parts.extensions.get().map(Remote::source);
                reviewed(reviews, token, from.as_ref()).await
            }
            (Some(reviews), None) => refuse(Kind::UNAUTHORIZED, no_token(Some(reviews.how_to_get_one()))),
            (None, _) if self.0.file.is_none() => refuse(Kind::WRITES_DISABLED, NO_TOKENS.to_owned()),
            (None, _) if headers.contains_key(header::AUTHORIZATION) => {
                refuse(Kind::UNAUTHORIZED, "the token is not one of this node's http.token_file".to_owned())
            }
            (None, _) => refuse(Kind::UNAUTHORIZED, no_token(None)),
        }
    }
}

/// A caller who may not write, and who it is, where that is known.
struct Refusal {
    problem: Problem,
    caller: Option<Writer>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, caller: None }
    }
}

fn no_token(how: Option<&str>) -> String {
    let asked = "send the header `Authorization: Bearer <token>`";
    how.map_or_else(|| asked.to_owned(), |how| format!("{asked}; {how}"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

async fn reviewed(reviews: &Reviews, token: &str, from: Option<&Source>) -> Result<Writer, Refusal> {
    let caller = |name| Writer { name, via: Via::Kubernetes };
    match reviews.review(token, from).await {
        Ok(Verdict::MayWrite { name }) => Ok(caller(name)),
        Ok(Verdict::Unknown { why }) => {
            let how = reviews.how_to_get_one();
            let detail = format!("Kubernetes does not accept the token: {why}; {how}");
            Err(Problem::new(Kind::UNAUTHORIZED, detail).into())
        }
        Ok(Verdict::MayNot { name, why }) => {
            Err(Refusal { problem: Problem::new(Kind::FORBIDDEN, why), caller: Some(caller(name)) })
        }
        Err(error) => {
            let problem = Problem::new(Kind::NOT_REVIEWED, error.to_string());
            Err(problem.retry_after(error.retry_after()).into())
        }
    }
}

/// By what a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// A token of `http.token_file`.
    TokenFile,
    /// A token that the Kubernetes API server knows.
    Kubernetes,
    /// Nothing: `http.insecure_writes` is on.
    Nothing,
}

impl Via {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TokenFile => "token_file",
            Self::Kubernetes => "kubernetes",
            Self::Nothing => "nothing",
        }
    }
}

/// A caller who may write, by name. Extract it before the body: nobody else's body is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    /// The token's name, or the user's in Kubernetes.
    pub(super) name: String,
    /// By what the caller is known.
    pub(super) via: Via,
}

impl Writer {
    /// Who is recorded as the publisher. A token of the file may speak for others, but not for those whom Kubernetes alone
    /// proves; whom Kubernetes knows is recorded as what it is.
    pub(super) fn publishes_as(self, asked: Option<String>) -> Result<String, Problem> {
        match asked {
            Some(asked) if self.via != Via::Kubernetes && is_of_kubernetes(&asked) => {
                Err(Problem::invalid(format!(
                    "publishedBy begins with {KUBERNETES_PREFIX:?}: only a token of that user of Kubernetes publishes as it; leave \
                     publishedBy out, or use that token"
                )))
            }
            Some(asked) if self.via == Via::Kubernetes && asked != self.name => {
                Err(Problem::invalid(format!(
                    "publishedBy is {:?}, but the token is that of {}; leave publishedBy out",
                    asked.chars().take(sorcha_register::limits::PUBLISHED_BY_CHARS).collect::<String>(),
                    self.name
                )))
            }
            Some(asked) => Ok(asked),
            None => Ok(self.name),
        }
    }
}

/// A caller who reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// It shows a valid token, or every caller counts as one who does.
    pub(super) is_trusted: bool,
}

impl Caller {
    /// One of whom nothing is known.
    pub(super) const ANYBODY: Self = Self { is_trusted: false };
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Auth: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self { is_trusted: Auth::from_ref(state).writer(parts).await.is_ok() })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Writer
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let writer = Auth::from_ref(state).writer(parts).await;
        let known = writer.as_ref().map_or_else(|refusal| refusal.caller.as_ref(), Some);
        Trail::of(&parts.extensions).caller(known);
        writer.map_err(|refusal| refusal.problem)
    }
}
