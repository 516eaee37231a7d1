//! The server over real sockets: slow callers and the end.

use std::time::Duration;

use sorcha_config::Http;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Instant,
};

use super::*;
use crate::serve;

type Started = (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>);

/// A server, the way to stop it, and its end.
async fn started(router: Router) -> Started {
    started_within(router, Http::default()).await
}

async fn started_within(router: Router, limits: Http) -> Started {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel());
    let served = tokio::spawn(async move {
        let shutdown = async move { drop(stopped.await) };
        serve(listener, router, &limits, &Metrics::disabled(), shutdown).await.unwrap();
    });
    (address, stop, served)
}

async fn read_some(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let length = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn answers_then_stops_at_once_with_idle_connections() {
    let (router, _) = central(|_| ()).await;
    let (address, stop, served) = started(router).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: n0\r\n\r\n").await.unwrap();
    assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
    let before = Instant::now();
    stop.send(()).unwrap();
    served.await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(4), "an idle connection must not hold the node");
    assert_eq!(read_some(&mut stream).await, "");
}

#[tokio::test(start_paused = true)]
async fn heads_that_do_not_come_are_given_up() {
    let (router, _) = central(|_| ()).await;
    let (address, _stop, _served) = started(router).await;
    for sent in ["", "GET /livez HTTP/1.1\r\nhost: n0\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let before = Instant::now();
        let answer = read_some(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        let waited = before.elapsed();
        assert!((10..=11).contains(&waited.as_secs()), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_in_progress_are_cut_after_a_while() {
    let endless = Router::new().route("/", axum::routing::get(std::future::pending::<()>));
    let (address, stop, served) = started(endless).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: n0\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = Instant::now();
    stop.send(()).unwrap();
    served.await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 5);
    assert_eq!(read_some(&mut stream).await, "");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_over_the_wire() {
    let (router, _) = central(|_| ()).await;
    let (address, _stop, _served) = started(router).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /api/system-register/publish HTTP/1.1\r\nhost: n0\r\ncontent-type: application/json\r\n\
                content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_some(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "refused without a 100 Continue: {answer}");
}

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: n0\r\nconnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn silent_callers_make_room_for_honest_ones() {
    let (router, _) = central(|_| ()).await;
    let (address, _stop, _served) =
        started_within(router, Http { max_connections: 8, ..Http::default() }).await;
    let before = Instant::now();
    let mut silent = Vec::new();
    // The first has asked for something before, and is idle now.
    for number in 0..8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let sent: &[u8] = if number == 0 { b"GET /livez HTTP/1.1\r\nhost: n0\r\n\r\n" } else { b"GET /li" };
        stream.write_all(sent).await.unwrap();
        if number == 0 {
            assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
        }
        silent.push(stream);
    }
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(LIVEZ).await.unwrap();
        assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
    }
    assert!(
        before.elapsed() < Duration::from_secs(3),
        "long before the limit of heads: {:?}",
        before.elapsed()
    );
    assert_eq!(read_some(&mut silent[0]).await, "", "the oldest has given way");
}

// Not in virtual time: that runs ahead of what comes over a socket.
#[tokio::test]
async fn a_new_caller_never_waits_although_all_places_work() {
    let router = Router::new()
        .route("/", axum::routing::get(std::future::pending::<()>))
        .route("/small", axum::routing::get(|| async { "small" }));
    let (address, _stop, _served) =
        started_within(router, Http { max_connections: 2, ..Http::default() }).await;
    let mut working = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: n0\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        working.push(stream);
    }
    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(b"GET /small HTTP/1.1\r\nhost: n0\r\n\r\n").await.unwrap();
    assert!(read_some(&mut next).await.ends_with("small"));
    assert_eq!(working[0].read(&mut [0; 16]).await.unwrap_or(0), 0, "the oldest was ended");
    let other = tokio::time::timeout(Duration::from_millis(100), working[1].read(&mut [0; 16])).await;
    assert!(other.is_err(), "and no other");
}

#[tokio::test(start_paused = true)]
async fn callers_beyond_the_limit_cost_no_task() {
    let (router, _) = central(|_| ()).await;
    let limits = Http { max_connections: 4, ..Http::default() };
    let (address, _stop, _served) = started_within(router, limits).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut streams = Vec::new();
    // Few enough for the queue of the operating system.
    for _ in 0..100 {
        streams.push(TcpStream::connect(address).await.unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(tasks() - before, 4, "a task a connection, and no more");
}

#[tokio::test(start_paused = true)]
async fn bodies_that_trickle_are_given_up() {
    let (router, node) = central(|config| {
        config.http.body_idle_timeout = Duration::from_secs(4);
        config.http.body_timeout = Duration::from_secs(20);
    })
    .await;
    let (address, _stop, _served) = started(router).await;
    let head = b"POST /api/system-register/publish HTTP/1.1\r\nhost: n0\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n";
    for (every, expected, limit) in [(60, 4, "within 4 s"), (2, 20, "within 20 s")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let before = Instant::now();
        stream.write_all(head).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let trickle = tokio::spawn(async move {
            while write.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(every)).await;
            }
        });
        let mut answer = vec![0; 4096];
        let length = read.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(limit), "{answer}");
        assert!((expected..=expected + 1).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
        trickle.abort();
    }
    assert_eq!(node.log.view().head().get(), 0);
}

#[tokio::test]
async fn heads_over_the_limit_are_refused() {
    let (router, _) = central(|_| ()).await;
    let (address, _stop, _served) =
        started_within(router, Http { max_head_bytes: 8192, ..Http::default() }).await;
    for (length, expected) in [(7000, "HTTP/1.1 200"), (9000, "HTTP/1.1 431")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /livez HTTP/1.1\r\nhost: n0\r\nx-long: {}\r\n\r\n", "x".repeat(length));
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_some(&mut stream).await;
        assert!(answer.starts_with(expected), "{length}: {answer}");
    }
}

#[tokio::test]
async fn a_caller_that_reads_nothing_is_cut() {
    let big = Router::new().route("/", axum::routing::get(|| async { vec![0_u8; 64 << 20] }));
    let limit = Duration::from_millis(700);
    let limits = Http { write_timeout: limit, ..Http::default() };
    let (address, _stop, _served) = started_within(big, limits).await;
    let mut deaf = TcpStream::connect(address).await.unwrap();
    deaf.write_all(b"GET / HTTP/1.1\r\nhost: n0\r\n\r\n").await.unwrap();
    assert!(read_some(&mut deaf).await.starts_with("HTTP/1.1 200 OK"), "its answer is in progress");
    tokio::time::sleep(3 * limit).await;
    let mut rest = Vec::new();
    let ended = deaf.read_to_end(&mut rest).await;
    assert!(ended.is_err() || rest.len() < 64 << 20, "{ended:?}: it was cut");
}
