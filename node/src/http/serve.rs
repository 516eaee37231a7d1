//! The HTTP server: bounded waits for slow callers, and a bounded goodbye.

use std::{future::Future, io, pin::pin, time::Duration};

use axum::{Router, serve::Listener};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Time for the head of a request to arrive; also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(10);
/// Time for answers in progress after the shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Serves a router until `shutdown`, then finishes what is in progress, for 5 s at the most.
///
/// HTTP/1.1 only: nobody needs HTTP/2 here, and a caller that must first be asked which it speaks could hold a
/// connection open by saying nothing.
///
/// # Errors
/// [`io::Error`] when the listener is not usable. Failing to accept one connection is not an error.
pub async fn serve(
    mut listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "HTTP API listening");
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    let (closing, mut connections, mut shutdown) = (CancellationToken::new(), JoinSet::new(), pin!(shutdown));
    loop {
        tokio::select! {
            // Axum's listener waits and goes on when accepting fails, such as for want of file descriptors.
            (stream, _remote) = Listener::accept(&mut listener) => {
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
    Ok(())
}

async fn connection(
    stream: TcpStream,
    router: Router,
    builder: Builder<TokioExecutor>,
    closing: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "can't set TCP_NODELAY");
    }
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
