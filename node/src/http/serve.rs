//! The HTTP server: bounded waits for slow callers, and a bounded goodbye.

use std::{future::Future, io, pin::pin, time::Duration};

use axum::{
    Router,
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

/// Time for the head of a request to arrive; also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(10);
/// Time for answers in progress after the shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Serves a router on a TCP port until `shutdown`, as [`serve_on`].
///
/// # Errors
/// [`io::Error`] when the listener is not usable. Failing to accept one connection is not an error.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "HTTP API listening");
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "can't set TCP_NODELAY");
        }
    });
    serve_on(listener, router, shutdown).await;
    Ok(())
}

/// Serves a router until `shutdown`, then finishes what is in progress, for 5 s at the most.
///
/// HTTP/1.1 only: nobody needs HTTP/2 here, and a caller that must first be asked which it speaks could hold a
/// connection open by saying nothing.
pub async fn serve_on(mut listener: impl Listener, router: Router, shutdown: impl Future<Output = ()>) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    let (closing, mut connections, mut shutdown) = (CancellationToken::new(), JoinSet::new(), pin!(shutdown));
    loop {
        tokio::select! {
            // Axum's listener waits and goes on when accepting fails, such as for want of file descriptors.
            (stream, _remote) = listener.accept() => {
                connections.spawn(connection(stream, router.clone(), builder.clone(), closing.clone()));
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

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    builder: Builder<TokioExecutor>,
    closing: CancellationToken,
) {
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
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
