//! HTTP over TLS, with the certificate that a node shows on gRPC. Callers show none: who may write says a token.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, serve::Listener};
use futures::{Stream, StreamExt as _};
use sorcha_config::{Config, Limits};
use sorcha_runtime::accept::Acceptor;
use sorcha_runtime::metrics::Metrics;
use sorcha_runtime::tls::{
    Tls, explain,
    handshakes::{Failure, Handshake, Handshakes, accept},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use super::{
    places::Places,
    serve::{places, serve_in},
};

/// Serves a router over TLS until `shutdown`, as [`super::serve_on`] does; the certificate is that of the moment.
///
/// # Errors
/// [`io::Error`] when the listener is not usable. Failing to accept one connection is not an error.
pub async fn serve_secured(
    listener: TcpListener,
    tls: Arc<Tls>,
    router: Router,
    config: &Config,
    metrics: &Metrics,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "HTTP API listening over TLS");
    let places = places(&config.http, metrics);
    let acceptor = acceptor(listener, &places, metrics);
    serve_in(places, Secure::new(acceptor, address, tls, &config.limits), router, &config.http, shutdown)
        .await;
    Ok(())
}

fn acceptor(listener: TcpListener, places: &Arc<Places>, metrics: &Metrics) -> Acceptor {
    let relief = Arc::clone(places);
    Acceptor::new(listener, "listen.https", metrics.clone())
        .with_little_unsent()
        .relieved_by(move || relief.relieve())
}

/// Who is there, once the handshake is done.
type Guest = (TlsStream<TcpStream>, SocketAddr);

/// A listener whose connections have done their handshakes.
struct Secure {
    connections: Pin<Box<dyn Stream<Item = io::Result<Guest>> + Send>>,
    address: SocketAddr,
}

impl Secure {
    fn new(acceptor: Acceptor, address: SocketAddr, tls: Arc<Tls>, limits: &Limits) -> Self {
        let one_sided = OneSided { tls, limit: limits.handshake_timeout };
        let handshakes = Handshakes::new(one_sided, limits.max_handshakes, acceptor.into_stream());
        Self { connections: Box::pin(handshakes), address }
    }
}

impl Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Guest {
        loop {
            match self.connections.next().await {
                Some(Ok(secured)) => return secured,
                // What is accepted neither fails nor ends.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

struct OneSided {
    tls: Arc<Tls>,
    limit: Duration,
}

impl Handshake<TcpStream> for OneSided {
    type Secured = Guest;

    fn begin(
        &self,
        io: TcpStream,
        remote: SocketAddr,
    ) -> impl Future<Output = Option<Guest>> + Send + 'static {
        let (config, limit) = (self.tls.https(), self.limit);
        let told = move |failure: Failure<'_>| match failure {
            // A browser that does not know the CA looks like this, and so does each port scan.
            Failure::Refused(error) => {
                tracing::debug!(%remote, reason = explain(error), "TLS handshake on the HTTPS port failed");
            }
            Failure::TimedOut => {
                tracing::debug!(%remote, "TLS handshake on the HTTPS port not finished in time; connection cut");
            }
        };
        async move { Some((accept(config, io, limit, told).await?, remote)) }
    }

    fn gave_way(&self) {}
}
