//! Well-formed calls that ask for too much.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use sorcha_proto::{
    EncodedEntry,
    raw::system_register_sync_client::SystemRegisterSyncClient,
    v1::{
        self, central_node_connection_client::CentralNodeConnectionClient, heartbeat_client::HeartbeatClient,
    },
};
use tonic::{Code, Request, Status, Streaming, transport::Channel};

use super::target::Target;
use crate::network::PATIENCE;

/// More than `limits.max_request_bytes`.
const TOO_LARGE: usize = 300 * 1024;
const ENDLESS: usize = 50_000;
const UNREAD: usize = 16;
const FLOOD: &str = "flood-0";
const PATIENT: &str = "patient-0";

pub(super) async fn session(channel: &Channel, peer: &str) -> Result<String, Status> {
    let request = v1::ConnectRequest {
        peer_id: peer.to_owned(),
        peer_info: Some(v1::PeerInfo { node_type: "Peer".to_owned(), ..v1::PeerInfo::default() }),
        ..v1::ConnectRequest::default()
    };
    let response = CentralNodeConnectionClient::new(channel.clone()).connect_to_central_node(request).await?;
    Ok(response.into_inner().session_id)
}

pub(super) fn now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn beat(peer: &str, session: &str) -> v1::HeartbeatMessage {
    v1::HeartbeatMessage {
        peer_id: peer.to_owned(),
        session_id: session.to_owned(),
        timestamp: now(),
        node_type: "Peer".to_owned(),
        ..v1::HeartbeatMessage::default()
    }
}

async fn first<T>(streaming: Result<tonic::Response<Streaming<T>>, Status>) -> Result<(), Status> {
    match streaming?.into_inner().next().await {
        Some(Err(status)) => Err(status),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// A message of each call that is larger than any that the contract knows.
pub(super) async fn oversize(target: Target) -> Result<String> {
    let channel = target.channel("mallory").await?;
    let long = "x".repeat(TOO_LARGE);
    let mut connections = CentralNodeConnectionClient::new(channel.clone());
    let mut heartbeats = HeartbeatClient::new(channel.clone());
    let mut syncs = SystemRegisterSyncClient::new(channel);
    let sync = v1::SyncRequest { peer_id: long.clone(), ..v1::SyncRequest::default() };
    let connect = v1::ConnectRequest { peer_id: long.clone(), ..v1::ConnectRequest::default() };
    let disconnect = v1::DisconnectRequest { peer_id: long.clone(), ..v1::DisconnectRequest::default() };
    let status = v1::StatusRequest { peer_id: long.clone(), ..v1::StatusRequest::default() };
    let of = v1::HeartbeatStatusRequest { peer_id: long.clone(), ..v1::HeartbeatStatusRequest::default() };
    let checkpoint = v1::CheckpointRequest { peer_id: long.clone(), ..v1::CheckpointRequest::default() };
    let subscription =
        v1::SubscriptionRequest { peer_id: long.clone(), ..v1::SubscriptionRequest::default() };
    let acknowledgement =
        v1::PushAcknowledgement { peer_id: long.clone(), ..v1::PushAcknowledgement::default() };
    let outcomes: [(&str, Result<(), Status>); 11] = [
        ("ConnectToCentralNode", connections.connect_to_central_node(connect).await.map(drop)),
        ("DisconnectFromCentralNode", connections.disconnect_from_central_node(disconnect).await.map(drop)),
        ("GetCentralNodeStatus", connections.get_central_node_status(status).await.map(drop)),
        ("SendHeartbeat", heartbeats.send_heartbeat(beat(&long, "")).await.map(drop)),
        (
            "MonitorHeartbeat",
            first(heartbeats.monitor_heartbeat(stream::iter([beat(&long, "")])).await).await,
        ),
        ("GetHeartbeatStatus", heartbeats.get_heartbeat_status(of).await.map(drop)),
        ("FullSync", first(syncs.full_sync(sync.clone()).await).await),
        ("IncrementalSync", first(syncs.incremental_sync(sync).await).await),
        ("GetSyncCheckpoint", syncs.get_sync_checkpoint(checkpoint).await.map(drop)),
        (
            "SubscribeToPushNotifications",
            first(syncs.subscribe_to_push_notifications(subscription).await).await,
        ),
        (
            "ReceivePushNotification",
            first(syncs.receive_push_notification(stream::iter([acknowledgement])).await).await,
        ),
    ];
    for (call, outcome) in &outcomes {
        let code = outcome.as_ref().err().map(Status::code);
        ensure!(code == Some(Code::InvalidArgument), "{call} of {TOO_LARGE} bytes: {outcome:?}");
    }
    Ok(format!("{} calls, all INVALID_ARGUMENT", outcomes.len()))
}

/// Heartbeats and acknowledgements as fast as they go.
pub(super) async fn endless(target: Target) -> Result<String> {
    let channel = target.channel("flood").await?;
    let session = session(&channel, FLOOD).await?;
    let beats = stream::iter(vec![beat(FLOOD, &session); ENDLESS]);
    let answers = HeartbeatClient::new(channel.clone()).monitor_heartbeat(beats).await?.into_inner();
    let (mut taken, mut told, mut ended) = (0, 0, None);
    let mut answers = std::pin::pin!(answers);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) if answer.success => taken += 1,
            Ok(_) => told += 1,
            Err(status) => ended = Some(status.code()),
        }
    }
    ensure!(taken <= 100, "{taken} heartbeats of {ENDLESS} were taken");
    ensure!(
        told + taken == ENDLESS || ended == Some(Code::ResourceExhausted),
        "{told} refused, ended with {ended:?}"
    );
    let acknowledgement = |number| v1::PushAcknowledgement {
        peer_id: FLOOD.to_owned(),
        session_id: session.clone(),
        acknowledged_version: i64::try_from(number % 7).unwrap_or_default(),
        acknowledged_at: now(),
    };
    let outgoing = stream::iter((0..ENDLESS).map(acknowledgement).collect::<Vec<_>>());
    let pushed = SystemRegisterSyncClient::new(channel.clone()).receive_push_notification(outgoing).await?;
    let mut pushed: Streaming<EncodedEntry> = pushed.into_inner();
    // The stream ends with the caller's side, or is ended.
    let drained = async { while let Ok(Some(_)) = pushed.message().await {} };
    drop(tokio::time::timeout(Duration::from_secs(20), drained).await);
    leave(&channel, FLOOD).await;
    Ok(format!(
        "{ENDLESS} heartbeats, {taken} taken, then refused (ended: {ended:?}); {ENDLESS} acknowledgements"
    ))
}

async fn leave(channel: &Channel, peer: &str) {
    let request = v1::DisconnectRequest { peer_id: peer.to_owned(), ..v1::DisconnectRequest::default() };
    drop(CentralNodeConnectionClient::new(channel.clone()).disconnect_from_central_node(request).await);
}

/// Full syncs of peers of which none reads a byte: they hold the slots until they are cut.
pub(super) async fn unread(target: Target) -> Result<String> {
    let mut held = Vec::new();
    let (mut opened, mut refused) = (0, 0);
    for number in 0..UNREAD {
        let (channel, peer) = (target.channel("mute").await?, format!("mute-{number}"));
        let session_id = session(&channel, &peer).await?;
        for _ in 0..2 {
            let request = v1::SyncRequest {
                peer_id: peer.clone(),
                session_id: session_id.clone(),
                full_sync: true,
                ..v1::SyncRequest::default()
            };
            match SystemRegisterSyncClient::new(channel.clone()).full_sync(Request::new(request)).await {
                Ok(stream) => {
                    opened += 1;
                    held.push(stream.into_inner());
                }
                Err(status) if status.code() == Code::ResourceExhausted => refused += 1,
                Err(status) => return Err(status).context("a full sync"),
            }
        }
    }
    // An honest one gets its turn: the others are cut while they still hold their ends.
    let entries = patient(&target).await?;
    ensure!(entries >= super::LARGE, "{entries} entries");
    let mut cut = 0;
    for mut stream in held {
        while let Some(entry) = stream.next().await {
            cut += usize::from(entry.is_err());
        }
    }
    ensure!(cut > 0, "none of {opened} streams that nobody reads was cut");
    Ok(format!("{opened} opened, {refused} refused, {cut} cut; an honest one got {entries} entries"))
}

/// A full sync of an honest peer that tries again until it has a slot; the entries that it gets.
async fn patient(target: &Target) -> Result<usize> {
    let channel = target.channel("patient").await?;
    let session_id = session(&channel, PATIENT).await?;
    let since = Instant::now();
    loop {
        let request = v1::SyncRequest {
            peer_id: PATIENT.to_owned(),
            session_id: session_id.clone(),
            full_sync: true,
            ..v1::SyncRequest::default()
        };
        match all_of(&channel, request).await {
            Err(_) if since.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
            outcome => return outcome.context("an honest peer's full sync"),
        }
    }
}

async fn all_of(channel: &Channel, request: v1::SyncRequest) -> Result<usize, Status> {
    let mut stream = SystemRegisterSyncClient::new(channel.clone()).full_sync(request).await?.into_inner();
    let mut entries = 0;
    while stream.message().await?.is_some() {
        entries += 1;
    }
    Ok(entries)
}
