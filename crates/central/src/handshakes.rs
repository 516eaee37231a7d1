//! TLS handshakes of peers, each with a client certificate. Failures are counted, and logged at a limited rate.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::Stream;
use sorcha_identity::certificate;
use sorcha_runtime::tls::{
    Tls, explain,
    handshakes::{Failure, Handshake, Handshakes, accept},
    tls_error,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use super::{CentralNode, incoming::Tracked};

/// Accepted connections as mutual TLS, `limits.max_handshakes` at once.
pub fn handshakes<IO>(
    node: Arc<CentralNode>,
    tls: Arc<Tls>,
    accepted: impl Stream<Item = io::Result<(IO, SocketAddr)>> + Unpin,
) -> impl Stream<Item = io::Result<Tracked<TlsStream<IO>>>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let at_once = node.config.limits.max_handshakes;
    Handshakes::new(Mutual { node, tls }, at_once, accepted)
}

struct Mutual {
    node: Arc<CentralNode>,
    tls: Arc<Tls>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Handshake<IO> for Mutual {
    type Secured = Tracked<TlsStream<IO>>;

    fn begin(
        &self,
        io: IO,
        remote: SocketAddr,
    ) -> impl Future<Output = Option<Self::Secured>> + Send + 'static {
        let (node, config) = (Arc::clone(&self.node), self.tls.server());
        async move {
            let limit = node.config.limits.handshake_timeout;
            let told = |failure: Failure<'_>| match failure {
                Failure::Refused(error) => failed(&node, remote, error),
                Failure::TimedOut => timed_out(&node, remote, limit),
            };
            let stream = accept(config, io, limit, told).await?;
            node.env.metrics.handshake("ok");
            Some(secured(stream, remote))
        }
    }

    fn gave_way(&self) {
        self.node.env.metrics.handshake("gave_way");
    }
}

fn secured<IO>(stream: TlsStream<IO>, remote: SocketAddr) -> Tracked<TlsStream<IO>> {
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    // The verifier refuses clients without a certificate.
    let credential = shown.map_or(Err(certificate::NoIdentity::Missing), |der| certificate::credential(der));
    Tracked::secured(stream, remote, credential)
}

fn failed(node: &CentralNode, remote: SocketAddr, error: &io::Error) {
    if tls_error(error).is_none() {
        // Port scans and health checks of load balancers look like this.
        node.env.metrics.handshake("closed");
        return tracing::debug!(%remote, reason = explain(error), "connection closed in its TLS handshake");
    }
    node.env.metrics.handshake("refused");
    if node.limiters.may_log_refusal() {
        tracing::warn!(%remote, reason = explain(error), "TLS handshake failed");
    }
}

fn timed_out(node: &CentralNode, remote: SocketAddr, limit: Duration) {
    node.env.metrics.handshake("timeout");
    if node.limiters.may_log_refusal() {
        let limit_ms = limit.as_millis();
        tracing::warn!(%remote, limit_ms, "TLS handshake not finished in time (limits.handshake_timeout); connection cut");
    }
}
