//! What one caller gets at once of what is short to answer, or is sent without its asking.

use futures::channel::mpsc;
use sorcha_proto::v1::{
    self, central_node_connection_client::CentralNodeConnectionClient, heartbeat_client::HeartbeatClient,
    system_register_sync_client::SystemRegisterSyncClient,
};
use sorcha_tests::{Central, memory};
use tonic::{Code, Status, transport::Channel};

use super::{CENTRAL, EDGE, Site};

const PEER: &str = "edge-0";

/// A session of the peer; its id.
async fn session(channel: &Channel) -> String {
    let request = v1::ConnectRequest { peer_id: PEER.into(), ..v1::ConnectRequest::default() };
    let mut client = CentralNodeConnectionClient::new(channel.clone());
    client.connect_to_central_node(request).await.unwrap().into_inner().session_id
}

/// How many calls in a row are answered before one is refused.
async fn answered(mut call: impl AsyncFnMut() -> Result<(), Status>) -> usize {
    for number in 0..20_000 {
        if let Err(status) = call().await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            return number;
        }
    }
    panic!("none was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_calls_of_a_peer_are_bounded_together() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let channel = site.channel(EDGE, &central).await;
    let session_id = session(&channel).await;
    let beats = async || {
        let request = v1::HeartbeatStatusRequest { peer_id: PEER.into(), session_id: session_id.clone() };
        HeartbeatClient::new(channel.clone()).get_heartbeat_status(request).await.map(drop)
    };
    let position = async || {
        let request = v1::CheckpointRequest { peer_id: PEER.into(), session_id: session_id.clone() };
        SystemRegisterSyncClient::new(channel.clone()).get_sync_checkpoint(request).await.map(drop)
    };
    let mut turn = false;
    let both = async || {
        turn = !turn;
        if turn { beats().await } else { position().await }
    };
    assert!(answered(both).await >= 200, "its burst");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_peers_are_bounded_and_calls_without_one_are_not() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let channel = site.channel(EDGE, &central).await;
    let status = async |include_peer_list| {
        let request = v1::StatusRequest { peer_id: String::new(), include_peer_list };
        let mut client = CentralNodeConnectionClient::new(channel.clone());
        client.get_central_node_status(request).await.map(drop)
    };
    assert!(answered(async || status(true).await).await >= 50, "its burst");
    status(false).await.unwrap();
    let other = site.channel("spiffe://sorcha.dev/ns/shop/sorchapeer/other", &central).await;
    let request = v1::StatusRequest { peer_id: String::new(), include_peer_list: true };
    CentralNodeConnectionClient::new(other).get_central_node_status(request).await.unwrap();
}

/// The versions that come, until nothing comes.
async fn versions(pushed: &mut tonic::Streaming<v1::SystemRegisterEntry>, count: usize) -> Vec<i64> {
    let mut versions = Vec::new();
    while versions.len() < count {
        versions.push(pushed.message().await.unwrap().expect("an entry").version);
    }
    let more = tokio::time::timeout(std::time::Duration::from_millis(500), pushed.message()).await;
    assert!(more.is_err(), "more than {versions:?}: {more:?}");
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_are_ahead_of_their_acknowledgements_by_the_window_at_the_most() {
    let site = Site::new();
    let mut config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[&site.ca]);
    config.limits.push_window = 5;
    let central = Central::start(config, memory(), 0).await;
    for number in 0..20 {
        central.publish(&format!("b{number}")).await;
    }
    let channel = site.channel(EDGE, &central).await;
    let session_id = session(&channel).await;
    let (acknowledgements, sent) = mpsc::unbounded();
    let acknowledge = |acknowledged_version| {
        let acknowledgement = v1::PushAcknowledgement {
            peer_id: PEER.into(),
            session_id: session_id.clone(),
            acknowledged_version,
            ..v1::PushAcknowledgement::default()
        };
        acknowledgements.unbounded_send(acknowledgement).unwrap();
    };
    acknowledge(1);
    let mut client = SystemRegisterSyncClient::new(channel);
    let mut pushed = client.receive_push_notification(sent).await.unwrap().into_inner();
    assert_eq!(versions(&mut pushed, 5).await, [2, 3, 4, 5, 6]);
    acknowledge(4);
    assert_eq!(versions(&mut pushed, 3).await, [7, 8, 9]);
}
