//! The answers of a front: those of the node behind it, changed while it lies.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use sorcha_proto::{
    EncodedEntry, metadata,
    raw::{
        system_register_sync_client::SystemRegisterSyncClient,
        system_register_sync_server::SystemRegisterSync,
    },
    v1::{
        self, RecommendedAction, ReplicaComparison,
        central_node_connection_client::CentralNodeConnectionClient,
        central_node_connection_server::CentralNodeConnection, heartbeat_client::HeartbeatClient,
        heartbeat_server::Heartbeat,
    },
};
use sorcha_register::names::{RegisterDigest, Version};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap, transport::Channel};

use super::{Liar, push};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The services of one connection.
#[derive(Clone)]
pub(super) struct Services {
    liar: Liar,
    peer: u8,
    behind: Channel,
}

impl Services {
    pub(super) const fn new(liar: Liar, peer: u8, behind: Channel) -> Self {
        Self { liar, peer, behind }
    }

    fn connections(&self) -> CentralNodeConnectionClient<Channel> {
        CentralNodeConnectionClient::new(self.behind.clone())
    }

    fn heartbeats(&self) -> HeartbeatClient<Channel> {
        HeartbeatClient::new(self.behind.clone())
    }

    fn sync(&self) -> SystemRegisterSyncClient<Channel> {
        SystemRegisterSyncClient::new(self.behind.clone())
    }

    /// A pull, with another register in it while there is one.
    async fn pull(
        &self,
        request: v1::SyncRequest,
        whole: bool,
    ) -> Result<Response<Streamed<EncodedEntry>>, Status> {
        let whole = whole || request.full_sync || request.last_known_version == 0;
        let held = Version::new("version", request.last_known_version).unwrap_or_default();
        let after = if whole { Version::ZERO } else { held };
        let cap = usize::try_from(request.max_blueprints).ok().filter(|cap| *cap > 0).unwrap_or(usize::MAX);
        let mut sync = self.sync();
        let real =
            if whole { sync.full_sync(request).await? } else { sync.incremental_sync(request).await? };
        let (mut stated, entries, _) = real.into_parts();
        let Some(forgery) = self.liar.forge(self.peer) else {
            return Ok(described(stated, Box::pin(entries)));
        };
        let call = if whole { "full sync" } else { "incremental sync" };
        self.liar.record(self.peer, call, whole && forgery.is_refused_whole);
        let (head, digest) = forgery.stated;
        for (key, value) in [(metadata::VERSION, head.to_string()), (metadata::DIGEST, digest.to_string())] {
            if let Ok(value) = value.parse() {
                stated.insert(key, value);
            }
        }
        let sent: Vec<_> = forgery
            .after(after, whole, cap)
            .map(|sealed| Ok(EncodedEntry(sealed.checked().unwrap())))
            .collect();
        Ok(described(stated, Box::pin(stream::iter(sent))))
    }
}

fn described<T>(metadata: MetadataMap, entries: T) -> Response<T> {
    let mut response = Response::new(entries);
    *response.metadata_mut() = metadata;
    response
}

fn bytes(digest: RegisterDigest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

/// How a replica stands to a register, as a central node says it.
fn compare(version: Version, digest: &Bytes, head: Version, of_head: &Bytes) -> ReplicaComparison {
    if version > head {
        ReplicaComparison::Ahead
    } else if version < head || digest.is_empty() {
        ReplicaComparison::Unknown
    } else if digest == of_head {
        ReplicaComparison::Equal
    } else {
        ReplicaComparison::Diverged
    }
}

#[tonic::async_trait]
impl CentralNodeConnection for Services {
    async fn connect_to_central_node(
        &self,
        request: Request<v1::ConnectRequest>,
    ) -> Result<Response<v1::ConnectionResponse>, Status> {
        let mut response = self.connections().connect_to_central_node(request.into_inner()).await?;
        if let Some(forgery) = self.liar.forge(self.peer) {
            let (answer, (head, digest)) = (response.get_mut(), forgery.greeting);
            (answer.current_system_register_version, answer.register_digest) = (head.get(), bytes(digest));
            self.liar.record(self.peer, "connect", false);
        }
        Ok(response)
    }

    async fn disconnect_from_central_node(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectionResponse>, Status> {
        self.connections().disconnect_from_central_node(request.into_inner()).await
    }

    async fn get_central_node_status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::CentralNodeStatus>, Status> {
        self.connections().get_central_node_status(request.into_inner()).await
    }
}

#[tonic::async_trait]
impl Heartbeat for Services {
    async fn send_heartbeat(
        &self,
        request: Request<v1::HeartbeatMessage>,
    ) -> Result<Response<v1::HeartbeatAcknowledgement>, Status> {
        let beat = request.into_inner();
        let (version, held) = (Version::new("version", beat.last_sync_version), beat.register_digest.clone());
        let mut response = self.heartbeats().send_heartbeat(beat).await?;
        if let (Some(forgery), Ok(version)) = (self.liar.forge(self.peer), version) {
            let (answer, (head, digest)) = (response.get_mut(), forgery.greeting);
            let replica = compare(version, &held, head, &bytes(digest));
            (answer.current_system_register_version, answer.register_digest) = (head.get(), bytes(digest));
            answer.set_replica(replica);
            if answer.recommended_action() != RecommendedAction::Failover {
                let is_news = version < head || replica == ReplicaComparison::Diverged;
                answer.set_recommended_action(if is_news {
                    RecommendedAction::Sync
                } else {
                    RecommendedAction::None
                });
            }
            self.liar.record(self.peer, "heartbeat", replica == ReplicaComparison::Ahead);
        }
        Ok(response)
    }

    type MonitorHeartbeatStream = Streamed<v1::HeartbeatAcknowledgement>;

    async fn monitor_heartbeat(
        &self,
        _: Request<Streaming<v1::HeartbeatMessage>>,
    ) -> Result<Response<Self::MonitorHeartbeatStream>, Status> {
        Err(Status::unimplemented("peers of this project use SendHeartbeat"))
    }

    async fn get_heartbeat_status(
        &self,
        request: Request<v1::HeartbeatStatusRequest>,
    ) -> Result<Response<v1::HeartbeatStatus>, Status> {
        self.heartbeats().get_heartbeat_status(request.into_inner()).await
    }
}

#[tonic::async_trait]
impl SystemRegisterSync for Services {
    type FullSyncStream = Streamed<EncodedEntry>;
    type IncrementalSyncStream = Streamed<EncodedEntry>;
    type SubscribeToPushNotificationsStream = Streaming<v1::BlueprintNotification>;
    type ReceivePushNotificationStream = Streamed<EncodedEntry>;

    async fn full_sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::FullSyncStream>, Status> {
        self.pull(request.into_inner(), true).await
    }

    async fn incremental_sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::IncrementalSyncStream>, Status> {
        self.pull(request.into_inner(), false).await
    }

    async fn subscribe_to_push_notifications(
        &self,
        request: Request<v1::SubscriptionRequest>,
    ) -> Result<Response<Self::SubscribeToPushNotificationsStream>, Status> {
        self.sync().subscribe_to_push_notifications(request.into_inner()).await
    }

    async fn get_sync_checkpoint(
        &self,
        request: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::SyncCheckpoint>, Status> {
        self.sync().get_sync_checkpoint(request.into_inner()).await
    }

    async fn receive_push_notification(
        &self,
        request: Request<Streaming<v1::PushAcknowledgement>>,
    ) -> Result<Response<Self::ReceivePushNotificationStream>, Status> {
        let acknowledgements = request.into_inner().filter_map(|message| std::future::ready(message.ok()));
        let real = self.sync().receive_push_notification(acknowledgements).await?.into_inner();
        Ok(Response::new(push::with_lies(self.liar.clone(), self.peer, real)))
    }
}
