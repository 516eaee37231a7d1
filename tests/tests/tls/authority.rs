//! Every call that names a peer, made with the certificate of another one.

use std::time::Duration;

use sorcha_proto::v1::{
    self, central_node_connection_client::CentralNodeConnectionClient, heartbeat_client::HeartbeatClient,
    system_register_sync_client::SystemRegisterSyncClient,
};
use sorcha_register::clock::Clock as _;
use sorcha_runtime::clock::SystemClock;
use sorcha_tests::eventually;
use tokio_stream::{StreamExt as _, once};
use tonic::{Code, Status, transport::Channel};

use super::{CENTRAL, EDGE, Site};

/// Another resource.
const HEDGE: &str = "spiffe://sorcha.dev/ns/shop/sorchapeer/hedge";
/// A resource of the same name in another namespace: it may speak for the same ids.
const NAMESAKE: &str = "spiffe://sorcha.dev/ns/farm/sorchapeer/edge";

fn connect_request(peer_id: &str) -> v1::ConnectRequest {
    v1::ConnectRequest { peer_id: peer_id.into(), ..v1::ConnectRequest::default() }
}

fn beat(peer_id: &str, session_id: &str) -> v1::HeartbeatMessage {
    v1::HeartbeatMessage {
        peer_id: peer_id.into(),
        session_id: session_id.into(),
        timestamp: SystemClock::new().now().as_millis(),
        sequence_number: 1,
        ..v1::HeartbeatMessage::default()
    }
}

async fn connect(channel: &Channel, peer_id: &str) -> Result<String, Status> {
    let mut client = CentralNodeConnectionClient::new(channel.clone());
    let response = client.connect_to_central_node(connect_request(peer_id)).await?;
    Ok(response.into_inner().session_id)
}

/// Makes every call that names a peer and its session, but for the one that opens it and the one that ends it.
async fn calls(
    channel: &Channel,
    peer_id: &str,
    session_id: &str,
) -> Vec<(&'static str, Result<(), Status>)> {
    let (peer_id, session_id) = (peer_id.to_owned(), session_id.to_owned());
    let mut heartbeat = HeartbeatClient::new(channel.clone());
    let mut sync = SystemRegisterSyncClient::new(channel.clone());
    let pull = v1::SyncRequest {
        peer_id: peer_id.clone(),
        session_id: session_id.clone(),
        ..v1::SyncRequest::default()
    };
    let acknowledgement = v1::PushAcknowledgement {
        peer_id: peer_id.clone(),
        session_id: session_id.clone(),
        ..v1::PushAcknowledgement::default()
    };
    let subscription = v1::SubscriptionRequest {
        peer_id: peer_id.clone(),
        session_id: session_id.clone(),
        ..v1::SubscriptionRequest::default()
    };
    let status = v1::HeartbeatStatusRequest { peer_id: peer_id.clone(), session_id: session_id.clone() };
    let checkpoint = v1::CheckpointRequest { peer_id: peer_id.clone(), session_id: session_id.clone() };
    vec![
        ("SendHeartbeat", heartbeat.send_heartbeat(beat(&peer_id, &session_id)).await.map(drop)),
        ("GetHeartbeatStatus", heartbeat.get_heartbeat_status(status).await.map(drop)),
        ("FullSync", sync.full_sync(pull.clone()).await.map(drop)),
        ("IncrementalSync", sync.incremental_sync(pull).await.map(drop)),
        ("GetSyncCheckpoint", sync.get_sync_checkpoint(checkpoint).await.map(drop)),
        ("SubscribeToPushNotifications", sync.subscribe_to_push_notifications(subscription).await.map(drop)),
        ("ReceivePushNotification", sync.receive_push_notification(once(acknowledgement)).await.map(drop)),
    ]
}

async fn disconnect(channel: &Channel, peer_id: &str, session_id: &str) -> Result<(), Status> {
    let request = v1::DisconnectRequest {
        peer_id: peer_id.into(),
        session_id: session_id.into(),
        ..v1::DisconnectRequest::default()
    };
    CentralNodeConnectionClient::new(channel.clone()).disconnect_from_central_node(request).await.map(drop)
}

/// Asserts that a call was refused to an identity, by name.
fn denied(call: &str, outcome: Result<(), Status>, identity: &str) {
    let status = outcome.expect_err(call);
    assert_eq!(status.code(), Code::PermissionDenied, "{call}: {status}");
    let message = status.message();
    assert!(message.contains(identity) && message.contains("edge-0"), "{call}: {message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_a_peer_that_is_not_its_own() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let peer = site.peer("edge-0", EDGE, &[&central]).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    let session = peer.node.status().session_id.unwrap();

    let channel = site.channel(HEDGE, &central).await;
    denied("ConnectToCentralNode", connect(&channel, "edge-0").await.map(drop), HEDGE);
    for session in [session.as_str(), ""] {
        for (call, outcome) in calls(&channel, "edge-0", session).await {
            denied(call, outcome, HEDGE);
        }
        denied("DisconnectFromCentralNode", disconnect(&channel, "edge-0", session).await, HEDGE);
    }
    // On the stream of heartbeats a refusal is an acknowledgement (protocol D4).
    let mut stream = HeartbeatClient::new(channel.clone())
        .monitor_heartbeat(once(beat("edge-0", &session)))
        .await
        .unwrap()
        .into_inner();
    let acknowledgement = stream.next().await.unwrap().unwrap();
    assert!(!acknowledgement.success && acknowledgement.message.contains(HEDGE), "{acknowledgement:?}");

    // Its own name with another's session: no such session of its own (protocol U3).
    connect(&channel, "hedge-0").await.unwrap();
    for (call, outcome) in calls(&channel, "hedge-0", &session).await {
        assert_eq!(outcome.expect_err(call).code(), Code::NotFound, "{call}");
    }
    assert_eq!(peer.node.status().session_id, Some(session), "the peer noticed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_belongs_to_the_identity_that_opened_it() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let peer = site.peer("edge-0", EDGE, &[&central]).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    let session = peer.node.status().session_id.unwrap();
    let namesake = site.channel(NAMESAKE, &central).await;
    assert_eq!(connect(&namesake, "edge-0").await.unwrap_err().code(), Code::AlreadyExists);
    for (call, outcome) in calls(&namesake, "edge-0", &session).await {
        denied(call, outcome, NAMESAKE);
    }
    denied("DisconnectFromCentralNode", disconnect(&namesake, "edge-0", &session).await, NAMESAKE);
    assert_eq!(peer.node.status().session_id, Some(session), "the peer noticed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_certificate_replaces_its_session_at_once() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    // Both connections are open all the time: neither is dead.
    let (first, second) = (site.channel(EDGE, &central).await, site.channel(EDGE, &central).await);
    let old = connect(&first, "edge-0").await.unwrap();
    let new = connect(&second, "edge-0").await.unwrap();
    assert_ne!(old, new);
    for (call, outcome) in calls(&first, "edge-0", &old).await {
        assert_eq!(outcome.expect_err(call).code(), Code::NotFound, "{call}");
    }
    for (call, outcome) in calls(&second, "edge-0", &new).await {
        // Two push streams on one session are one too many (protocol D31).
        let is_second_stream = matches!(&outcome, Err(status) if status.code() == Code::AlreadyExists);
        assert!(outcome.is_ok() || is_second_stream, "{call}: {outcome:?}");
    }
    assert_eq!(central.node.peer_counts().0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lost_its_memory_of_a_session_is_back_at_once() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let ghost = site.channel(EDGE, &central).await;
    connect(&ghost, "edge-0").await.unwrap();
    let started = std::time::Instant::now();
    let peer = site.peer("edge-0", EDGE, &[&central]).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let failures = peer.node.status().central_nodes[0].consecutive_failures;
    assert_eq!((failures, central.node.peer_counts().0), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_peer_needs_no_more_than_a_certificate() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    for uri in ["https://sorcha.dev/monitor", "spiffe://other.dev/ns/a/peer/b", CENTRAL] {
        let channel = site.channel(uri, &central).await;
        let mut client = CentralNodeConnectionClient::new(channel.clone());
        client.get_central_node_status(v1::StatusRequest::default()).await.unwrap();
        let code = connect(&channel, "edge-0").await.unwrap_err().code();
        let expected = if uri == CENTRAL { Code::FailedPrecondition } else { Code::PermissionDenied };
        assert_eq!(code, expected, "{uri}");
    }
    eventually("nobody is counted as a peer", || central.node.peer_counts().0 == 0).await;
}
