//! A hostile central node: it says and sends what it is told to. No honest node stands behind it.

use std::net::Ipv4Addr;

use anyhow::Result;
use bytes::Bytes;
use sorcha_proto::{
    EncodedEntry, metadata,
    raw::system_register_sync_server::{SystemRegisterSync, SystemRegisterSyncServer},
    v1::{
        self,
        central_node_connection_server::{CentralNodeConnection, CentralNodeConnectionServer},
        heartbeat_server::{Heartbeat, HeartbeatServer},
    },
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::lies::{FOREVER, Head, Lies, Pull, Silent, Streamed};

/// A running hostile node; it ends when this is dropped.
pub(super) struct HostileCentral {
    pub(super) port: u16,
    _serving: AbortOnDropHandle<()>,
}

impl HostileCentral {
    pub(super) async fn start(name: &str, lies: Lies) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let node = Liar { name: name.to_owned(), lies };
        let server = Server::builder()
            .add_service(CentralNodeConnectionServer::new(node.clone()))
            .add_service(HeartbeatServer::new(node.clone()))
            .add_service(SystemRegisterSyncServer::new(node));
        let serving = tokio::spawn(async move {
            drop(server.serve_with_incoming(TcpListenerStream::new(listener)).await);
        });
        Ok(Self { port, _serving: AbortOnDropHandle::new(serving) })
    }
}

#[derive(Clone)]
struct Liar {
    name: String,
    lies: Lies,
}

impl Liar {
    async fn answer(&self, call: Silent) {
        if self.lies.silent == Some(call) {
            tokio::time::sleep(FOREVER).await;
        }
    }

    fn digest(&self) -> Bytes {
        if self.lies.genesis.is_none() {
            return Bytes::new();
        }
        Bytes::copy_from_slice(self.lies.head.digest.as_bytes())
    }

    fn pull(&self, pull: &Pull) -> Result<Response<Streamed<EncodedEntry>>, Status> {
        let mut response = Response::new(pull.messages.clone().stream());
        let bad = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
        if let Some(Head { version, digest }) = pull.stated {
            for (key, value) in
                [(metadata::VERSION, version.to_string()), (metadata::DIGEST, digest.to_string())]
            {
                response.metadata_mut().insert(key, value.parse().map_err(|error| bad(&error))?);
            }
        }
        Ok(response)
    }
}

#[tonic::async_trait]
impl CentralNodeConnection for Liar {
    async fn connect_to_central_node(
        &self,
        _request: Request<v1::ConnectRequest>,
    ) -> Result<Response<v1::ConnectionResponse>, Status> {
        self.answer(Silent::Connect).await;
        let (genesis, lineage) = self.lies.genesis.clone().unwrap_or_default();
        Ok(Response::new(v1::ConnectionResponse {
            success: true,
            session_id: "session".to_owned(),
            central_node_id: self.name.clone(),
            current_system_register_version: self.lies.head.version,
            heartbeat_interval_seconds: 10,
            config: Some(v1::ConnectionConfig {
                heartbeat_timeout_seconds: 10,
                push_notifications_enabled: true,
                ..v1::ConnectionConfig::default()
            }),
            lineage,
            register_digest: self.digest(),
            genesis,
            ..v1::ConnectionResponse::default()
        }))
    }

    async fn disconnect_from_central_node(
        &self,
        _request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectionResponse>, Status> {
        Ok(Response::new(v1::DisconnectionResponse { success: true, ..v1::DisconnectionResponse::default() }))
    }

    async fn get_central_node_status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::CentralNodeStatus>, Status> {
        Ok(Response::new(v1::CentralNodeStatus {
            node_id: self.name.clone(),
            health: v1::NodeHealth::Healthy as i32,
            ..v1::CentralNodeStatus::default()
        }))
    }
}

#[tonic::async_trait]
impl Heartbeat for Liar {
    async fn send_heartbeat(
        &self,
        request: Request<v1::HeartbeatMessage>,
    ) -> Result<Response<v1::HeartbeatAcknowledgement>, Status> {
        self.answer(Silent::Heartbeat).await;
        Ok(Response::new(v1::HeartbeatAcknowledgement {
            success: true,
            timestamp: request.get_ref().timestamp,
            central_node_id: self.name.clone(),
            current_system_register_version: self.lies.head.version,
            register_digest: self.digest(),
            replica: self.lies.comparison as i32,
            ..v1::HeartbeatAcknowledgement::default()
        }))
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
        _request: Request<v1::HeartbeatStatusRequest>,
    ) -> Result<Response<v1::HeartbeatStatus>, Status> {
        Err(Status::unimplemented("peers of this project do not ask for it"))
    }
}

#[tonic::async_trait]
impl SystemRegisterSync for Liar {
    type FullSyncStream = Streamed<EncodedEntry>;
    type IncrementalSyncStream = Streamed<EncodedEntry>;
    type SubscribeToPushNotificationsStream = Streamed<v1::BlueprintNotification>;
    type ReceivePushNotificationStream = Streamed<EncodedEntry>;

    async fn full_sync(
        &self,
        _request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::FullSyncStream>, Status> {
        self.pull(&self.lies.full)
    }

    async fn incremental_sync(
        &self,
        _request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::IncrementalSyncStream>, Status> {
        self.pull(&self.lies.incremental)
    }

    async fn subscribe_to_push_notifications(
        &self,
        _request: Request<v1::SubscriptionRequest>,
    ) -> Result<Response<Self::SubscribeToPushNotificationsStream>, Status> {
        Ok(Response::new(Box::pin(futures::stream::pending())))
    }

    async fn get_sync_checkpoint(
        &self,
        _request: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::SyncCheckpoint>, Status> {
        Err(Status::unimplemented("peers of this project do not ask for it"))
    }

    async fn receive_push_notification(
        &self,
        _request: Request<Streaming<v1::PushAcknowledgement>>,
    ) -> Result<Response<Self::ReceivePushNotificationStream>, Status> {
        match &self.lies.push {
            Some(messages) => Ok(Response::new(messages.clone().stream())),
            None => Err(Status::unimplemented("not in the original contract")),
        }
    }
}
