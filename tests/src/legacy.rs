//! A central node of the original contract: no added field, RPC or metadata. It stands in front of one of ours and
//! passes on what the original has, so that our peers are tested against what is out there.

use std::{net::SocketAddr, pin::Pin};

use futures::{Stream, StreamExt as _};
use sorcha_proto::v1::{
    self,
    central_node_connection_client::CentralNodeConnectionClient,
    central_node_connection_server::{CentralNodeConnection, CentralNodeConnectionServer},
    heartbeat_client::HeartbeatClient,
    heartbeat_server::{Heartbeat, HeartbeatServer},
    system_register_sync_client::SystemRegisterSyncClient,
    system_register_sync_server::{SystemRegisterSync, SystemRegisterSyncServer},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Server},
};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The node, in front of another.
#[derive(Clone)]
pub struct LegacyCentral(Channel);

impl LegacyCentral {
    /// Starts one in front of `behind`; returns its address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(behind: SocketAddr) -> SocketAddr {
        let channel = Channel::from_shared(format!("http://{behind}"))
            .expect("a URI")
            .connect()
            .await
            .expect("connected");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let node = Self(channel);
        let server = Server::builder()
            .add_service(CentralNodeConnectionServer::new(node.clone()))
            .add_service(HeartbeatServer::new(node.clone()))
            .add_service(SystemRegisterSyncServer::new(node));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn sync(&self) -> SystemRegisterSyncClient<Channel> {
        SystemRegisterSyncClient::new(self.0.clone())
    }
}

fn plain_entries(entries: Streaming<v1::SystemRegisterEntry>) -> Streamed<v1::SystemRegisterEntry> {
    Box::pin(entries.map(|entry| {
        // The reference implementation never fills the checksum (protocol D11).
        entry.map(|entry| v1::SystemRegisterEntry {
            checksum: String::new(),
            trace_parent: String::new(),
            ..entry
        })
    }))
}

#[tonic::async_trait]
impl CentralNodeConnection for LegacyCentral {
    async fn connect_to_central_node(
        &self,
        request: Request<v1::ConnectRequest>,
    ) -> Result<Response<v1::ConnectionResponse>, Status> {
        let request = v1::ConnectRequest { lineage: bytes::Bytes::new(), ..request.into_inner() };
        let response =
            CentralNodeConnectionClient::new(self.0.clone()).connect_to_central_node(request).await?;
        let (lineage, register_digest, genesis) = Default::default();
        Ok(Response::new(v1::ConnectionResponse {
            lineage,
            register_digest,
            genesis,
            ..response.into_inner()
        }))
    }

    async fn disconnect_from_central_node(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectionResponse>, Status> {
        CentralNodeConnectionClient::new(self.0.clone())
            .disconnect_from_central_node(request.into_inner())
            .await
    }

    async fn get_central_node_status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::CentralNodeStatus>, Status> {
        CentralNodeConnectionClient::new(self.0.clone()).get_central_node_status(request.into_inner()).await
    }
}

#[tonic::async_trait]
impl Heartbeat for LegacyCentral {
    async fn send_heartbeat(
        &self,
        request: Request<v1::HeartbeatMessage>,
    ) -> Result<Response<v1::HeartbeatAcknowledgement>, Status> {
        let request = v1::HeartbeatMessage { register_digest: bytes::Bytes::new(), ..request.into_inner() };
        let response = HeartbeatClient::new(self.0.clone()).send_heartbeat(request).await?;
        let (register_digest, replica) = Default::default();
        Ok(Response::new(v1::HeartbeatAcknowledgement { register_digest, replica, ..response.into_inner() }))
    }

    type MonitorHeartbeatStream = Streamed<v1::HeartbeatAcknowledgement>;

    async fn monitor_heartbeat(
        &self,
        _request: Request<Streaming<v1::HeartbeatMessage>>,
    ) -> Result<Response<Self::MonitorHeartbeatStream>, Status> {
        Err(Status::unimplemented("peers of this project use SendHeartbeat"))
    }

    async fn get_heartbeat_status(
        &self,
        request: Request<v1::HeartbeatStatusRequest>,
    ) -> Result<Response<v1::HeartbeatStatus>, Status> {
        HeartbeatClient::new(self.0.clone()).get_heartbeat_status(request.into_inner()).await
    }
}

#[tonic::async_trait]
impl SystemRegisterSync for LegacyCentral {
    type FullSyncStream = Streamed<v1::SystemRegisterEntry>;
    type IncrementalSyncStream = Streamed<v1::SystemRegisterEntry>;
    type SubscribeToPushNotificationsStream = Streaming<v1::BlueprintNotification>;
    type ReceivePushNotificationStream = Streamed<v1::SystemRegisterEntry>;

    async fn full_sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::FullSyncStream>, Status> {
        let entries = self.sync().full_sync(request.into_inner()).await?.into_inner();
        Ok(Response::new(plain_entries(entries)))
    }

    async fn incremental_sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::IncrementalSyncStream>, Status> {
        let entries = self.sync().incremental_sync(request.into_inner()).await?.into_inner();
        Ok(Response::new(plain_entries(entries)))
    }

    async fn subscribe_to_push_notifications(
        &self,
        request: Request<v1::SubscriptionRequest>,
    ) -> Result<Response<Self::SubscribeToPushNotificationsStream>, Status> {
        let notices = self.sync().subscribe_to_push_notifications(request.into_inner()).await?.into_inner();
        Ok(Response::new(notices))
    }

    async fn get_sync_checkpoint(
        &self,
        request: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::SyncCheckpoint>, Status> {
        self.sync().get_sync_checkpoint(request.into_inner()).await
    }

    async fn receive_push_notification(
        &self,
        _request: Request<Streaming<v1::PushAcknowledgement>>,
    ) -> Result<Response<Self::ReceivePushNotificationStream>, Status> {
        Err(Status::unimplemented("not in the original contract"))
    }
}
