//! A small HTTP server for probes. It has a thread and a runtime of its own, so that nothing which the process does, and nothing
//! that is done to its other ports, delays an answer; and it has bounds of its own, so that callers of this port don't either.
//!
//! One request a connection, with a small head and no body. The whole exchange has a deadline. While all places are taken the
//! oldest connection is ended at once for the next.
//!
//! Deliberately absent: what is answered (a router comes from outside, and its handlers wait for nothing), TLS, kept connections.
//! Begin with [`start`], [`Limits`], [`Server`].

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use sorcha_os::is_of_connection;
use tokio::{
    net::TcpStream,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Smallest buffer that the HTTP library takes for a head.
const HEAD_BYTES: usize = 8192;
/// Pause after a connection could not be accepted, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two log lines about that.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What callers may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// From accepting a connection to its end.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, deadline: Duration::from_secs(1) }
    }
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the probes panicked");
        }
    }
}

/// Serves a router whose handlers wait for nothing.
///
/// # Errors
/// [`io::Error`] when the listener is not usable, or there is no thread.
pub fn start(listener: TcpListener, router: Router, limits: Limits) -> io::Result<Server> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let work = move || {
        runtime.block_on(async {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => drop(stopped.run_until_cancelled(serve(listener, router, limits)).await),
                Err(error) => tracing::error!(%error, "probes are not answered"),
            }
        });
    };
    let thread = thread::Builder::new().name("probes".to_owned()).spawn(work)?;
    Ok(Server { stop, thread: Some(thread), address })
}

async fn serve(listener: tokio::net::TcpListener, router: Router, limits: Limits) -> Infallible {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().keep_alive(false).max_buf_size(HEAD_BYTES);
    let builder = Arc::new(builder);
    let (mut places, mut told) = (Places::new(limits.connections), None::<Instant>);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                places.take(connection(stream, router.clone(), Arc::clone(&builder), limits.deadline));
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    tracing::warn!(%error, "can't accept connections on the port of the probes");
                }
                places.make_room();
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    builder: Arc<Builder<TokioExecutor>>,
    deadline: Duration,
) {
    let service = router.map_request(|request: Request<_>| request.map(Body::new));
    let service = service.map_response(closing);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    // A caller that says nothing in time, or reads nothing, learns it from the end of the connection.
    drop(timeout(deadline, served).await);
}

fn closing(mut response: Response<Body>) -> Response<Body> {
    let close = axum::http::HeaderValue::from_static("close");
    response.headers_mut().insert(axum::http::header::CONNECTION, close);
    response
}

/// Connections under way, oldest first.
struct Places {
    most: usize,
    tasks: JoinSet<()>,
    there: VecDeque<AbortHandle>,
}

impl Places {
    fn new(most: usize) -> Self {
        Self { most: most.max(1), tasks: JoinSet::new(), there: VecDeque::new() }
    }

    /// A place for one more, at once.
    fn take(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.there.retain(|task| !task.is_finished());
        while self.there.len() >= self.most {
            self.make_room();
        }
        self.there.push_back(self.tasks.spawn(connection));
    }

    fn make_room(&mut self) {
        if let Some(oldest) = self.there.pop_front() {
            oldest.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    use axum::routing::get;

    use super::*;

    fn started(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        start(listener, Router::new().route("/livez", get(|| async { "Alive" })), limits).unwrap()
    }

    fn asked(server: &Server) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: n0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_probe_is_answered_and_its_connection_closed() {
        let answer = asked(&started(Limits::default()));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("Alive"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }

    #[test]
    fn silent_callers_of_the_probes_hold_up_no_probe() {
        let server = started(Limits { connections: 8, deadline: Duration::from_secs(60) });
        let mut silent: Vec<_> = (0..100)
            .map(|number| {
                let mut stream = TcpStream::connect(server.address()).unwrap();
                if number % 2 == 0 {
                    // It may have been ended already.
                    drop(stream.write_all(b"GET /livez HTTP/1.1\r\nx-slow: "));
                }
                stream
            })
            .collect();
        let before = Instant::now();
        assert!(asked(&server).starts_with("HTTP/1.1 200"));
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
        let mut oldest = silent.swap_remove(0);
        oldest.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert!(matches!(oldest.read(&mut [0; 16]), Ok(0) | Err(_)), "the oldest is ended");
    }

    #[test]
    fn an_exchange_that_takes_too_long_is_cut() {
        let server = started(Limits { connections: 8, deadline: Duration::from_millis(200) });
        let before = Instant::now();
        let mut silent = TcpStream::connect(server.address()).unwrap();
        silent.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0);
        assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    }

    #[test]
    fn the_thread_ends_with_the_server() {
        let address = started(Limits::default()).address();
        assert!(TcpStream::connect(address).is_err(), "nothing listens any more");
    }
}
