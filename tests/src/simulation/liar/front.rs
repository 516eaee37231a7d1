//! The front of a central node that lies at some time: what peers connect to.

use std::{io, sync::Arc};

use axum::serve::Listener as _;
use futures::stream;
use hyper_util::rt::TokioIo;
use sorcha_central::incoming::Tracked;
use sorcha_config::Config;
use sorcha_proto::{
    raw::system_register_sync_server::SystemRegisterSyncServer,
    v1::{central_node_connection_server::CentralNodeConnectionServer, heartbeat_server::HeartbeatServer},
};
use tokio::{
    io::DuplexStream,
    sync::{Mutex, mpsc},
};
use tonic::transport::{Channel, Endpoint, Server};

use super::{Liar, services::Services};
use crate::simulation::net::{Host, Incoming, SimStream};

/// Bytes on their way between the front and the node.
const BUFFER: usize = 65_536;

/// Stands between peers and a central node, in its process.
pub(in super::super) struct Front(Liar);

/// The connections of a front to the node behind it.
pub(in super::super) type Behind = mpsc::UnboundedReceiver<io::Result<Tracked<DuplexStream>>>;

impl Front {
    pub(super) const fn new(liar: Liar) -> Self {
        Self(liar)
    }

    /// Accepts peers for ever; the node behind serves what is returned.
    pub(in super::super) fn open(self, mut accepted: Incoming) -> Behind {
        let (behind, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (stream, from) = tokio::select! {
                    accepted = accepted.accept() => accepted,
                    () = behind.closed() => return,
                };
                let (ours, theirs) = tokio::io::duplex(BUFFER);
                if behind.send(Ok(Tracked::new(theirs, None))).is_err() {
                    return;
                }
                tokio::spawn(serve(self.0.clone(), from, stream, ours));
            }
        });
        connections
    }
}

/// Serves one peer. When its connection is gone, so is the one behind.
async fn serve(liar: Liar, from: Host, stream: SimStream, behind: DuplexStream) {
    let Host::Peer(peer) = from else { return };
    let Ok(channel) = connect(behind).await else { return };
    let keepalive = Config::default().keepalive;
    let services = Services::new(liar, peer, channel);
    let server = Server::builder()
        .http2_keepalive_interval(Some(keepalive.interval))
        .http2_keepalive_timeout(Some(keepalive.timeout))
        .add_service(CentralNodeConnectionServer::new(services.clone()))
        .add_service(HeartbeatServer::new(services.clone()))
        .add_service(SystemRegisterSyncServer::new(services));
    // A connection that ends badly has ended.
    drop(server.serve_with_incoming(stream::iter([Ok::<_, io::Error>(Tracked::new(stream, None))])).await);
}

/// Connects once: a connection that is gone is not made again.
async fn connect(behind: DuplexStream) -> Result<Channel, tonic::transport::Error> {
    let behind = Arc::new(Mutex::new(Some(behind)));
    let connector = tower::service_fn(move |_uri| {
        let behind = Arc::clone(&behind);
        async move {
            let stream = behind.lock().await.take();
            stream.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset))
        }
    });
    Endpoint::from_static("http://behind").connect_with_connector(connector).await
}
