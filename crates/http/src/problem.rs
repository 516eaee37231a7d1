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
pub(super) use sorcha_api::problem::{Kind, MEDIA_TYPE, ProblemDocument};
use sorcha_central::publish::PublishError;
use sorcha_register::{canonical::InvalidDocument, names::InvalidField};
use sorcha_store::StoreError;

/// How long a caller waits before it tries again what the store could not do.
const RETRY_STORE: Duration = Duration::from_secs(5);

/// A problem: its kind, what happened, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) detail: String,
    retry_after: Option<Duration>,
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
        self.kind.document(&self.detail, instance)
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
