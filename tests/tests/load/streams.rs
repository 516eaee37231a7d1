//! Streams of entries of which their callers take nothing, or as little as they can.

use std::time::Duration;

use futures::StreamExt as _;
use sorcha_proto::v1::{
    ConnectRequest, PeerInfo, PushAcknowledgement, SyncRequest,
    central_node_connection_client::CentralNodeConnectionClient,
    system_register_sync_client::SystemRegisterSyncClient,
};
use tokio::time::{sleep, timeout};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::node::Node;

/// Streams that a connection may have.
const STREAMS: usize = 64;
const PEERS: usize = 8;
/// A copy for each stream would be 1 GB.
const DOCUMENT: usize = 16 * 1024 * 1024 - 1024;
/// For the document itself while it comes in, the connection and what the allocator keeps.
const FOR_STREAMS_MB: u64 = 60;
const CONFIG: &str = "[limits]\npush_write_timeout = '3s'\n";
/// Much longer than the node takes.
const SOON: Duration = Duration::from_secs(30);

async fn session(channel: &Channel, peer: &str) -> String {
    let request = ConnectRequest {
        peer_id: peer.to_owned(),
        peer_info: Some(PeerInfo { node_type: "Peer".to_owned(), ..PeerInfo::default() }),
        ..ConnectRequest::default()
    };
    let mut client = CentralNodeConnectionClient::new(channel.clone());
    client.connect_to_central_node(request).await.unwrap().into_inner().session_id
}

fn endpoint(node: &Node) -> Endpoint {
    Endpoint::from_shared(format!("http://127.0.0.1:{}", node.grpc)).unwrap()
}

fn client(channel: &Channel) -> SystemRegisterSyncClient<Channel> {
    SystemRegisterSyncClient::new(channel.clone()).max_decoding_message_size(2 * DOCUMENT)
}

/// A pull of what is newer than the register's first entry.
fn pull(peer: &str, session_id: &str) -> SyncRequest {
    SyncRequest {
        peer_id: peer.to_owned(),
        session_id: session_id.to_owned(),
        last_known_version: 1,
        max_blueprints: 1,
        ..SyncRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_16_mb_entry_without_a_window_hold_no_copies_and_are_cut() {
    let node = Node::start(CONFIG).await;
    node.publish("large", DOCUMENT, 0).await;
    // Sessions have a connection of their own: on the other one no answer arrives.
    let sessions = endpoint(&node).connect().await.unwrap();
    let channel = endpoint(&node).initial_stream_window_size(0).connect().await.unwrap();
    let (before, mut streams) = (node.megabytes(), Vec::new());
    for number in 0..PEERS {
        let peer = format!("thief-{number}");
        let session_id = session(&sessions, &peer).await;
        for _ in 0..STREAMS / PEERS {
            let pulled = client(&channel).incremental_sync(pull(&peer, &session_id)).await.unwrap();
            streams.push(pulled.into_inner());
        }
        let one_more = client(&sessions).incremental_sync(pull(&peer, &session_id)).await;
        assert_eq!(one_more.unwrap_err().code(), Code::ResourceExhausted, "a peer has so many streams");
    }
    let most = node.most_megabytes(sleep(Duration::from_secs(2))).await;
    println!("{before} MB, at most {most} MB with {} streams", streams.len());
    assert!(most <= before + FOR_STREAMS_MB, "{before} MB before, {most} MB with streams that take nothing");
    for mut stream in streams {
        let ended = timeout(SOON, stream.message()).await.expect("the connection is cut");
        assert!(ended.is_err(), "a stream of which nothing was taken ended well");
    }
    // What it held is free, and others are served.
    let channel = endpoint(&node).connect().await.unwrap();
    let session_id = session(&channel, "honest").await;
    let mut pulled =
        client(&channel).incremental_sync(pull("honest", &session_id)).await.unwrap().into_inner();
    let entry = pulled.message().await.unwrap().expect("the entry");
    assert!(entry.blueprint_document.len() > DOCUMENT);
    assert!(pulled.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_of_what_is_known_keep_no_push_stream_open() {
    let node = Node::start(CONFIG).await;
    node.publish("one", 100, 0).await;
    let channel = endpoint(&node).connect().await.unwrap();
    let session_id = session(&channel, "stubborn").await;
    let acknowledgement = move |_| {
        let (peer_id, session_id) = ("stubborn".to_owned(), session_id.clone());
        let acknowledgement = PushAcknowledgement {
            peer_id,
            session_id,
            acknowledged_version: 1,
            ..PushAcknowledgement::default()
        };
        async move {
            sleep(Duration::from_millis(300)).await;
            acknowledgement
        }
    };
    let acknowledgements = futures::stream::iter(0..).then(acknowledgement);
    let mut pushed = client(&channel).receive_push_notification(acknowledgements).await.unwrap().into_inner();
    assert_eq!(pushed.message().await.unwrap().expect("what is newer").version, 2);
    let ended = timeout(SOON, pushed.message()).await.expect("it is ended");
    assert_eq!(ended.unwrap_err().code(), Code::ResourceExhausted);
}
