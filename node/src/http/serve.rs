//! The HTTP server: so many connections and no more, bounded waits for slow callers, and a bounded goodbye.

use std::{fmt::Display, future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::Request,
    serve::{Listener, ListenerExt as _},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{audit::Remote, stall::Impatient};
use crate::config::Http;

/// Time for answers in progress after the shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Serves a router on a TCP port until `shutdown`, as [`serve_on`].
///
/// # Errors
/// [`io::Error`] when the listener is not usable. Failing to accept one connection is not an error.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Http,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "HTTP API listening");
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "can't set TCP_NODELAY");
        }
    });
    serve_on(listener, router, limits, shutdown).await;
    Ok(())
}

/// Serves a router until `shutdown`, then finishes what is in progress, for 5 s at the most.
///
/// HTTP/1.1 only: nobody needs HTTP/2 here, and a caller that must first be asked which it speaks could hold a
/// connection open by saying nothing.
pub async fn serve_on<L: Listener<Addr: Display>>(
    mut listener: L,
    router: Router,
    limits: &Http,
    shutdown: impl Future<Output = ()>,
) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.max_head_bytes);
    let (closing, mut connections, mut shutdown) = (CancellationToken::new(), JoinSet::new(), pin!(shutdown));
    let mut places = Places::new(limits.max_connections);
    loop {
        tokio::select! {
            (place, stream, remote) = accepted(&mut listener, &mut places) => {
                let remote = Remote(remote.to_string().into());
                let stream = Impatient::new(stream, limits.write_timeout);
                let served = connection(stream, remote, router.clone(), builder.clone(), closing.clone());
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Some(_ended) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    closing.cancel();
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, finished).await.is_err() {
        tracing::warn!("HTTP connections still open after the shutdown were cut");
    }
}

/// Places for connections, and whether it was told that there is none.
struct Places {
    free: Arc<Semaphore>,
    all: usize,
    told: bool,
}

impl Places {
    fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), all, told: false }
    }

    /// A place, now or when one is free.
    async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        let free = self.free.available_permits();
        if free == 0 && !self.told {
            tracing::warn!(
                http.max_connections = self.all,
                "all HTTP connections are taken; further callers wait until one ends"
            );
        }
        // Told again only once there was some air in between.
        self.told = free == 0 || (self.told && free < self.all.div_ceil(4));
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// The next connection, once there is a place for it: those beyond wait in the operating system's queue and cost this
/// process nothing. Axum's listener waits and goes on when accepting fails, such as for want of file descriptors.
async fn accepted<L: Listener>(
    listener: &mut L,
    places: &mut Places,
) -> (Option<OwnedSemaphorePermit>, L::Io, L::Addr) {
    let place = places.take().await;
    let (stream, remote) = listener.accept().await;
    (place, stream, remote)
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    remote: Remote,
    router: Router,
    builder: Builder<TokioExecutor>,
    closing: CancellationToken,
) {
    let service = router.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(remote.clone());
        request
    });
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended");
    }
}
