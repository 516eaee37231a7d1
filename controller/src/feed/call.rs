//! Calls to the API server whose answers are bytes until somebody reads them.
//!
//! The library's own calls log an answer that they can't parse, whole, and hold it twice.

use futures::{Stream, StreamExt as _};
use http::{HeaderValue, Request, header::ACCEPT};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde::Deserialize;
use sorcha_crds::text::{NAME, SAID, cut};

use super::split::OBJECT_BYTES;

/// Longest refusal that is read, bytes.
const REFUSAL_BYTES: usize = 64 * 1024;

/// Why a call did not do it. No answer's text is in it but the API server's own message, shortened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFault {
    /// The API server refuses.
    #[error("the API server answers {code} {reason}: {message}")]
    Refused {
        /// Code of HTTP.
        code: u16,
        /// One word for programs.
        reason: String,
        /// What it says.
        message: String,
    },
    /// It can't be asked, or its answer breaks off.
    #[error("the API server does not answer: {0}")]
    Away(String),
    /// Its answer is not what was asked for.
    #[error("the API server's answer is not understood: {0}")]
    Strange(&'static str),
}

impl CallFault {
    /// What may be logged: a refusal of what was sent quotes it.
    #[must_use]
    pub(crate) fn logged(&self) -> String {
        match self {
            Self::Refused { code: code @ (400 | 422), .. } => format!("the API server answers {code}"),
            other => other.to_string(),
        }
    }

    /// Its code, if it is the API server's.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        if let Self::Refused { code, .. } = self { Some(*code) } else { None }
    }
}

/// What the API server says with a refusal (`metav1.Status`).
#[derive(Default, Deserialize)]
#[serde(default)]
struct ApiRefusal {
    code: u16,
    reason: String,
    message: String,
}

/// A refusal in an answer's body, or in a watch. One that is none of Kubernetes' is told by its code alone: it may be
/// anything.
pub(crate) fn refused(code: u16, body: &[u8]) -> CallFault {
    let told: ApiRefusal = serde_json::from_slice(body).unwrap_or_default();
    let code = if code == 0 { told.code } else { code };
    let message = if told.message.is_empty() { "it does not say why".to_owned() } else { told.message };
    CallFault::Refused { code, reason: cut(&told.reason, NAME), message: cut(&message, SAID) }
}

fn away(error: &kube::Error) -> CallFault {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    CallFault::Away(cause.to_string())
}

/// Sends a request; the body of what it answers.
///
/// # Errors
/// [`CallFault`].
pub(crate) async fn send(
    client: &Client,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<impl Stream<Item = Result<axum::body::Bytes, CallFault>> + Send + Unpin + use<>, CallFault> {
    let request = request.map_err(|_| CallFault::Strange("no such request can be made"))?;
    let response = client.send(request.map(Body::from)).await.map_err(|error| away(&error))?;
    let status = response.status();
    let mut body =
        Box::pin(response.into_body().into_data_stream().map(|chunk| chunk.map_err(|error| away(&error))));
    if status.is_success() {
        return Ok(body);
    }
    let text = gather(&mut body, REFUSAL_BYTES).await.unwrap_or_default();
    Err(refused(status.as_u16(), &text))
}

/// All of a body.
///
/// # Errors
/// [`CallFault`], also when it is longer than the limit.
pub(crate) async fn gather(
    body: &mut (impl Stream<Item = Result<axum::body::Bytes, CallFault>> + Unpin),
    limit: usize,
) -> Result<Vec<u8>, CallFault> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if all.len() + chunk.len() > limit {
            return Err(CallFault::Strange("it is too long"));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// One object's text. `None`: there is none.
///
/// # Errors
/// [`CallFault`].
pub(crate) async fn object(
    client: &Client,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Option<Vec<u8>>, CallFault> {
    match send(client, request).await {
        Ok(mut body) => gather(&mut body, OBJECT_BYTES).await.map(Some),
        Err(fault) if fault.code() == Some(404) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A request whose answer is to be metadata alone: an object that was written is not needed, and may be long.
pub(crate) fn metadata_only(
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Request<Vec<u8>>, kube::core::request::Error> {
    let accept = HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    request.map(|mut request| {
        request.headers_mut().insert(ACCEPT, accept);
        request
    })
}
