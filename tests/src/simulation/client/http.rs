//! One request over a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;

use crate::simulation::net::{Host, Net, Port};

/// What a node answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) version: Option<i64>,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nobody listens there: the request was not sent.
    Refused,
    /// It may have been done, or not.
    Unknown(String),
}

/// Asks a node; gives up after `limit`.
pub(super) async fn ask(
    net: &Net,
    from: Host,
    to: Host,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Result<Answer, Fault> {
    let asked = async {
        let stream = net.connect(from, to, Port::Http).await.map_err(|_| Fault::Refused)?;
        let unknown = |error: hyper::Error| Fault::Unknown(error.to_string());
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(unknown)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(unknown)?;
            read(response).await
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection may end just when the answer is whole.
            _ended = connection => exchange.await,
        }
    };
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| Err(Fault::Unknown(format!("no answer within {} s", limit.as_secs()))))
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, Fault> {
    let status = response.status();
    let version = response.headers().get("sorcha-register-version");
    let version = version.and_then(|version| version.to_str().ok()?.parse().ok());
    let body = response.into_body().collect().await.map_err(|error| Fault::Unknown(error.to_string()))?;
    Ok(Answer { status, version, body: body.to_bytes() })
}

/// A request with a JSON body, or none.
pub(super) fn request(method: &str, path: &str, body: Option<Vec<u8>>) -> Request<Full<Bytes>> {
    let body = body.map(Bytes::from).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "node")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len());
    // A path of ours is always well formed.
    request.body(Full::new(body)).unwrap_or_default()
}
