//! HTTP/2 as no library would speak it: frames by hand.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    MAX_STREAMS,
    target::{Target, Wire, is_cut},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const CUT_WITHIN: Duration = Duration::from_secs(10);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a call, RFC 7541: indexed where it can be, else literal.
fn call() -> Vec<u8> {
    let path = b"/sorcha.peer.v1.CentralNodeConnection/GetCentralNodeStatus";
    let literal =
        |name: u8, value: &[u8]| [&[name, u8::try_from(value.len()).unwrap_or_default()], value].concat();
    // :method POST, :scheme http, :path, :authority
    [&[0x83, 0x86][..], &literal(0x04, path), &literal(0x01, b"n0.sorcha.dev")].concat()
}

async fn opened(target: &Target) -> Result<Wire> {
    let mut stream = target.grpc("mallory").await?;
    stream.write_all(PREFACE).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    Ok(stream)
}

/// Frames until the other side closes, or says nothing for a second.
async fn answers(stream: &mut Wire) -> Vec<u8> {
    let (mut kinds, mut head) = (Vec::new(), [0; 9]);
    while let Ok(Ok(_)) = timeout(Duration::from_secs(1), stream.read_exact(&mut head)).await {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        kinds.push(head[3]);
    }
    kinds
}

/// Twenty times as many streams as a connection may have, none of them with a message.
pub(super) async fn streams(target: Target) -> Result<String> {
    let mut stream = opened(&target).await?;
    let opening = |number| frame(HEADERS, END_HEADERS, 2 * number + 1, &call());
    let burst: Vec<u8> = (0..u32::try_from(20 * MAX_STREAMS)?).flat_map(opening).collect();
    // The connection may be ended before all is written.
    drop(stream.write_all(&burst).await);
    let kinds = answers(&mut stream).await;
    let refused = kinds.iter().filter(|kind| **kind == RST_STREAM).count();
    let is_over = kinds.contains(&GOAWAY);
    ensure!(is_over || refused >= 19 * MAX_STREAMS, "{refused} streams refused, connection over: {is_over}");
    ensure!(is_cut(&mut stream, CUT_WITHIN).await, "the connection is not cut");
    Ok(format!("{refused} refused, connection ended: {is_over}, then cut"))
}

/// Streams that are reset as soon as they are opened (CVE-2023-44487).
pub(super) async fn resets(target: Target) -> Result<String> {
    let mut ended = 0;
    for _ in 0..10 {
        let mut stream = opened(&target).await?;
        let mut burst = Vec::new();
        for number in 0..5_000u32 {
            burst.extend(frame(HEADERS, END_HEADERS, 2 * number + 1, &call()));
            burst.extend(frame(RST_STREAM, 0, 2 * number + 1, &8u32.to_be_bytes()));
        }
        let (mut reading, mut writing) = tokio::io::split(&mut stream);
        let mut sink = tokio::io::sink();
        // It reads as well as it writes, so that nothing but the limit ends it.
        let written = tokio::select! {
            written = writing.write_all(&burst) => written,
            read = tokio::io::copy(&mut reading, &mut sink) => read.map(drop),
        };
        drop(written);
        ensure!(is_cut(&mut stream, CUT_WITHIN).await, "the connection is not ended");
        ended += 1;
    }
    Ok(format!("{ended} connections with 5000 streams each, all ended"))
}

/// Frames that ask for answers which are never read.
pub(super) async fn pings(target: Target) -> Result<String> {
    let mut asked = 0;
    for asking in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut stream = opened(&target).await?;
        let burst = asking.repeat(1000);
        let flood = async {
            while stream.write_all(&burst).await.is_ok() {
                asked += 1000;
            }
        };
        ensure!(timeout(CUT_WITHIN, flood).await.is_ok(), "{asked} frames, and the connection is not ended");
    }
    Ok(format!("{asked} frames, then cut"))
}

/// A header block that goes on and on (CVE-2024-27316).
pub(super) async fn headers(target: Target) -> Result<String> {
    let mut stream = opened(&target).await?;
    stream.write_all(&frame(HEADERS, 0, 1, &call())).await?;
    // A literal header without indexing: a name of 5 bytes, a value of 127.
    let header = [&[0, 5][..], b"x-abc", &[126], &[b'y'; 126]].concat();
    let part = frame(CONTINUATION, 0, 1, &header.repeat(100));
    let mut sent = 0;
    let flood = async {
        while stream.write_all(&part).await.is_ok() {
            sent += part.len();
        }
    };
    ensure!(
        timeout(CUT_WITHIN, flood).await.is_ok(),
        "{sent} bytes of headers, and the connection is not ended"
    );
    Ok(format!("{} KB of headers, then cut", sent / 1024))
}
