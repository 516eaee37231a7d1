//! Errors as RFC 9457 problem documents, and the table from the domain's errors to HTTP.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use serde::Serialize;
use sorcha_central::publish::PublishError;
use sorcha_register::{canonical::InvalidDocument, names::InvalidField};
use sorcha_store::StoreError;
use utoipa::ToSchema;

/// Media type of a problem document.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// How long a caller waits before it tries again what the store could not do.
const RETRY_STORE: Duration = Duration::from_secs(5);

/// A kind of problem: what its type, title and status are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) slug: &'static str,
    pub(super) title: &'static str,
    pub(super) status: StatusCode,
}

macro_rules! kinds {
    ($($name:ident = $status:ident, $slug:literal, $title:literal;)*) => {
        impl Kind {
            $(pub(super) const $name: Self = Self { slug: $slug, title: $title, status: StatusCode::$status };)*
        }
    };
}

kinds! {
    INVALID = BAD_REQUEST, "invalid-request", "The request is not valid";
    UNAUTHORIZED = UNAUTHORIZED, "unauthorized", "A valid token is needed";
    WRITES_DISABLED = FORBIDDEN, "writes-disabled", "This node takes no writes over HTTP";
    FORBIDDEN = FORBIDDEN, "forbidden", "The caller may not publish here";
    NOT_FOUND = NOT_FOUND, "not-found", "There is no such resource";
    OTHER_ROLE = NOT_FOUND, "other-role", "The other role serves this resource";
    METHOD = METHOD_NOT_ALLOWED, "method-not-allowed", "The resource does not take this method";
    NOT_ACCEPTABLE = NOT_ACCEPTABLE, "not-acceptable", "The resource has no such representation";
    TIMEOUT = REQUEST_TIMEOUT, "request-timeout", "The request took too long to arrive";
    CONFLICT = CONFLICT, "conflict", "The blueprint id is taken";
    TOO_LARGE = PAYLOAD_TOO_LARGE, "too-large", "The request is too large";
    MEDIA = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body has the wrong media type";
    TOO_MANY = TOO_MANY_REQUESTS, "too-many-requests", "The caller has too much under way";
    UNSTORABLE = UNPROCESSABLE_ENTITY, "unstorable", "The store can't keep this document";
    INTERNAL = INTERNAL_SERVER_ERROR, "internal", "The node failed";
    STORE_UNAVAILABLE = SERVICE_UNAVAILABLE, "store-unavailable", "The store does not answer";
    BUSY = SERVICE_UNAVAILABLE, "busy", "The node has no room for more";
    NOT_REVIEWED = SERVICE_UNAVAILABLE, "not-reviewed", "The token can't be checked now";
    DAMAGED = SERVICE_UNAVAILABLE, "register-damaged", "The register failed its integrity check";
    NOT_READY = SERVICE_UNAVAILABLE, "not-ready", "The node does not serve its role";
    STALE = SERVICE_UNAVAILABLE, "stale-replica", "The replica is older than this node may serve";
    NOT_CONNECTED = SERVICE_UNAVAILABLE, "not-connected", "The peer has no central node";
    NOT_RUNNING = SERVICE_UNAVAILABLE, "not-running", "The peer takes no commands now";
    SYNC_FAILED = SERVICE_UNAVAILABLE, "sync-failed", "The sync failed";
    STORE_FULL = INSUFFICIENT_STORAGE, "store-full", "The store has no space left";
}

/// A problem: its kind, what happened, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) detail: String,
    retry_after: Option<Duration>,
}

/// An RFC 9457 problem document: the body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
#[schema(example = json!({
    "type": "https://sorcha.dev/problems/not-found", "title": "There is no such resource", "status": 404,
    "detail": "no blueprint invoice-v1 is published", "instance": "/api/system-register/blueprints/invoice-v1"
}))]
pub(super) struct ProblemDocument {
    /// Names the kind of problem; a stable identifier for programs.
    #[schema(format = "uri")]
    r#type: String,
    /// The kind, for people.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened, with the field, the limit and what was found, and what to do about it.
    detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

impl Problem {
    /// A problem of a kind.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }

    /// The same, with a time to try again.
    pub(super) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// A field or a parameter is not acceptable.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::INVALID, detail)
    }

    /// The problem of a response that names none: what the router itself answers.
    fn of_status(status: StatusCode, method: &Method, path: &str, allowed: Option<&HeaderValue>) -> Self {
        let allowed = || allowed.and_then(|methods| methods.to_str().ok()).unwrap_or("none");
        match status {
            StatusCode::NOT_FOUND => {
                Self::new(Kind::NOT_FOUND, format!("no resource at {path}; /docs lists all of them"))
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(Kind::METHOD, format!("{path} does not take {method}; it takes {}", allowed()))
            }
            status if status.is_client_error() => Self {
                kind: Kind { status, ..Kind::INVALID },
                ..Self::invalid("the path or the query is malformed")
            },
            _ => Self::new(Kind::INTERNAL, "the node failed to answer; its log says why"),
        }
    }

    /// The document that is sent.
    pub(super) fn document(&self, instance: Option<&str>) -> ProblemDocument {
        ProblemDocument {
            r#type: format!("https://sorcha.dev/problems/{}", self.kind.slug),
            title: self.kind.title,
            status: self.kind.status.as_u16(),
            detail: self.detail.clone(),
            instance: instance.map(str::to_owned),
        }
    }

    /// Makes this problem the content of a response; other headers that it has stay.
    fn write_to(self, response: &mut Response, instance: Option<&str>) {
        *response.status_mut() = self.kind.status;
        *response.body_mut() = Body::from(serde_json::to_vec(&self.document(instance)).unwrap_or_default());
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.kind == Kind::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sorcha\""));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response.extensions_mut().insert(self);
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        self.write_to(&mut response, None);
        response
    }
}

/// Makes every error a problem that names the path asked for: a handler's, the router's own, and a panic.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_panic| {
        tracing::error!(%method, path, "an HTTP handler panicked");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    });
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let named = response.extensions().get::<Problem>().cloned();
        let allowed = response.headers().get(header::ALLOW);
        let problem = named.unwrap_or_else(|| Problem::of_status(status, &method, &path, allowed));
        problem.write_to(&mut response, Some(&path));
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl From<InvalidField> for Problem {
    /// The contract's field names are the JSON names in another case.
    fn from(error: InvalidField) -> Self {
        let (InvalidField::Empty { field, .. }
        | InvalidField::TooLong { field, .. }
        | InvalidField::Pattern { field, .. }
        | InvalidField::Control { field, .. }
        | InvalidField::Range { field, .. }) = error;
        Self::invalid(error.to_string().replacen(field, &camel_case(field), 1))
    }
}

fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| match word.split_at_checked(1) {
        Some((initial, rest)) => text + &initial.to_ascii_uppercase() + rest,
        None => text,
    })
}

impl From<InvalidDocument> for Problem {
    fn from(error: InvalidDocument) -> Self {
        let kind = match error {
            InvalidDocument::TooLarge { .. } => Kind::TOO_LARGE,
            InvalidDocument::Syntax(_)
            | InvalidDocument::Number(_)
            | InvalidDocument::Encoding(_)
            | InvalidDocument::NotAnObject => Kind::INVALID,
        };
        Self::new(kind, format!("blueprint: {error}"))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::Invalid(field) => field.into(),
            StoreError::Unavailable(_) => Self::new(Kind::STORE_UNAVAILABLE, detail).retry_after(RETRY_STORE),
            StoreError::Full(_) => Self::new(Kind::STORE_FULL, detail),
            StoreError::Conflict { .. } => Self::new(Kind::CONFLICT, detail),
            StoreError::NotFound(_) => Self::new(Kind::NOT_FOUND, detail),
            StoreError::Unstorable(_) => Self::new(Kind::UNSTORABLE, detail),
            StoreError::Damaged(_) | StoreError::Exchanged(_) | StoreError::Owned(_) => {
                Self::new(Kind::DAMAGED, detail)
            }
            StoreError::Internal(_) => Self::new(Kind::INTERNAL, detail),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Field(error) => error.into(),
            PublishError::Document(error) => error.into(),
            PublishError::Store(error) => error.into(),
        }
    }
}
