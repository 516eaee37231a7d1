//! The HTTP server: so many connections and no more, bounded waits for slow callers, and a bounded goodbye.

use std::{
    fmt::Display,
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

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
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{audit::Remote, places::Places, stall::Impatient};
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
            // Axum's listener waits and goes on when accepting fails, such as for want of file descriptors.
            (stream, remote) = listener.accept() => {
                let place = tokio::select! {
                    place = places.take() => place,
                    () = &mut shutdown => break,
                };
                let stream = Impatient::new(stream, limits.write_timeout);
                let caller = Caller { remote: Remote(remote.to_string().into()), asked: Arc::default() };
                let served = connection(stream, caller, router.clone(), builder.clone(), closing.clone(), place.gives_way());
                connections.spawn(async move {
                    served.await;
                    // The place is free from here on.
                    place.leave()
                });
            }
            Some(ended) = connections.join_next() => places.left(ended.ok().as_ref()),
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

/// The other end of a connection.
struct Caller {
    remote: Remote,
    /// Whether it has asked for anything yet.
    asked: Arc<AtomicBool>,
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    caller: Caller,
    router: Router,
    builder: Builder<TokioExecutor>,
    closing: CancellationToken,
    gives_way: CancellationToken,
) {
    let Caller { remote, asked } = caller;
    let asks = Arc::clone(&asked);
    let service = router.map_request(move |mut request: Request<_>| {
        asks.store(true, Ordering::Relaxed);
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
        () = gives_way.cancelled() => {
            // For a caller that has asked for nothing there is nothing to finish.
            if !asked.load(Ordering::Relaxed) {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended");
    }
}
