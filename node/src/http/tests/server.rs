//! The server over real sockets: slow callers and the end.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Instant,
};

use super::*;
use crate::http::serve;

/// A server, the way to stop it, and its end.
async fn started(router: Router) -> (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel());
    let served = tokio::spawn(async move {
        let shutdown = async move { drop(stopped.await) };
        serve(listener, router, shutdown).await.unwrap();
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
