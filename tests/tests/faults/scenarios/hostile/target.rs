//! What is attacked, and how a client reaches it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use sorcha_runtime::tls::testing::Pair;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, version::TLS13},
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    api::Api,
    authority::{Authority, identity},
};

const CONNECTS_WITHIN: Duration = Duration::from_secs(5);

/// A connection, with or without TLS.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A connection of either kind.
pub(super) type Wire = Box<dyn Connection>;

/// What is attacked.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) grpc: u16,
    pub(super) http: u16,
    /// The same API over TLS, where the network has certificates.
    pub(super) https: Option<u16>,
    pub(super) authority: Option<Authority>,
    pub(super) api: Api,
}

/// A TCP connection.
pub(super) async fn tcp(port: u16) -> Result<TcpStream> {
    let stream =
        timeout(CONNECTS_WITHIN, TcpStream::connect(("127.0.0.1", port))).await?.context("connect")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the other side has ended the connection, within this time.
pub(super) async fn is_cut(stream: &mut (impl AsyncRead + Unpin), within: Duration) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    timeout(within, async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} }).await.is_ok()
}

/// A handshake as any TLS client may do it.
pub(super) async fn handshake(
    authority: &Authority,
    pair: Option<&Pair>,
    protocols: &[&[u8]],
    tcp: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.ca.certificate_der())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&[&TLS13])?.with_root_certificates(roots);
    let mut config = match pair {
        Some(pair) => config.with_client_auth_cert(vec![pair.certificate_der()], pair.key_der())?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connecting = TlsConnector::from(Arc::new(config)).connect("127.0.0.1".try_into()?, tcp);
    Ok(timeout(CONNECTS_WITHIN, connecting).await??)
}

impl Target {
    /// A connection of the gRPC port, as a peer of this name opens it.
    pub(super) async fn grpc(&self, peer: &str) -> Result<Wire> {
        let tcp = tcp(self.grpc).await?;
        let Some(authority) = &self.authority else { return Ok(Box::new(tcp)) };
        let pair = authority.issue(&identity("sorchapeer", peer));
        Ok(Box::new(handshake(authority, Some(&pair), &[b"h2"], tcp).await?))
    }

    /// A connection of the HTTP port; of the HTTPS port where there is one.
    pub(super) async fn http(&self) -> Result<Wire> {
        let (Some(https), Some(authority)) = (self.https, &self.authority) else {
            return Ok(Box::new(tcp(self.http).await?));
        };
        Ok(Box::new(handshake(authority, None, &[b"http/1.1"], tcp(https).await?).await?))
    }

    /// A gRPC channel with the certificate of a SorchaPeer of this name, which may speak for the peers `<name>-<number>`.
    pub(super) async fn channel(&self, name: &str) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.grpc))?;
        let (target, name) = (self.clone(), name.to_owned());
        let connector = tower::service_fn(move |_uri| {
            let (target, name) = (target.clone(), name.clone());
            async move {
                let wire = target.grpc(&name).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(wire))
            }
        });
        Ok(endpoint.connect_timeout(CONNECTS_WITHIN).connect_with_connector(connector).await?)
    }
}
