//! What one certificate can't take from the others: connects, slots of full syncs, and knowledge of who they are.

use std::time::{Duration, Instant};

use sorcha_central::publish::Submission;
use sorcha_config::Limits;
use sorcha_proto::v1::{
    self, central_node_connection_client::CentralNodeConnectionClient, heartbeat_client::HeartbeatClient,
    system_register_sync_client::SystemRegisterSyncClient,
};
use sorcha_tests::{Central, eventually, memory, quick};
use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming, transport::Channel, transport::Endpoint};

use super::{CENTRAL, EDGE, Site};

/// Bytes of a document, so many of which no buffer on the way holds.
const DOCUMENT: usize = 64 * 1024;

fn identity(name: &str) -> String {
    format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{name}")
}

async fn connect(channel: &Channel, peer_id: &str) -> Result<String, Status> {
    let request = v1::ConnectRequest { peer_id: peer_id.into(), ..v1::ConnectRequest::default() };
    let mut client = CentralNodeConnectionClient::new(channel.clone());
    Ok(client.connect_to_central_node(request).await?.into_inner().session_id)
}

async fn full_sync(
    channel: &Channel,
    peer_id: &str,
    session_id: &str,
) -> Result<Streaming<v1::SystemRegisterEntry>, Status> {
    let request = v1::SyncRequest {
        peer_id: peer_id.into(),
        session_id: session_id.into(),
        full_sync: true,
        ..v1::SyncRequest::default()
    };
    Ok(SystemRegisterSyncClient::new(channel.clone()).full_sync(request).await?.into_inner())
}

async fn filled(central: &Central, documents: usize) {
    for number in 0..documents {
        let filler = "x".repeat(DOCUMENT);
        let submission = Submission {
            blueprint_id: format!("b{number}"),
            document: format!(r#"{{"filler":"{filler}"}}"#).into_bytes().into(),
            published_by: "tester".into(),
            metadata: Default::default(),
        };
        central.node.publish(submission).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_calls_without_end_leaves_honest_connects_alone() {
    let site = Site::new();
    let mut config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[&site.ca]);
    // What the greedy one could use up is small, so that it would be within a moment.
    config.limits = Limits { all_connects: config.limits.all_connects, ..Limits::default() };
    config.limits.all_connects.per_second = 20.0;
    config.limits.all_connects.burst = 40;
    let central = Central::start(config, memory(), 0).await;
    let greedy = site.channel(&identity("greedy"), &central).await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let greedy = greedy.clone();
        calls.spawn(async move {
            let mut refused = 0;
            for _ in 0..250 {
                refused += u32::from(connect(&greedy, "greedy-0").await.is_err());
            }
            refused
        });
    }
    for number in 0..20 {
        let name = format!("honest{number}");
        let channel = site.channel(&identity(&name), &central).await;
        connect(&channel, &format!("{name}-0")).await.expect("an honest peer is let in");
    }
    let refused: u32 = calls.join_all().await.into_iter().sum();
    assert!(refused > 1500, "the greedy one was refused only {refused} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_leaves_a_slot_for_the_full_syncs_of_others() {
    let site = Site::new();
    let mut config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[&site.ca]);
    config.limits.full_sync_wait = Duration::from_millis(200);
    config.limits.full_sync_min_rate = 0;
    let central = Central::start(config, memory(), 0).await;
    filled(&central, 200).await;
    let mut held = Vec::new();
    for number in 0..3 {
        // What is not read uses up a connection's window: each has its own.
        let thief = site.channel(&identity("thief"), &central).await;
        let peer = format!("thief-{number}");
        let session = connect(&thief, &peer).await.unwrap();
        match full_sync(&thief, &peer, &session).await {
            // It is never read.
            Ok(stream) => held.push(stream),
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert_eq!(held.len(), 2, "all slots but one");
    let honest = site.channel(EDGE, &central).await;
    let session = connect(&honest, "edge-0").await.unwrap();
    let mut stream = full_sync(&honest, "edge-0", &session).await.expect("a slot is left");
    let mut entries = 0;
    while stream.message().await.unwrap().is_some() {
        entries += 1;
    }
    assert_eq!(entries, central.node.log.view().len());
}

/// A connection that takes ahead no more than it must.
async fn unbuffered(central: &Central) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", central.grpc)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    endpoint.connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn full_syncs_that_are_taken_drop_by_drop_lose_their_slots() {
    let data = tempfile::tempdir().unwrap();
    let mut config = quick("n0.sorcha.dev", data.path());
    config.heartbeat.interval = Duration::from_secs(30);
    config.limits.full_sync_wait = Duration::from_secs(20);
    config.limits.push_write_timeout = Duration::from_secs(2);
    config.limits.full_sync_min_rate = 512 * 1024;
    let central = Central::start(config, memory(), 0).await;
    filled(&central, 100).await;
    let mut slow = JoinSet::new();
    for number in 0..3 {
        let channel = unbuffered(&central).await;
        let peer = format!("slow-{number}");
        let session = connect(&channel, &peer).await.unwrap();
        let mut stream = full_sync(&channel, &peer, &session).await.unwrap();
        slow.spawn(async move {
            // Something within each second: never nothing for as long as would close any stream.
            loop {
                match stream.message().await {
                    Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(700)).await,
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                }
            }
        });
    }
    let (honest, asked) = (unbuffered(&central).await, Instant::now());
    let session = connect(&honest, "edge-0").await.unwrap();
    let mut stream = full_sync(&honest, "edge-0", &session).await.expect("a slot gets free");
    assert!(asked.elapsed() > Duration::from_secs(1), "all slots were taken");
    while stream.message().await.unwrap().is_some() {}
    for status in slow.join_all().await {
        let status = status.expect("a slow one is cut off");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("limits.full_sync_min_rate"), "{status}");
    }
}

async fn listed(channel: &Channel, peer_id: &str) -> Vec<(String, String)> {
    let request = v1::StatusRequest { peer_id: peer_id.into(), include_peer_list: true };
    let mut client = CentralNodeConnectionClient::new(channel.clone());
    let status = client.get_central_node_status(request).await.unwrap().into_inner();
    status.connected_peers.into_iter().map(|peer| (peer.peer_id, peer.session_id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_the_peers_of_others_are_and_their_sessions_are_told_to_nobody() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let (edge, other) =
        (site.channel(EDGE, &central).await, site.channel(&identity("other"), &central).await);
    let session = connect(&edge, "edge-0").await.unwrap();
    let others = connect(&other, "other-0").await.unwrap();
    assert_eq!(listed(&edge, "").await, [("edge-0".to_owned(), session)]);
    assert_eq!(listed(&other, "").await, [("other-0".to_owned(), others)]);
    assert!(listed(&other, "edge-0").await.is_empty());
    let of_the_network = site.channel(CENTRAL, &central).await;
    let told = listed(&of_the_network, "").await;
    assert_eq!(told, [("edge-0".to_owned(), String::new()), ("other-0".to_owned(), String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_plain_text_another_connection_is_told_no_session() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    let (own, stranger) = (unbuffered(&central).await, unbuffered(&central).await);
    let session = connect(&own, "edge-0").await.unwrap();
    assert_eq!(listed(&own, "").await, [("edge-0".to_owned(), session.clone())]);
    assert_eq!(listed(&stranger, "").await, [("edge-0".to_owned(), String::new())]);
    let beats = async |channel: &Channel, session_id: &str| {
        let request = v1::HeartbeatStatusRequest { peer_id: "edge-0".into(), session_id: session_id.into() };
        let status = HeartbeatClient::new(channel.clone()).get_heartbeat_status(request).await;
        status.unwrap().into_inner().session_id
    };
    assert_eq!(beats(&stranger, "").await, "");
    assert_eq!((beats(&own, "").await, beats(&stranger, &session).await), (session.clone(), session));
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_of_others_use_up_nothing_of_a_peers_limit() {
    let data = tempfile::tempdir().unwrap();
    let mut config = quick("n0.sorcha.dev", data.path());
    config.limits.heartbeat_burst = 3;
    config.heartbeat.interval = Duration::from_secs(60);
    let central = Central::start(config, memory(), 0).await;
    let (own, stranger) = (unbuffered(&central).await, unbuffered(&central).await);
    let session = connect(&own, "edge-0").await.unwrap();
    let beat = async |channel: &Channel, session_id: &str| {
        let message = v1::HeartbeatMessage {
            peer_id: "edge-0".into(),
            session_id: session_id.into(),
            timestamp: central.node.env.clock.now().as_millis(),
            sequence_number: 1,
            ..v1::HeartbeatMessage::default()
        };
        HeartbeatClient::new(channel.clone()).send_heartbeat(message).await.map(drop)
    };
    for _ in 0..20 {
        assert_eq!(beat(&stranger, "a-guess").await.unwrap_err().code(), Code::NotFound);
    }
    beat(&own, &session).await.expect("the peer's own limit is whole");
    eventually("it is connected", || central.node.peer_counts().0 == 1).await;
}
