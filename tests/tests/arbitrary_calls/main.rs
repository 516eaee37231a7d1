//! Calls with any content at a central node's real services: never a fault, always a code of the contract, and whoever
//! behaves is served as before.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod calls;

use std::time::Duration;

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use sorcha_proto::v1::{
    self, central_node_connection_client::CentralNodeConnectionClient, heartbeat_client::HeartbeatClient,
    system_register_sync_client::SystemRegisterSyncClient,
};
use sorcha_tests::{Central, Peer, memory, quick};
use tokio::runtime::Handle;
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};

use calls::{Call, call};

/// Protocol section 5, without INTERNAL: that one is for what nobody foresaw.
const ALLOWED: [Code; 10] = [
    Code::Ok,
    Code::InvalidArgument,
    Code::NotFound,
    Code::FailedPrecondition,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::DeadlineExceeded,
    Code::Unavailable,
    Code::Cancelled,
];

/// Sessions that calls may name: what is only accepted within one is reached, too.
#[derive(Clone)]
struct Caller {
    channel: Channel,
    session: String,
}

impl Caller {
    /// Every third call names a session that is there.
    fn own(&self, peer_id: &mut String, session_id: &mut String) {
        if session_id.len().is_multiple_of(3) {
            "edge-0".clone_into(peer_id);
            self.session.clone_into(session_id);
        }
    }

    async fn make(&self, call: Call) -> Result<(), Status> {
        let mut connection = CentralNodeConnectionClient::new(self.channel.clone());
        let mut heartbeat = HeartbeatClient::new(self.channel.clone());
        match call {
            Call::Connect(request) => connection.connect_to_central_node(request).await.map(drop),
            Call::Disconnect(mut request) => {
                if request.session_id == self.session {
                    request.session_id.push('x');
                }
                connection.disconnect_from_central_node(request).await.map(drop)
            }
            Call::Status(request) => connection.get_central_node_status(request).await.map(drop),
            Call::Beat(mut request) => {
                self.own(&mut request.peer_id, &mut request.session_id);
                heartbeat.send_heartbeat(request).await.map(drop)
            }
            Call::Beats(requests) => {
                end(heartbeat.monitor_heartbeat(tokio_stream::iter(requests)).await).await
            }
            Call::BeatStatus(request) => heartbeat.get_heartbeat_status(request).await.map(drop),
            call => self.sync(call).await,
        }
    }

    async fn sync(&self, call: Call) -> Result<(), Status> {
        let mut sync = SystemRegisterSyncClient::new(self.channel.clone());
        match call {
            Call::Full(mut request) => {
                self.own(&mut request.peer_id, &mut request.session_id);
                end(sync.full_sync(request).await).await
            }
            Call::Incremental(mut request) => {
                self.own(&mut request.peer_id, &mut request.session_id);
                end(sync.incremental_sync(request).await).await
            }
            Call::Subscribe(mut request) => {
                self.own(&mut request.peer_id, &mut request.session_id);
                soon(sync.subscribe_to_push_notifications(request)).await
            }
            Call::Checkpoint(mut request) => {
                self.own(&mut request.peer_id, &mut request.session_id);
                sync.get_sync_checkpoint(request).await.map(drop)
            }
            Call::Push(mut requests) => {
                for request in &mut requests {
                    self.own(&mut request.peer_id, &mut request.session_id);
                }
                end(sync.receive_push_notification(tokio_stream::iter(requests)).await).await
            }
            _ => Ok(()),
        }
    }
}

/// Reads a stream to its end.
async fn end<T>(opened: Result<Response<Streaming<T>>, Status>) -> Result<(), Status> {
    let mut stream = opened?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

/// Opens a stream that goes on for ever, and leaves it.
async fn soon<T>(
    opening: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
) -> Result<(), Status> {
    opening.await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_call_gets_a_code_of_the_contract_and_harms_nobody() {
    let data = tempfile::tempdir().unwrap();
    let mut config = quick("n0.sorcha.dev", data.path());
    config.heartbeat.timeout = Duration::from_secs(1);
    let central = Central::start(config, memory(), 0).await;
    for id in ["a", "b", "c"] {
        central.publish(id).await;
    }
    let peer = Peer::start(quick("well-behaved", data.path()), memory(), vec![central.address(0)]).await;
    peer.until_equal(&central).await;
    let channel = Channel::from_shared(format!("http://{}", central.grpc)).unwrap().connect().await.unwrap();
    let request = v1::ConnectRequest { peer_id: "edge-0".to_owned(), ..Default::default() };
    let connected = CentralNodeConnectionClient::new(channel.clone()).connect_to_central_node(request).await;
    let caller = Caller { channel, session: connected.unwrap().into_inner().session_id };
    let before = central.node.log.view().digest();

    let config = ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&call(), |call| {
        let made = tokio::task::block_in_place(|| {
            let call = tokio::time::timeout(Duration::from_secs(10), caller.make(call));
            Handle::current().block_on(call)
        });
        let code = made
            .map_err(|_| TestCaseError::fail("no answer"))?
            .map_or_else(|status| status.code(), |()| Code::Ok);
        prop_assert!(ALLOWED.contains(&code), "{:?}", code);
        prop_assert_eq!(central.node.log.view().digest(), before);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Whoever behaves is served as before.
    let published = central.publish("after").await;
    sorcha_tests::eventually("pushed", || peer.node.replica.head() == published.entry.entry().version).await;
    assert_eq!(peer.node.status().failovers, 0);
    peer.stop().await;
}

/// Messages that are no protobuf, and calls of methods that are not there.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_are_refused() {
    use sorcha_proto::EncodedEntry;
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    let channel = Channel::from_shared(format!("http://{}", central.grpc)).unwrap().connect().await.unwrap();
    let methods = [
        "CentralNodeConnection/ConnectToCentralNode",
        "CentralNodeConnection/DisconnectFromCentralNode",
        "CentralNodeConnection/GetCentralNodeStatus",
        "Heartbeat/SendHeartbeat",
        "Heartbeat/GetHeartbeatStatus",
        "SystemRegisterSync/GetSyncCheckpoint",
        "SystemRegisterSync/Nonsense",
    ];
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(
        &(prop::sample::select(methods.to_vec()), vec(any::<u8>(), 0..60)),
        |(method, bytes)| {
            let call = async {
                let mut client = tonic::client::Grpc::new(channel.clone());
                client.ready().await.unwrap();
                let codec = tonic_prost::ProstCodec::<EncodedEntry, EncodedEntry>::default();
                let path = format!("/sorcha.peer.v1.{method}").parse().unwrap();
                client.unary(Request::new(EncodedEntry(bytes.into())), path, codec).await.map(drop)
            };
            let made = tokio::task::block_in_place(|| Handle::current().block_on(call));
            let code = made.map_or_else(|status| status.code(), |()| Code::Ok);
            // What is no message at all is the library's to refuse.
            let of_the_library = [Code::Internal, Code::Unimplemented];
            prop_assert!(ALLOWED.contains(&code) || of_the_library.contains(&code), "{:?}", code);
            Ok(())
        },
    );
    if let Err(error) = result {
        panic!("{error}");
    }
    central.publish("still-there").await;
}
