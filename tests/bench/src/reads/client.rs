//! A reader: one HTTP/1.1 connection that asks for one document after the other.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, ETAG, HOST, HeaderValue, IF_NONE_MATCH},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::closed_loop::Worker;

/// The document alone, in the bytes that its checksum covers.
const LD_JSON: HeaderValue = HeaderValue::from_static("application/ld+json");

/// A document to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(super) path: String,
    /// The validator that the caller has; then the answer is 304.
    pub(super) tag: Option<HeaderValue>,
    pub(super) length: usize,
}

impl Wanted {
    /// A document that the caller does not have, by its blueprint.
    pub(crate) fn whole(id: &str, length: usize) -> Self {
        Self { path: path(id), tag: None, length }
    }
}

/// Where a document is read.
pub(super) fn path(id: &str) -> String {
    format!("/api/system-register/blueprints/{id}")
}

/// A connection, and what it asks for in turn.
pub(crate) struct Reader {
    connection: SendRequest<Empty<Bytes>>,
    host: HeaderValue,
    wanted: Arc<[Wanted]>,
    next: usize,
}

impl Reader {
    /// Connects to a server on loopback; the first document that it asks for is that of this number.
    pub(crate) async fn connect(port: u16, wanted: Arc<[Wanted]>, first: usize) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        // It ends with the sender; a fault of it shows in the answers.
        tokio::spawn(connection);
        let host = HeaderValue::try_from(format!("127.0.0.1:{port}"))?;
        Ok(Self { connection: sender, host, wanted, next: first })
    }

    async fn ask(&mut self, path: &str, tag: Option<&HeaderValue>) -> Result<Response<Incoming>> {
        let mut request = Request::get(path).body(Empty::new())?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(ACCEPT, LD_JSON);
        if let Some(tag) = tag {
            headers.insert(IF_NONE_MATCH, tag.clone());
        }
        self.connection.ready().await?;
        Ok(self.connection.send_request(request).await?)
    }

    /// A document and its validator.
    pub(super) async fn fetch(&mut self, path: &str) -> Result<(Bytes, HeaderValue)> {
        let response = self.ask(path, None).await?;
        anyhow::ensure!(response.status() == StatusCode::OK, "{path}: {}", response.status());
        let tag = response.headers().get(ETAG).cloned().context("no ETag")?;
        Ok((response.into_body().collect().await?.to_bytes(), tag))
    }
}

impl Worker for Reader {
    async fn once(&mut self) -> Result<()> {
        let wanted = Arc::clone(&self.wanted);
        let wanted = &wanted[self.next % wanted.len()];
        self.next += 1;
        let response = self.ask(&wanted.path, wanted.tag.as_ref()).await?;
        let (status, length) = match wanted.tag {
            Some(_) => (StatusCode::NOT_MODIFIED, 0),
            None => (StatusCode::OK, wanted.length),
        };
        anyhow::ensure!(response.status() == status, "{}: {}", wanted.path, response.status());
        let (mut body, mut received) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            received += frame?.data_ref().map_or(0, Bytes::len);
        }
        anyhow::ensure!(received == length, "{}: {received} bytes in the place of {length}", wanted.path);
        Ok(())
    }
}
