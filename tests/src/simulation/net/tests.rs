use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use super::*;

const A: Host = Host::Peer(0);
const B: Host = Host::Central(0);
const SECOND: Duration = Duration::from_secs(1);

fn net() -> Net {
    let link = Link { latency: Duration::from_millis(10), jitter: Duration::ZERO, ..Link::default() };
    Net::new(1, link)
}

/// Both ends of a connection.
async fn connected(net: &Net) -> (SimStream, SimStream) {
    let mut incoming = net.listen(B, Port::Grpc);
    let client = net.connect(A, B, Port::Grpc).await.unwrap();
    let (server, _) = axum::serve::Listener::accept(&mut incoming).await;
    (client, server)
}

async fn read(stream: &mut SimStream) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64];
    let count = stream.read(&mut buffer).await?;
    buffer.truncate(count);
    Ok(buffer)
}

#[tokio::test(start_paused = true)]
async fn bytes_take_the_links_time_and_keep_their_order() {
    let net = net();
    let (mut client, mut server) = connected(&net).await;
    let started = Instant::now();
    client.write_all(b"one ").await.unwrap();
    client.write_all(b"two").await.unwrap();
    let mut got = read(&mut server).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(10));
    got.extend(read(&mut server).await.unwrap());
    assert_eq!(got, b"one two");
}

#[tokio::test(start_paused = true)]
async fn what_a_cut_holds_up_arrives_once_it_is_over() {
    let net = net();
    let (mut client, mut server) = connected(&net).await;
    net.change(A, B, |link| link.blocked = true);
    client.write_all(b"late").await.unwrap();
    assert!(timeout(SECOND * 60, read(&mut server)).await.is_err(), "nothing passes");
    server.write_all(b"back").await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), b"back", "the other way is open");
    net.change(A, B, |link| link.blocked = false);
    assert_eq!(timeout(SECOND * 5, read(&mut server)).await.unwrap().unwrap(), b"late");
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_resets_and_a_machine_without_power_is_silent() {
    let net = net();
    let (mut client, _server) = connected(&net).await;
    net.kill(B);
    assert!(timeout(SECOND, read(&mut client)).await.unwrap().is_err());
    let refused = net.connect(A, B, Port::Grpc).await.err().map(|error| error.kind());
    assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused), "nobody listens any more");

    let (mut client, _server) = connected(&net).await;
    net.power_off(B);
    client.write_all(b"hello?").await.unwrap();
    assert!(timeout(SECOND * 600, read(&mut client)).await.is_err(), "silence");
    assert!(timeout(SECOND * 600, net.connect(A, B, Port::Grpc)).await.is_err(), "silence");
    net.power_on(B);
    assert!(
        timeout(SECOND * 5, read(&mut client)).await.unwrap().is_err(),
        "it knows nothing of the connection"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kernel_accepts_for_a_process_that_stands_still() {
    let net = net();
    let mut incoming = net.listen(B, Port::Grpc);
    net.hang(B, true);
    let mut client = timeout(SECOND, net.connect(A, B, Port::Grpc)).await.unwrap().unwrap();
    client.write_all(b"hello").await.unwrap();
    let (mut server, _) = axum::serve::Listener::accept(&mut incoming).await;
    assert!(timeout(SECOND * 60, read(&mut server)).await.is_err());
    net.hang(B, false);
    assert_eq!(timeout(SECOND * 5, read(&mut server)).await.unwrap().unwrap(), b"hello");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_dropped_closes_the_connection() {
    let net = net();
    let (mut client, mut server) = connected(&net).await;
    client.write_all(b"bye").await.unwrap();
    assert_eq!(net.outgoing(A, |_| true), 1);
    drop(client);
    assert_eq!(net.outgoing(A, |_| true), 0);
    assert_eq!(read(&mut server).await.unwrap(), b"bye");
    assert_eq!(read(&mut server).await.unwrap(), b"", "the end comes after the bytes");
    let written = server.write_all(b"anybody?").await;
    assert!(written.is_err(), "nobody reads");
}
