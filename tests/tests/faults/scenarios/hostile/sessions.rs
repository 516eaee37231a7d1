//! Calls in the name of others.

use anyhow::{Context as _, Result, ensure};
use sorcha_proto::v1::{
    self, central_node_connection_client::CentralNodeConnectionClient, heartbeat_client::HeartbeatClient,
};
use tonic::Code;

use super::{
    MAX_PEERS,
    grpc::{now, session},
    target::Target,
};

const CONNECTS: usize = 2_000;
const GUESSES: usize = 200;

/// A new peer at each connect: the bucket of all connects, then the table of sessions, are full.
pub(super) async fn connects(target: Target) -> Result<String> {
    let channel = target.channel("sybil").await?;
    let (mut taken, mut refused) = (0, 0);
    for number in 0..CONNECTS {
        match session(&channel, &format!("sybil-{number}")).await {
            Ok(_) => taken += 1,
            Err(status) if status.code() == Code::ResourceExhausted => refused += 1,
            Err(status) => return Err(status).context("a connect"),
        }
    }
    ensure!(taken <= MAX_PEERS, "{taken} sessions, {MAX_PEERS} is the limit");
    Ok(format!("{CONNECTS} connects, {taken} sessions, {refused} times RESOURCE_EXHAUSTED"))
}

/// The session of another peer in the thief's own name, and guessed sessions in the name of the other peer.
pub(super) async fn replay(target: Target) -> Result<String> {
    let victim = target.channel("victim").await?;
    let stolen = session(&victim, "victim-0").await?;
    let channel = target.channel("thief").await?;
    let mut heartbeats = HeartbeatClient::new(channel.clone());
    let mut connections = CentralNodeConnectionClient::new(channel);
    let mut tries = vec![("thief-0".to_owned(), stolen.clone())];
    tries.extend((0..GUESSES).map(|number| {
        let mut guess = stolen.clone().into_bytes();
        let at = number % guess.len();
        guess[at] = if guess[at] == b'0' { b'1' } else { b'0' };
        ("victim-0".to_owned(), String::from_utf8_lossy(&guess).into_owned())
    }));
    for (peer_id, session_id) in tries {
        let beat = v1::HeartbeatMessage {
            peer_id: peer_id.clone(),
            session_id: session_id.clone(),
            timestamp: now(),
            ..v1::HeartbeatMessage::default()
        };
        let refused = [
            heartbeats.send_heartbeat(beat).await.map(|answer| answer.into_inner().success),
            connections
                .disconnect_from_central_node(v1::DisconnectRequest {
                    peer_id,
                    session_id,
                    ..Default::default()
                })
                .await
                .map(|answer| answer.into_inner().success),
        ];
        for outcome in refused {
            let is_refused = match &outcome {
                Ok(success) => !success,
                Err(status) => {
                    matches!(
                        status.code(),
                        Code::NotFound
                            | Code::FailedPrecondition
                            | Code::ResourceExhausted
                            | Code::PermissionDenied
                    )
                }
            };
            ensure!(is_refused, "the session of another peer was used: {outcome:?}");
        }
    }
    Ok(format!("{GUESSES} guesses and a replay, all refused"))
}
