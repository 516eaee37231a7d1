//! Connections that say nothing of use.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::io::AsyncWriteExt as _;

use super::{
    MAX_CONNECTIONS,
    target::{Target, is_cut, tcp},
};

const WAVES: usize = 5;
const WAVE: usize = 2_000;
/// `limits.sessionless_connection`, the sweep, and what a busy machine adds.
const CUT_WITHIN: Duration = Duration::from_secs(10);
/// Any bytes do.
const GARBAGE: u64 = 7;

/// Ten thousand connections, two thousand at a time: more than there are places. With TLS two thousand: each of them takes the
/// place of a handshake for a second.
pub(super) async fn silent(target: Target) -> Result<String> {
    ensure!(WAVE > MAX_CONNECTIONS);
    let started = Instant::now();
    let waves = if target.authority.is_some() { 1 } else { WAVES };
    for _ in 0..waves {
        let mut there = Vec::with_capacity(WAVE);
        for _ in 0..WAVE {
            there.push(tcp(target.grpc).await?);
        }
        // The last one says nothing for as long as it is let.
        let mut last = there.pop().context("a connection")?;
        ensure!(is_cut(&mut last, CUT_WITHIN).await, "a silent connection is not cut");
    }
    Ok(format!("{} connections, all cut or refused, {:.1} s", waves * WAVE, started.elapsed().as_secs_f64()))
}

/// Connections that are reset before the node has looked at them.
pub(super) async fn reset(target: Target) -> Result<String> {
    for _ in 0..2_000 {
        let stream = tcp(target.grpc).await?;
        stream.set_zero_linger()?;
    }
    Ok("2000 connections".to_owned())
}

/// Bytes that are no HTTP/2, or no longer after its preface.
pub(super) async fn garbage(target: Target) -> Result<String> {
    let mut random = SmallRng::seed_from_u64(GARBAGE);
    for number in 0..200 {
        let mut stream = target.grpc("mallory").await?;
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
