//! A central node that answers anything: a peer never panics, and is well as soon as it meets a real one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod answers;

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Stream, future::join_all, stream};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use sorcha_config::CentralNodeAddress;
use sorcha_peer::status::PeerStatus;
use sorcha_proto::{
    EncodedEntry,
    raw::system_register_sync_server::{SystemRegisterSync, SystemRegisterSyncServer},
    v1::{
        self,
        central_node_connection_server::{CentralNodeConnection, CentralNodeConnectionServer},
        heartbeat_server::{Heartbeat, HeartbeatServer},
    },
};
use sorcha_tests::{Central, Peer, memory, quick};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

use crate::answers::{acknowledgement, connection, entries, notice, text};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers by chance, from a seed.
#[derive(Clone)]
struct Babbler {
    random: Arc<Mutex<TestRunner>>,
    is_gone: Arc<AtomicBool>,
}

impl Babbler {
    /// Starts one; it is gone for everybody once the flag is set.
    async fn start(seed: u8) -> (SocketAddr, Arc<AtomicBool>) {
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let random = TestRunner::new_with_rng(ProptestConfig::default(), random);
        let node = Self { random: Arc::new(Mutex::new(random)), is_gone: Arc::default() };
        let is_gone = Arc::clone(&node.is_gone);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(CentralNodeConnectionServer::new(node.clone()))
            .add_service(HeartbeatServer::new(node.clone()))
            .add_service(SystemRegisterSyncServer::new(node));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (address, is_gone)
    }

    fn some<S: Strategy>(&self, strategy: S) -> S::Value {
        strategy.new_tree(&mut self.random.lock().unwrap()).unwrap().current()
    }

    /// An answer, or one time in eight a refusal.
    fn answer<S: Strategy>(&self, strategy: S) -> Result<S::Value, Status> {
        if self.is_gone.load(Ordering::SeqCst) {
            return Err(Status::unavailable("gone"));
        }
        match self.some((0..8u8, 0..17i32, text(4_000))) {
            (0, code, message) => Err(Status::new(Code::from_i32(code.max(1)), message)),
            _ => Ok(self.some(strategy)),
        }
    }

    fn messages<T: Send + 'static>(&self, messages: Vec<T>) -> Result<Response<Streamed<T>>, Status> {
        let end = self.answer(Just(())).err();
        let messages = messages.into_iter().map(Ok).chain(end.map(Err)).collect::<Vec<_>>();
        self.answer(Just(())).map(|()| Response::new(Box::pin(stream::iter(messages)) as Streamed<T>))
    }
}

#[tonic::async_trait]
impl CentralNodeConnection for Babbler {
    async fn connect_to_central_node(
        &self,
        _: Request<v1::ConnectRequest>,
    ) -> Result<Response<v1::ConnectionResponse>, Status> {
        self.answer(connection()).map(Response::new)
    }

    async fn disconnect_from_central_node(
        &self,
        _: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectionResponse>, Status> {
        self.answer(Just(v1::DisconnectionResponse::default())).map(Response::new)
    }

    async fn get_central_node_status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::CentralNodeStatus>, Status> {
        self.answer(Just(v1::CentralNodeStatus::default())).map(Response::new)
    }
}

#[tonic::async_trait]
impl Heartbeat for Babbler {
    async fn send_heartbeat(
        &self,
        _: Request<v1::HeartbeatMessage>,
    ) -> Result<Response<v1::HeartbeatAcknowledgement>, Status> {
        self.answer(acknowledgement()).map(Response::new)
    }

    type MonitorHeartbeatStream = Streamed<v1::HeartbeatAcknowledgement>;

    async fn monitor_heartbeat(
        &self,
        _: Request<Streaming<v1::HeartbeatMessage>>,
    ) -> Result<Response<Self::MonitorHeartbeatStream>, Status> {
        self.messages(Vec::new())
    }

    async fn get_heartbeat_status(
        &self,
        _: Request<v1::HeartbeatStatusRequest>,
    ) -> Result<Response<v1::HeartbeatStatus>, Status> {
        self.answer(Just(v1::HeartbeatStatus::default())).map(Response::new)
    }
}

#[tonic::async_trait]
impl SystemRegisterSync for Babbler {
    type FullSyncStream = Streamed<EncodedEntry>;
    type IncrementalSyncStream = Streamed<EncodedEntry>;
    type SubscribeToPushNotificationsStream = Streamed<v1::BlueprintNotification>;
    type ReceivePushNotificationStream = Streamed<EncodedEntry>;

    async fn full_sync(
        &self,
        _: Request<v1::SyncRequest>,
    ) -> Result<Response<Streamed<EncodedEntry>>, Status> {
        self.messages(self.some(entries()))
    }

    async fn incremental_sync(
        &self,
        _: Request<v1::SyncRequest>,
    ) -> Result<Response<Streamed<EncodedEntry>>, Status> {
        self.messages(self.some(entries()))
    }

    async fn subscribe_to_push_notifications(
        &self,
        _: Request<v1::SubscriptionRequest>,
    ) -> Result<Response<Streamed<v1::BlueprintNotification>>, Status> {
        self.messages(self.some(vec(notice(), 0..4)))
    }

    async fn get_sync_checkpoint(
        &self,
        _: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::SyncCheckpoint>, Status> {
        self.answer(Just(v1::SyncCheckpoint::default())).map(Response::new)
    }

    async fn receive_push_notification(
        &self,
        _: Request<Streaming<v1::PushAcknowledgement>>,
    ) -> Result<Response<Streamed<EncodedEntry>>, Status> {
        self.messages(self.some(entries()))
    }
}

/// A text of a central node in a peer's status that is longer than any should be.
fn longest_text(status: &PeerStatus) -> Option<String> {
    let of_central_nodes = status.central_nodes.iter().map(|info| &info.last_error);
    let of_syncs = status.syncs.iter().map(|sync| &sync.error);
    let faults = [
        &status.heartbeat.fault,
        &status.last_sync_error,
        &status.replication_fault,
        &status.push_fault,
        &status.configuration_fault,
    ];
    let texts = faults.into_iter().chain(of_central_nodes).chain(of_syncs).flatten();
    let session = status.session_id.iter().filter(|id| id.chars().count() > 255);
    let told = texts.chain(status.transitions.iter().map(|transition| &transition.what));
    told.filter(|text| text.chars().count() > 700 || text.contains('\n')).chain(session).next().cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_outlives_any_answers_and_follows_the_next_real_central_node() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        shown(panic);
    }));
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n1.sorcha.dev", data.path()), memory(), 0).await;
    central.publish("a").await;
    let runs = (0..24).map(|seed| {
        let central = &central;
        let config = quick(&format!("edge-{seed}"), data.path());
        async move {
            let (at, is_gone) = Babbler::start(seed).await;
            let babbler = CentralNodeAddress {
                id: Some("n0.sorcha.dev".into()),
                host: at.ip().to_string(),
                port: at.port(),
                priority: 0,
                ca_file: None,
            };
            let peer = Peer::start(config, memory(), vec![babbler, central.address(1)]).await;
            // Long enough for several sessions, heartbeats and pulls.
            for _ in 0..150 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                assert_eq!(longest_text(&peer.node.status()), None);
            }
            is_gone.store(true, Ordering::SeqCst);
            peer.until_equal(central).await;
            peer.stop().await;
        }
    });
    join_all(runs).await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}
