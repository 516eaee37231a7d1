//! TCP connections, and what they are told apart by.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower::{Service, ServiceExt as _, service_fn};

use super::life::{Life, Watched};
use crate::config::Config;

/// First bytes of an alert of TLS: what its server answers to plain text.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// Opens TCP connections; of several addresses of a host the first that answers.
#[derive(Clone)]
pub(super) struct Tcp(HttpConnector);

impl Tcp {
    pub(super) fn new(config: &Config) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.connect.dial_timeout));
        Self(connector)
    }

    pub(super) async fn connect(self, uri: Uri) -> io::Result<TcpStream> {
        self.0.oneshot(uri).await.map(TokioIo::into_inner).map_err(io::Error::other)
    }

    pub(super) fn plain_text(
        self,
        life: Life,
    ) -> impl Service<Uri, Response = TokioIo<Watched<PlainTcp>>, Error = io::Error, Future: Send>
    + Clone
    + Send
    + 'static {
        service_fn(move |uri| {
            let (tcp, life) = (self.clone(), life.clone());
            async move {
                let stream = tcp.connect(uri).await?;
                let plain = PlainTcp { stream, has_begun: false, life: life.clone() };
                Ok(TokioIo::new(life.watch(plain)))
            }
        })
    }
}

/// A plain-text connection that notices, by the first words, that the other side speaks TLS.
#[derive(Debug)]
pub(super) struct PlainTcp {
    stream: TcpStream,
    has_begun: bool,
    life: Life,
}

impl AsyncRead for PlainTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf)).map_err(|error| self.life.note(error))?;
        let read = &buf.filled()[before..];
        if !self.has_begun && !read.is_empty() {
            self.has_begun = true;
            if read.starts_with(&TLS_ALERT) {
                let told = "the central node speaks TLS; set tls.certificate_file, tls.key_file and tls.ca_file here";
                return Poll::Ready(Err(self.life.note(io::Error::new(io::ErrorKind::InvalidData, told))));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PlainTcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
