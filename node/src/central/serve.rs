//! The gRPC server of a central node.

use std::{future::Future, io, sync::Arc};

use futures::Stream;
use http::{HeaderValue, header};
use sorcha_proto::{
    raw::system_register_sync_server::SystemRegisterSyncServer,
    v1::{central_node_connection_server::CentralNodeConnectionServer, heartbeat_server::HeartbeatServer},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Server, server::Connected};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::util::MapResponseLayer;

use super::{
    CentralNode, Condition, connect::ConnectionService, heartbeat::HeartbeatService, sync::SyncService,
};
use crate::clock::Timestamp;

/// Serves peers on accepted connections until `shutdown`; tails the store and sweeps sessions meanwhile.
///
/// The caller owns the listener, so that tests and simulations bring their own.
///
/// # Errors
/// [`tonic::transport::Error`] when the server fails.
pub async fn serve<IO>(
    node: Arc<CentralNode>,
    incoming: impl Stream<Item = io::Result<IO>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let limits = &node.config.limits;
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(sorcha_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let clock = Arc::clone(&node.env.clock);
    let mut server = Server::builder()
        .layer(MapResponseLayer::new(move |response| dated(response, clock.now())))
        .http2_keepalive_interval(Some(node.config.keepalive.interval))
        .http2_keepalive_timeout(Some(node.config.keepalive.timeout))
        .max_concurrent_streams(limits.max_streams_per_connection)
        .add_service(health)
        .add_service(CentralNodeConnectionServer::new(ConnectionService(Arc::clone(&node))))
        .add_service(HeartbeatServer::new(HeartbeatService(Arc::clone(&node))))
        .add_service(
            SystemRegisterSyncServer::new(SyncService(Arc::clone(&node)))
                .max_encoding_message_size(limits.max_message_bytes),
        );
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => server = server.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "gRPC reflection is off"),
    }
    let work = async {
        tokio::join!(node.log.tail(), node.sweep(), report_health(&node, &reporter));
    };
    tokio::select! {
        served = server.serve_with_incoming_shutdown(incoming, shutdown) => served,
        () = work => Ok(()),
    }
}

/// States the node's own time as a response's date. Hyper would read the machine's clock for it, which a simulation has no
/// control of, and header compression would make the bytes on the connection depend on it.
fn dated<B>(mut response: http::Response<B>, now: Timestamp) -> http::Response<B> {
    if let Some(date) = now.http_date().and_then(|date| HeaderValue::from_str(&date).ok()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// Keeps `grpc.health.v1.Health` true to the node's condition.
async fn report_health(node: &CentralNode, reporter: &HealthReporter) {
    let mut draining = node.draining.subscribe();
    loop {
        let status = match node.condition() {
            Condition::Healthy | Condition::Degraded => ServingStatus::Serving,
            Condition::Unhealthy(_) | Condition::Draining => ServingStatus::NotServing,
        };
        for service in [
            "",
            "sorcha.peer.v1.CentralNodeConnection",
            "sorcha.peer.v1.Heartbeat",
            "sorcha.peer.v1.SystemRegisterSync",
        ] {
            reporter.set_service_status(service, status).await;
        }
        if draining.changed().await.is_err() {
            return;
        }
    }
}
