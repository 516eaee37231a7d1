//! JSON bodies: bounded in size and time, and errors that say where they are.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRef, FromRequest, Request},
    http::{HeaderMap, header},
};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use sorcha_os::read::unmarked;
use tokio::time::timeout;

use super::problem::{Kind, Problem};
use crate::{config::Http, register::limits};

/// Largest body: a document that shrinks to its limit in canonical form, and what surrounds it.
pub(super) const LIMIT: usize = 2 * limits::DOCUMENT_BYTES + 64 * 1024;

/// What a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between two parts of it.
    idle: Duration,
    /// From its first to its last byte.
    whole: Duration,
}

impl From<&Http> for Patience {
    fn from(http: &Http) -> Self {
        Self { idle: http.body_idle_timeout, whole: http.body_timeout }
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T>
where
    Patience: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Patience { idle, whole } = Patience::from_ref(state);
        check_media_type(request.headers())?;
        let stated = stated_length(request.headers());
        if stated.is_some_and(|length| length > LIMIT as u64) {
            return Err(too_large());
        }
        let read = read(request.into_body(), stated, idle);
        let bytes = timeout(whole, read).await.map_err(|_| too_slow(whole))??;
        parse(&bytes).map(Self)
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let stated = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"));
    let essence =
        stated.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let detail = format!("Content-Type is {}; it must be application/json", stated.unwrap_or("missing"));
    Err(Problem::new(Kind::MEDIA, detail))
}

fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> Problem {
    Problem::new(Kind::TOO_LARGE, format!("the body is over the limit of {LIMIT} bytes"))
}

fn too_slow(limit: Duration) -> Problem {
    Problem::new(Kind::TIMEOUT, format!("the body did not arrive within {} s", limit.as_secs()))
}

async fn read(body: Body, stated: Option<u64>, idle: Duration) -> Result<Vec<u8>, Problem> {
    // What a caller announces is not reserved before it comes.
    const RESERVE: u64 = 64 * 1024;
    let mut bytes = Vec::with_capacity(usize::try_from(stated.unwrap_or(0).min(RESERVE)).unwrap_or(0));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = timeout(idle, chunks.next()).await.map_err(|_| too_slow(idle))? {
        let chunk = chunk.map_err(|error| Problem::invalid(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > LIMIT {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes =
        unmarked(bytes).map_err(|error| Problem::invalid(format!("the body is not JSON: {error}")))?;
    // Serde would take an array for an object, member by member.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::invalid("the body is a JSON array; it must be an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (field, cause) = (error.path().to_string(), error.inner());
        let place = if field == "." { String::new() } else { format!("{field}: ") };
        match cause.classify() {
            serde_json::error::Category::Data => Problem::invalid(format!("{place}{cause}")),
            _ => Problem::invalid(format!("the body is not JSON: {cause}")),
        }
    })?;
    reader.end().map_err(|error| Problem::invalid(format!("the body is not one JSON value: {error}")))?;
    Ok(value)
}
