//! The HTTP port.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    MAX_HTTP,
    target::{Target, is_cut},
};
use crate::api::TOKEN;

const HALF: usize = 1_000;
const CUT_WITHIN: Duration = Duration::from_secs(10);

/// Requests that never become whole, on more connections than there are; a reader gets an answer all the same.
pub(super) async fn half(target: Target) -> Result<String> {
    let (mut there, mut slowest) = (Vec::new(), Duration::ZERO);
    for number in 0..HALF {
        let mut stream = target.http().await?;
        // It may have been closed to make room.
        drop(stream.write_all(b"GET /api/system-register HTTP/1.1\r\nhost: n0\r\nx-slow: ").await);
        there.push(stream);
        if number % (MAX_HTTP / 2) == 0 {
            let asked = Instant::now();
            // A connection kept open from before may be the one that makes room.
            if target.api.register(target.http).await.is_err() {
                target.api.register(target.http).await?;
            }
            slowest = slowest.max(asked.elapsed());
        }
    }
    for stream in &mut there {
        ensure!(is_cut(stream, CUT_WITHIN).await, "half a request is not cut");
    }
    Ok(format!("{HALF} connections, all cut; readers waited {} ms at most", slowest.as_millis()))
}

async fn answer(target: &Target, request: &[u8]) -> Result<String> {
    let mut stream = target.http().await?;
    drop(stream.write_all(request).await);
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    drop(tokio::time::timeout(CUT_WITHIN, reading).await?);
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Heads and bodies over their limits; the body of a caller without a token is not read at all.
pub(super) async fn large(target: Target) -> Result<String> {
    let head = format!("GET / HTTP/1.1\r\nhost: n0\r\nx-large: {}\r\n\r\n", "x".repeat(1 << 20));
    let first = answer(&target, head.as_bytes()).await?;
    ensure!(first.is_empty() || first.contains(" 431 "), "a head of 1 MB: {first}");
    let publish = |token: &str, length: u64| {
        format!(
            "POST /api/system-register/publish HTTP/1.1\r\nhost: n0\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut told = Vec::new();
    for (token, length, status) in [
        ("nobody", 1 << 40, " 401 "),
        (TOKEN, 1 << 40, " 413 "),
        (TOKEN, 64 << 20, " 413 "),
        // Said, and never sent.
        (TOKEN, 1000, " 408 "),
    ] {
        let first = answer(&target, publish(token, length).as_bytes()).await?;
        ensure!(first.contains(status), "a body of {length} bytes: {first:?}, not {status}");
        told.push(status.trim());
    }
    Ok(format!("head of 1 MB refused; bodies: {}", told.join(", ")))
}

/// Large answers that are asked for and not read.
pub(super) async fn unread(target: Target) -> Result<String> {
    let mut there = Vec::new();
    for number in 0..MAX_HTTP {
        let mut stream = target.http().await?;
        let path = format!("/api/system-register/blueprints/large-{}?raw=true", number % super::LARGE);
        let request = format!("GET {path} HTTP/1.1\r\nhost: n0\r\n\r\n");
        drop(stream.write_all(request.repeat(50).as_bytes()).await);
        there.push(stream);
    }
    // Nothing is taken from any of them until all should have been given up.
    tokio::time::sleep(Duration::from_secs(4)).await;
    target.api.register(target.http).await?;
    let mut cut = 0;
    for stream in &mut there {
        cut += usize::from(is_cut(stream, CUT_WITHIN).await);
    }
    ensure!(cut == there.len(), "{} of {} connections are not cut", there.len() - cut, there.len());
    Ok(format!("{cut} connections with 50 requests each, all cut"))
}
