//! Connections that say nothing of use.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, RngExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{MAX_CONNECTIONS, Target};

const IN_ALL: usize = 10_000;
const WAVE: usize = 2_000;
/// `limits.sessionless_connection`, the sweep, and what a busy machine adds.
const CUT_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn connect(port: u16) -> Result<TcpStream> {
    timeout(Duration::from_secs(5), TcpStream::connect(("127.0.0.1", port))).await?.context("connect")
}

/// Whether the other side has ended the connection, within this time.
pub(super) async fn is_cut(stream: &mut TcpStream, within: Duration) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    timeout(within, async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} }).await.is_ok()
}

/// Ten thousand connections, two thousand at a time: more than there are places.
pub(super) async fn silent(target: Target) -> Result<String> {
    ensure!(WAVE > MAX_CONNECTIONS);
    let started = Instant::now();
    for _ in 0..IN_ALL / WAVE {
        let mut there = Vec::with_capacity(WAVE);
        for _ in 0..WAVE {
            there.push(connect(target.grpc).await?);
        }
        // The last one says nothing for as long as it is let.
        let mut last = there.pop().context("a connection")?;
        ensure!(is_cut(&mut last, CUT_WITHIN).await, "a silent connection is not cut");
    }
    Ok(format!("{IN_ALL} connections, all cut or refused, {:.1} s", started.elapsed().as_secs_f64()))
}

/// Connections that are reset before the node has looked at them.
pub(super) async fn reset(target: Target) -> Result<String> {
    for _ in 0..2_000 {
        let stream = connect(target.grpc).await?;
        stream.set_zero_linger()?;
    }
    Ok("2000 connections".to_owned())
}

/// Bytes that are no HTTP/2, or no longer after its preface.
pub(super) async fn garbage(target: Target) -> Result<String> {
    let mut random = rand::rng();
    for number in 0..200 {
        let mut stream = connect(target.grpc).await?;
        let mut bytes = vec![0; random.random_range(1..40_000)];
        random.fill_bytes(&mut bytes);
        if number % 2 == 0 {
            bytes.splice(0..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        }
        // It may be closed before all is written.
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
        ensure!(is_cut(&mut stream, CUT_WITHIN).await, "a connection with garbage is not cut");
    }
    Ok("200 connections, all cut".to_owned())
}
