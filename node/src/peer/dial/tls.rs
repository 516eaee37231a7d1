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
use tonic::transport::Error;
use tower::service_fn;

use super::{ConnectionFault, Dialer, Dialled, authority, endpoint, tcp::Tcp};
use crate::{
    config::{CentralNodeAddress, Config},
    tls::{
        Tls,
        certificate::{self, Credential},
        explain,
    },
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
    async fn dial(&self, address: &CentralNodeAddress, config: &Config) -> Result<Dialled, Error> {
        // The connector makes it TLS; that requests say so too is stated apart.
        let endpoint = endpoint(address, config)?;
        let endpoint = match format!("https://{}", authority(address)).parse() {
            Ok(origin) => endpoint.origin(origin),
            Err(_) => endpoint,
        };
        let opening = Opening {
            tls: Arc::clone(&self.0),
            tcp: Tcp::new(config),
            host: address.host.clone(),
            network: config.node.network.clone(),
            fault: ConnectionFault::default(),
        };
        let fault = opening.fault.clone();
        let connector = service_fn(move |uri| opening.clone().open(uri));
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Dialled { channel, fault })
    }
}

/// What a connection is opened with.
#[derive(Clone)]
struct Opening {
    tls: Arc<Tls>,
    tcp: Tcp,
    host: String,
    network: String,
    fault: ConnectionFault,
}

impl Opening {
    async fn open(self, uri: Uri) -> io::Result<TokioIo<Explained>> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| {
            let told = format!(
                "{:?} is neither a host name nor an IP address that a certificate can be for",
                self.host
            );
            io::Error::new(io::ErrorKind::InvalidInput, told)
        })?;
        let stream = self.tcp.connect(uri).await?;
        let stream = TlsConnector::from(self.tls.client()).connect(name, stream).await.map_err(explained)?;
        if let Some(shown) = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
            is_central_node(&certificate::credential(shown), &self.network).map_err(io::Error::other)?;
        }
        Ok(TokioIo::new(Explained { stream, fault: self.fault }))
    }
}

/// Whether a certificate that is good for the name dialled may be a central node's: one that names somebody names a central
/// node of the network. One that names nobody, such as a public CA's, is good by its name alone.
fn is_central_node(credential: &Credential, network: &str) -> Result<(), String> {
    match credential {
        Ok(identity) if !identity.is_central_node() => {
            Err(format!("the other side shows the certificate of {identity}, which is no central node"))
        }
        Ok(identity) if identity.network() != network => {
            Err(format!("the other side is {identity}, of network {}, not {network}", identity.network()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Keeps the kind, and says why in words.
#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn explained(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), explain(&error))
}

/// A TLS connection whose faults are told in words. With TLS 1.3 a server that refuses the client's certificate says so only
/// once the client takes the connection for open.
#[derive(Debug)]
struct Explained {
    stream: TlsStream<TcpStream>,
    fault: ConnectionFault,
}

impl AsyncRead for Explained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf).map_err(|error| self.fault.note(explained(error)))
    }
}

impl AsyncWrite for Explained {
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
