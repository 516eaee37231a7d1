//! A bare tonic stream: the same bytes as a full sync, from a process of its own, and nothing else.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use futures::{Stream, stream};
use sorcha_config::Config;
use sorcha_peer::dial;
use sorcha_proto::{
    EncodedEntry,
    raw::{
        system_register_sync_client::SystemRegisterSyncClient,
        system_register_sync_server::{SystemRegisterSync, SystemRegisterSyncServer},
    },
    v1,
};
use tonic::{Request, Response, Status, Streaming, transport::Server as GrpcServer};

use crate::{
    process::{Server, accepts, free_ports},
    register,
};

type Entries = Pin<Box<dyn Stream<Item = Result<EncodedEntry, Status>> + Send>>;

/// Serves the entries of a register until it is killed.
pub(crate) async fn serve(data: &Path, port: u16) -> Result<()> {
    let view = register::load(data).await?;
    let entries = view.iter().map(|sealed| Ok(EncodedEntry(sealed.checked()?))).collect::<Result<_>>()?;
    let service = SystemRegisterSyncServer::new(Bare(Arc::new(entries)));
    Ok(GrpcServer::builder()
        .add_service(service)
        .serve(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await?)
}

/// The process that serves them.
pub(crate) struct BareServer {
    /// Kept, because dropping it kills it.
    server: Server,
    port: u16,
}

impl BareServer {
    /// Starts it over a register.
    pub(crate) async fn start(data: &Path, work: &Path) -> Result<Self> {
        let [port] = free_ports()?;
        let program = std::env::current_exe()?;
        let data = data.to_str().context("the work directory is no text")?;
        let arguments = ["--bare-server", data, "--bare-port", &port.to_string()];
        let mut server = Server::start("bare", &program, arguments, work)?;
        server.until_ready(|| accepts(port)).await?;
        Ok(Self { server, port })
    }

    /// Receives everything, with a peer's own connection settings, and looks at nothing; the bytes received.
    pub(crate) async fn receive(&self) -> Result<usize> {
        let address = sorcha_config::CentralNodeAddress {
            id: None,
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.port,
            priority: 0,
            ca_file: None,
        };
        let channel = dial::endpoint(&address, &Config::default())?.connect().await?;
        let mut client = SystemRegisterSyncClient::new(channel);
        let mut entries = client.full_sync(v1::SyncRequest::default()).await?.into_inner();
        let mut bytes = 0;
        while let Some(entry) = entries.message().await? {
            bytes += entry.0.len();
        }
        Ok(bytes)
    }

    /// Kills it.
    pub(crate) async fn kill(self) -> Result<()> {
        self.server.kill().await
    }
}

struct Bare(Arc<Vec<EncodedEntry>>);

#[tonic::async_trait]
impl SystemRegisterSync for Bare {
    type FullSyncStream = Entries;
    type IncrementalSyncStream = Entries;
    type SubscribeToPushNotificationsStream = stream::Empty<Result<v1::BlueprintNotification, Status>>;
    type ReceivePushNotificationStream = Entries;

    async fn full_sync(&self, _: Request<v1::SyncRequest>) -> Result<Response<Entries>, Status> {
        let entries = Arc::clone(&self.0);
        let all = (0..entries.len()).map(move |index| Ok(entries[index].clone()));
        Ok(Response::new(Box::pin(stream::iter(all))))
    }

    async fn incremental_sync(&self, _: Request<v1::SyncRequest>) -> Result<Response<Entries>, Status> {
        Err(Status::unimplemented("it only streams everything"))
    }

    async fn subscribe_to_push_notifications(
        &self,
        _: Request<v1::SubscriptionRequest>,
    ) -> Result<Response<Self::SubscribeToPushNotificationsStream>, Status> {
        Err(Status::unimplemented("it only streams everything"))
    }

    async fn get_sync_checkpoint(
        &self,
        _: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::SyncCheckpoint>, Status> {
        Err(Status::unimplemented("it only streams everything"))
    }

    async fn receive_push_notification(
        &self,
        _: Request<Streaming<v1::PushAcknowledgement>>,
    ) -> Result<Response<Entries>, Status> {
        Err(Status::unimplemented("it only streams everything"))
    }
}
