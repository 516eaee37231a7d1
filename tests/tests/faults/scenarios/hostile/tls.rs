//! Clients that have no certificate, one that does not fit, or nothing to say in the handshake.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};
use sorcha_proto::v1::{
    self, central_node_connection_client::CentralNodeConnectionClient, heartbeat_client::HeartbeatClient,
};
use sorcha_runtime::tls::testing::{Ca, Leaf, Pair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Status};

use super::{
    MAX_CONNECTIONS,
    grpc::{now, session},
    target::{Target, handshake, is_cut, tcp},
};
use crate::authority::{Authority, identity};

/// `limits.handshake_timeout`, and what a busy machine adds.
const CUT_WITHIN: Duration = Duration::from_secs(10);
const STRANGERS: usize = 100;
const HALVES: usize = 1_000;
/// Any bytes do.
const GARBAGE: u64 = 7;

fn authority(target: &Target) -> Result<&Authority> {
    target.authority.as_ref().context("the network has no certificates")
}

/// Whether a client with this certificate gets anything of HTTP/2 from the node, which speaks first once it lets one in.
async fn is_let_in(target: &Target, pair: Option<&Pair>) -> Result<bool> {
    let tcp = tcp(target.grpc).await?;
    let Ok(mut stream) = handshake(authority(target)?, pair, &[b"h2"], tcp).await else { return Ok(false) };
    let mut words = [0; 9];
    let reading = tokio::time::timeout(CUT_WITHIN, stream.read_exact(&mut words));
    Ok(reading.await.context("neither let in nor refused")?.is_ok())
}

/// No certificate, one of another CA, one that vouches for itself, one that has ended: none is let in.
pub(super) async fn strangers(target: Target) -> Result<String> {
    let authority = authority(&target)?;
    let leaf = Leaf { uris: vec![identity("sorchapeer", "edge")], ..Leaf::default() };
    let over = Leaf { not_after: 1_000_000_000, ..leaf.clone() };
    let shown = [
        None,
        Some(Ca::new("another").issue(&leaf)),
        Some(Pair::self_signed()),
        Some(authority.ca.issue(&over)),
    ];
    for number in 0..STRANGERS {
        let pair = shown[number % shown.len()].as_ref();
        ensure!(!is_let_in(&target, pair).await?, "client {} of those with no certificate is let in", number);
    }
    Ok(format!("{STRANGERS} clients without a good certificate, none let in"))
}

/// Bytes in the place of a greeting, after its beginning, and after a whole one.
pub(super) async fn garbage(target: Target) -> Result<String> {
    let (mut random, mut there) = (SmallRng::seed_from_u64(GARBAGE), Vec::new());
    for number in 0..200 {
        let mut stream = tcp(target.grpc).await?;
        let mut bytes = vec![0; random.random_range(1..40_000)];
        random.fill_bytes(&mut bytes);
        match number % 3 {
            0 => {}
            // A handshake record whose length the bytes may not have.
            1 => drop(bytes.splice(0..0, [0x16, 0x03, 0x01, 0x40, 0x00, 0x01])),
            // A record of a kind that is not allowed yet.
            _ => drop(bytes.splice(0..0, [0x17, 0x03, 0x03, 0x00, 0x10])),
        }
        drop(stream.write_all(&bytes).await);
        there.push(stream);
    }
    for stream in &mut there {
        ensure!(is_cut(stream, CUT_WITHIN).await, "a handshake of garbage is not cut");
    }
    Ok("200 connections, all cut".to_owned())
}

/// The beginning of a greeting, on more connections than there are handshakes at once.
pub(super) async fn halves(target: Target) -> Result<String> {
    let mut there = Vec::new();
    for _ in 0..HALVES {
        let mut stream = tcp(target.grpc).await?;
        // It may have been cut to make room.
        drop(stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await);
        there.push(stream);
    }
    for stream in &mut there {
        ensure!(is_cut(stream, CUT_WITHIN).await, "half a handshake is not cut");
    }
    Ok(format!("{HALVES} connections, all cut"))
}

/// Whole handshakes, and nothing after them, on more connections than there are places.
pub(super) async fn silent(target: Target) -> Result<String> {
    const IN_ALL: usize = MAX_CONNECTIONS + 200;
    let mut there = Vec::new();
    for _ in 0..IN_ALL {
        there.push(target.grpc("mallory").await?);
    }
    for stream in &mut there {
        ensure!(is_cut(stream, CUT_WITHIN).await, "a connection that says nothing is not cut");
    }
    Ok(format!("{IN_ALL} connections, all cut"))
}

/// A good certificate, and calls in the names of peers that it does not speak for.
pub(super) async fn other_names(target: Target) -> Result<String> {
    let channel = target.channel("mallory").await?;
    let own = session(&channel, "mallory-0").await?;
    let mut calls = 0;
    for peer in ["edge-0", "edge-1", "mallory", "mallory-00", "mallory-1-0"] {
        let beat = v1::HeartbeatMessage {
            peer_id: peer.to_owned(),
            session_id: own.clone(),
            timestamp: now(),
            ..v1::HeartbeatMessage::default()
        };
        let leave = v1::DisconnectRequest {
            peer_id: peer.to_owned(),
            session_id: own.clone(),
            ..v1::DisconnectRequest::default()
        };
        let outcomes: [Result<(), Status>; 3] = [
            session(&channel, peer).await.map(drop),
            HeartbeatClient::new(channel.clone()).send_heartbeat(beat).await.map(drop),
            CentralNodeConnectionClient::new(channel.clone())
                .disconnect_from_central_node(leave)
                .await
                .map(drop),
        ];
        for outcome in outcomes {
            let code = outcome.as_ref().err().map(Status::code);
            ensure!(code == Some(Code::PermissionDenied), "a call as {peer}: {outcome:?}");
            calls += 1;
        }
    }
    Ok(format!("{calls} calls, all PERMISSION_DENIED"))
}
