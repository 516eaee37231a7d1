//! The HTTP server: so many connections and no more, bounded waits for slow callers, and a bounded goodbye. It never waits to accept
//! the next connection.

use std::{fmt::Display, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{Request, Response},
    serve::Listener,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use sorcha_config::Http;
use sorcha_runtime::accept::Acceptor;
use sorcha_runtime::{metrics::Metrics, source::Source};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{Service as _, service_fn};

use super::{
    audit::Remote,
    metered::{Answered, Metered, Sent},
    pace::{Meter, Rules},
    places::{Place, Places},
};

/// Time for answers in progress after the shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at who is overdue.
const SWEEP: Duration = Duration::from_millis(500);

/// Serves a router on a TCP port until `shutdown`, as [`serve_on`].
///
/// # Errors
/// [`io::Error`] when the listener is not usable. Failing to accept one connection is not an error.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Http,
    metrics: &Metrics,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "HTTP API listening");
    let places = places(limits, metrics);
    let relief = Arc::clone(&places);
    let acceptor = Acceptor::new(listener, "listen.http", metrics.clone())
        .with_little_unsent()
        .relieved_by(move || relief.relieve());
    serve_in(places, Plain(acceptor), router, limits, shutdown).await;
    Ok(())
}

/// Plain connections.
struct Plain(Acceptor);

impl Listener for Plain {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Serves a router until `shutdown`, then finishes what is in progress, for 5 s at the most.
///
/// HTTP/1.1 only: nobody needs HTTP/2 here, and a caller that must first be asked which it speaks could hold a
/// connection open by saying nothing.
pub async fn serve_on<L: Listener<Addr: Display>>(
    listener: L,
    router: Router,
    limits: &Http,
    metrics: &Metrics,
    shutdown: impl Future<Output = ()>,
) {
    serve_in(places(limits, metrics), listener, router, limits, shutdown).await;
}

pub(super) fn places(limits: &Http, metrics: &Metrics) -> Arc<Places> {
    Places::new(limits.max_connections, Rules::from(limits), metrics.clone())
}

pub(super) async fn serve_in<L: Listener<Addr: Display>>(
    places: Arc<Places>,
    mut listener: L,
    router: Router,
    limits: &Http,
    shutdown: impl Future<Output = ()>,
) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().header_read_timeout(None).max_buf_size(limits.max_head_bytes);
    let builder = Arc::new(builder);
    let (closing, mut connections, mut shutdown) = (CancellationToken::new(), JoinSet::new(), pin!(shutdown));
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            (stream, remote) = listener.accept() => {
                let place = places.take(Source::of(&remote));
                let remote = Remote(remote.to_string().into());
                connections.spawn(connection(stream, remote, router.clone(), Arc::clone(&builder), closing.clone(), place));
            }
            Some(_) = connections.join_next() => {}
            _ = sweep.tick(), if !places.is_empty() => places.sweep(),
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    closing.cancel();
    let finished = async {
        loop {
            tokio::select! {
                ended = connections.join_next() => if ended.is_none() { break },
                _ = sweep.tick() => places.sweep(),
            }
        }
    };
    if timeout(GRACE, finished).await.is_err() {
        tracing::warn!("HTTP connections still open after the shutdown were cut");
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    remote: Remote,
    router: Router,
    builder: Arc<Builder<TokioExecutor>>,
    closing: CancellationToken,
    place: Place,
) {
    let meter = Arc::clone(&place.meter);
    let service =
        service_fn(move |request| answer(router.clone(), request, remote.clone(), Arc::clone(&meter)));
    let stream = TokioIo::new(Metered::new(stream, Arc::clone(&place.meter)));
    let mut connection = pin!(builder.serve_connection(stream, TowerToHyperService::new(service)));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => served,
                () = place.cut.cancelled() => return,
            }
        }
        () = place.cut.cancelled() => return,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended");
    }
}

/// Has one request answered, and measures it.
async fn answer<B>(
    mut router: Router,
    mut request: Request<B>,
    remote: Remote,
    meter: Arc<Meter>,
) -> Result<Response<Body>, std::convert::Infallible>
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    let in_progress = meter.begins();
    request.extensions_mut().insert(remote);
    let request = request.map(|body| Body::new(Sent::new(body, meter)));
    let response = router.call(request).await?;
    Ok(response.map(|body| Body::new(Answered::new(body, in_progress))))
}
