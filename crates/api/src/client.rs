//! Calling a node. Nothing is tried again here, and no token goes anywhere else than where it is sent: callers say how long they wait.

mod plain;
pub mod token;

use http::{StatusCode, header::RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use super::{Publication, problem::Told};

pub use plain::{builder, plain};

/// No answer of a node is larger.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A node to call.
#[derive(Clone, Debug)]
pub struct Node {
    client: Client,
    url: Url,
}

impl Node {
    /// The node at an address; its API may lie under a path of that.
    #[must_use]
    pub const fn new(client: Client, url: Url) -> Self {
        Self { client, url }
    }

    /// Where it is, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Asks for a resource.
    pub fn get(&self, path: &[&str]) -> RequestBuilder {
        self.client.get(self.resource(path))
    }

    /// Publishes a document; the answer is [`super::Published`].
    pub fn publish(&self, publication: &Publication<'_>) -> RequestBuilder {
        self.client.post(self.resource(&["api", "system-register", "publish"])).json(publication)
    }

    /// Deprecates or reactivates a blueprint; the answer is [`super::Published`].
    pub fn set_active(&self, id: &str, active: bool) -> RequestBuilder {
        let action = if active { "reactivate" } else { "deprecate" };
        self.client.post(self.resource(&["api", "system-register", "blueprints", id, action]))
    }

    fn resource(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no whole answer. The node may have done what it was asked to.
    #[error("{}", innermost(.0))]
    Away(reqwest::Error),
    /// The node says no.
    #[error("{}", .0.text().unwrap_or_else(|| format!("it answers {}", .0.status)))]
    Refused(Refused),
    /// Something answers that is no node, or one of another time.
    #[error("its answer is not understood: {why}")]
    NotUnderstood {
        /// The answer's status.
        status: StatusCode,
        /// What is wrong with it.
        why: String,
    },
}

/// What a node says that does not do what it was asked to.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The answer's status.
    pub status: StatusCode,
    /// Its body.
    pub told: Told,
    /// When to try again, as the node writes it: seconds.
    pub retry_after: Option<String>,
}

impl Refused {
    /// Title and detail of the problem, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.told.clone().text()
    }
}

/// Whether another time or another central node may do what an answer of this status refuses.
#[must_use]
pub fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Sends a request; the answer is one of success, and its body is still to be read.
///
/// # Errors
/// [`CallError`], never that it is not understood but for a refusal that is too long.
pub async fn send(request: RequestBuilder) -> Result<Response, CallError> {
    let response = request.send().await.map_err(CallError::Away)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.map(str::to_owned);
    let told = Told::of(&whole(response).await?);
    Err(CallError::Refused(Refused { status, told, retry_after }))
}

/// Sends a request and reads the answer's JSON.
///
/// # Errors
/// [`CallError`].
pub async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<(StatusCode, T), CallError> {
    let response = send(request).await?;
    let status = response.status();
    let body = whole(response).await?;
    let value = serde_json::from_slice(&body);
    value
        .map(|value| (status, value))
        .map_err(|error| CallError::NotUnderstood { status, why: error.to_string() })
}

async fn whole(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(CallError::Away)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            let why = format!("it has more than {ANSWER_BYTES} bytes");
            return Err(CallError::NotUnderstood { status: response.status(), why });
        }
    }
    Ok(body)
}

/// The cause under the HTTP library's layers: "connection refused" rather than "error sending request".
#[must_use]
pub fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Whether an address is this machine's own.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
