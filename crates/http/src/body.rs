//! Bodies: bounded in size, time and rate, and read only once there is room for them.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
};
use futures::StreamExt as _;
use serde::Deserialize;
use sorcha_config::Http;
use sorcha_os::read::unmarked;
use sorcha_register::limits::BODY_BYTES;
use tokio::time::{Instant, timeout};

use super::{
    auth::Writer,
    intake::{Intake, Ticket},
    pace::Rules,
    problem::{Kind, Problem},
};

/// Largest body.
pub(super) const LIMIT: usize = BODY_BYTES;
/// What a body of unknown length is taken for, until it has more.
const FIRST: usize = 64 * 1024;
/// Longest explanation of a JSON error, characters: it may quote what was sent.
const TOLD_CHARS: usize = 500;

/// What a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between two parts of it.
    idle: Duration,
    /// From its first to its last byte.
    whole: Duration,
    rules: Rules,
}

impl From<&Http> for Patience {
    fn from(http: &Http) -> Self {
        Self { idle: http.body_idle_timeout, whole: http.body_timeout, rules: Rules::from(http) }
    }
}

/// A body that has arrived, and its place.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) ticket: Ticket,
}

/// Reads the JSON body of a publisher. Who may not write gets no [`Writer`], and has none of its body read.
///
/// # Errors
/// [`Problem`] when it is none, too large or too slow, or there is no room for it.
pub(super) async fn receive(
    request: Request,
    writer: &Writer,
    intake: &Intake,
    patience: Patience,
) -> Result<Received, Problem> {
    check_media_type(request.headers())?;
    check_encoding(request.headers())?;
    let stated = stated_length(request.headers());
    if stated.is_some_and(|length| length > LIMIT as u64) {
        return Err(too_large());
    }
    let expected = stated.and_then(|length| usize::try_from(length).ok()).unwrap_or(FIRST);
    let publisher = format!("{} ({})", writer.name, writer.via.as_str());
    let ticket = intake.admit(&publisher, expected).await?;
    let read = read(request.into_body(), ticket, patience);
    timeout(patience.whole, read).await.map_err(|_| too_slow(patience.whole))?
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

fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get(header::CONTENT_ENCODING).filter(|value| !is_plain(value)) {
        Some(encoding) => {
            let detail =
                format!("Content-Encoding is {encoding:?}; bodies must not be encoded: leave the header out");
            Err(Problem::new(Kind::MEDIA, detail))
        }
        None => Ok(()),
    }
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

async fn read(body: Body, mut ticket: Ticket, patience: Patience) -> Result<Received, Problem> {
    let Patience { idle, rules, .. } = patience;
    let mut bytes = Vec::with_capacity(ticket.bytes());
    let (mut chunks, mut waited, mut window) = (body.into_data_stream(), Duration::ZERO, 0);
    loop {
        let since = Instant::now();
        let chunk = timeout(idle, chunks.next()).await.map_err(|_| too_slow(idle))?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|error| Problem::invalid(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > LIMIT {
            return Err(too_large());
        }
        if bytes.len() + chunk.len() > ticket.bytes() {
            ticket.grow(LIMIT).await?;
            // Memory that is not written to costs nothing.
            bytes.reserve_exact(LIMIT - bytes.len());
        }
        bytes.extend_from_slice(&chunk);
        (waited, window) = (waited + since.elapsed(), window + chunk.len() as u64);
        if rules.is_too_slow(window, waited) {
            return Err(too_thin(&rules));
        }
        if waited >= rules.window {
            (waited, window) = (Duration::ZERO, 0);
        }
    }
    ticket.arrived();
    Ok(Received { bytes: bytes.into(), ticket })
}

fn too_thin(rules: &Rules) -> Problem {
    let detail = format!(
        "the body came with less than {} bytes a second over {} s (http.min_bytes_per_second)",
        rules.least,
        rules.window.as_secs()
    );
    Problem::new(Kind::TIMEOUT, detail)
}

/// Reads a JSON object.
///
/// # Errors
/// [`Problem`] that names the place.
pub(super) fn parse<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, Problem> {
    let bytes =
        unmarked(bytes).map_err(|error| Problem::invalid(format!("the body is not JSON: {error}")))?;
    // Serde would take an array for an object, member by member.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::invalid("the body is a JSON array; it must be an object"));
    }
    let told = |text: String| Problem::invalid(text.chars().take(TOLD_CHARS).collect::<String>());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (field, cause) = (error.path().to_string(), error.inner());
        let place = if field == "." { String::new() } else { format!("{field}: ") };
        match cause.classify() {
            serde_json::error::Category::Data => told(format!("{place}{cause}")),
            _ => told(format!("the body is not JSON: {cause}")),
        }
    })?;
    reader.end().map_err(|error| told(format!("the body is not one JSON value: {error}")))?;
    Ok(value)
}
