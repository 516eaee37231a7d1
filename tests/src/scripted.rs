//! A central node that sends what a test tells it to: it stands in front of a real one and passes everything on, but for
//! the entry streams that are scripted.

mod script;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt as _, stream};
use sorcha_proto::{
    EncodedEntry,
    raw::{
        system_register_sync_client::SystemRegisterSyncClient,
        system_register_sync_server::{SystemRegisterSync, SystemRegisterSyncServer},
    },
    v1::{
        self,
        central_node_connection_client::CentralNodeConnectionClient,
        central_node_connection_server::{CentralNodeConnection, CentralNodeConnectionServer},
        heartbeat_client::HeartbeatClient,
        heartbeat_server::{Heartbeat, HeartbeatServer},
    },
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    metadata::MetadataMap,
    transport::{Channel, Server},
};

pub use self::script::{Script, Silence, Stated};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The node, in front of another.
#[derive(Clone)]
pub struct ScriptedCentral {
    channel: Channel,
    scripts: Arc<Mutex<VecDeque<Script>>>,
    has_push: bool,
    silence: Silence,
}

impl ScriptedCentral {
    /// Starts one in front of `behind`; the scripts take the place of the first pulls, and of the first pushes where
    /// `has_push`. Returns its address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(behind: SocketAddr, scripts: Vec<Script>, has_push: bool) -> SocketAddr {
        Self::serve(behind, scripts, has_push, Silence::default()).await
    }

    /// Starts one that passes everything on, but for what it is silent in. Returns its address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn silent(behind: SocketAddr, silence: Silence) -> SocketAddr {
        Self::serve(behind, Vec::new(), false, silence).await
    }

    async fn serve(behind: SocketAddr, scripts: Vec<Script>, has_push: bool, silence: Silence) -> SocketAddr {
        let channel = Channel::from_shared(format!("http://{behind}")).expect("a URI");
        let channel = channel.connect().await.expect("connected");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let node = Self { channel, scripts: Arc::new(Mutex::new(scripts.into())), has_push, silence };
        let server = Server::builder()
            .add_service(CentralNodeConnectionServer::new(node.clone()))
            .add_service(HeartbeatServer::new(node.clone()))
            .add_service(SystemRegisterSyncServer::new(node));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn next(&self) -> Option<Script> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn sync(&self) -> SystemRegisterSyncClient<Channel> {
        SystemRegisterSyncClient::new(self.channel.clone())
    }

    /// The real stream, or a script under the real stream's description of the register.
    fn scripted(&self, real: Response<Streaming<EncodedEntry>>) -> Response<Streamed<EncodedEntry>> {
        let (mut metadata, entries, _) = real.into_parts();
        match self.next() {
            Some(script) => {
                match &script.stated {
                    Stated::Truth => {}
                    Stated::Nothing => metadata = MetadataMap::new(),
                    Stated::As(head, digest) => {
                        metadata.insert(sorcha_proto::metadata::VERSION, head.parse().expect("a head"));
                        metadata.insert(sorcha_proto::metadata::DIGEST, digest.parse().expect("a digest"));
                    }
                }
                described(metadata, script.stream())
            }
            None => described(metadata, self.slowed(entries)),
        }
    }
}

impl ScriptedCentral {
    fn slowed(&self, entries: Streaming<EncodedEntry>) -> Streamed<EncodedEntry> {
        let Silence { pull_after, pull_pause, .. } = self.silence;
        let slowed = entries.then(move |entry| async move {
            if let Some(pause) = pull_pause {
                tokio::time::sleep(pause).await;
            }
            entry
        });
        match pull_after {
            Some(count) => Box::pin(slowed.take(count).chain(stream::pending())),
            None => Box::pin(slowed),
        }
    }

    /// Waits for ever, if it is silent in this.
    async fn answers(silent: bool) {
        if silent {
            std::future::pending::<()>().await;
        }
    }
}

fn described<T>(metadata: MetadataMap, entries: T) -> Response<T> {
    let mut response = Response::new(entries);
    *response.metadata_mut() = metadata;
    response
}

#[tonic::async_trait]
impl CentralNodeConnection for ScriptedCentral {
    async fn connect_to_central_node(
        &self,
        request: Request<v1::ConnectRequest>,
    ) -> Result<Response<v1::ConnectionResponse>, Status> {
        CentralNodeConnectionClient::new(self.channel.clone())
            .connect_to_central_node(request.into_inner())
            .await
    }

    async fn disconnect_from_central_node(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectionResponse>, Status> {
        CentralNodeConnectionClient::new(self.channel.clone())
            .disconnect_from_central_node(request.into_inner())
            .await
    }

    async fn get_central_node_status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::CentralNodeStatus>, Status> {
        CentralNodeConnectionClient::new(self.channel.clone())
            .get_central_node_status(request.into_inner())
            .await
    }
}

#[tonic::async_trait]
impl Heartbeat for ScriptedCentral {
    async fn send_heartbeat(
        &self,
        request: Request<v1::HeartbeatMessage>,
    ) -> Result<Response<v1::HeartbeatAcknowledgement>, Status> {
        HeartbeatClient::new(self.channel.clone()).send_heartbeat(request.into_inner()).await
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
        HeartbeatClient::new(self.channel.clone()).get_heartbeat_status(request.into_inner()).await
    }
}

#[tonic::async_trait]
impl SystemRegisterSync for ScriptedCentral {
    type FullSyncStream = Streamed<EncodedEntry>;
    type IncrementalSyncStream = Streamed<EncodedEntry>;
    type SubscribeToPushNotificationsStream = Streaming<v1::BlueprintNotification>;
    type ReceivePushNotificationStream = Streamed<EncodedEntry>;

    async fn full_sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::FullSyncStream>, Status> {
        Self::answers(self.silence.pull).await;
        Ok(self.scripted(self.sync().full_sync(request.into_inner()).await?))
    }

    async fn incremental_sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::IncrementalSyncStream>, Status> {
        Self::answers(self.silence.pull).await;
        Ok(self.scripted(self.sync().incremental_sync(request.into_inner()).await?))
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
        Self::answers(self.silence.push).await;
        if self.has_push
            && let Some(script) = self.next()
        {
            return Ok(Response::new(script.stream()));
        }
        let mut acknowledgements = request.into_inner();
        if self.silence.acknowledgements {
            let first = acknowledgements.message().await?;
            let opening = stream::iter(first).chain(stream::pending());
            let real = self.sync().receive_push_notification(opening).await?.into_inner();
            // What is not read is kept, not refused.
            let kept = real.map(move |entry| {
                let _unread = &acknowledgements;
                entry
            });
            return Ok(Response::new(Box::pin(kept)));
        }
        let acknowledgements = acknowledgements.filter_map(|message| std::future::ready(message.ok()));
        let real = self.sync().receive_push_notification(acknowledgements).await?;
        Ok(Response::new(Box::pin(real.into_inner())))
    }
}
