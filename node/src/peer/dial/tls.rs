//! Mutual TLS: the central node must show a certificate for the name that was dialled, and is shown this peer's.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tonic::transport::{Channel, Error};
use tower::service_fn;

use super::{Dialer, authority, endpoint, tcp::Tcp};
use crate::{
    config::{CentralNodeAddress, Config},
    tls::{Tls, explain},
};

/// HTTP/2 over mutual TLS.
#[derive(Clone, Debug)]
pub struct MutualTls(Arc<Tls>);

impl MutualTls {
    /// With a node's certificate and CAs, as they are at each dial.
    #[must_use]
    pub const fn new(tls: Arc<Tls>) -> Self {
        Self(tls)
    }
}

#[async_trait]
impl Dialer for MutualTls {
    async fn dial(&self, address: &CentralNodeAddress, config: &Config) -> Result<Channel, Error> {
        // The connector makes it TLS; that requests say so too is stated apart.
        let endpoint = endpoint(address, config)?;
        let endpoint = match format!("https://{}", authority(address)).parse() {
            Ok(origin) => endpoint.origin(origin),
            Err(_) => endpoint,
        };
        let (tls, tcp, host) = (Arc::clone(&self.0), Tcp::new(config), address.host.clone());
        let connector = service_fn(move |uri| open(Arc::clone(&tls), tcp.clone(), host.clone(), uri));
        endpoint.connect_with_connector(connector).await
    }
}

async fn open(tls: Arc<Tls>, tcp: Tcp, host: String, uri: Uri) -> io::Result<TokioIo<Explained>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|_| {
        let told = format!("{host:?} is neither a host name nor an IP address that a certificate can be for");
        io::Error::new(io::ErrorKind::InvalidInput, told)
    })?;
    let stream = tcp.connect(uri).await?;
    let connected = TlsConnector::from(tls.client()).connect(name, stream).await;
    connected.map(|stream| TokioIo::new(Explained(stream))).map_err(explained)
}

/// Keeps the kind, and says why in words.
fn explained(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), explain(&error))
}

/// A TLS connection whose faults are told in words. With TLS 1.3 a server that refuses the client's certificate says so only
/// once the client takes the connection for open.
#[derive(Debug)]
struct Explained(TlsStream<TcpStream>);

impl AsyncRead for Explained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf).map_err(explained)
    }
}

impl AsyncWrite for Explained {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
