//! The gRPC server of a central node.

use std::{future::Future, io, sync::Arc};

use futures::{Stream, StreamExt as _, future::ready};
use http::{HeaderValue, header};
use sorcha_proto::{
    raw::system_register_sync_server::SystemRegisterSyncServer,
    v1::{central_node_connection_server::CentralNodeConnectionServer, heartbeat_server::HeartbeatServer},
};
use sorcha_register::clock::Timestamp;
use sorcha_runtime::supervise;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Server, server::Connected as _};
use tonic::{Status, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::util::MapResponseLayer;

use super::{
    CentralNode, Condition,
    answers::Answers,
    connect::ConnectionService,
    heartbeat::HeartbeatService,
    incoming::{Connection, Tracked},
    sync::SyncService,
};

/// Bytes that a caller may send ahead on a stream; what callers send is small. A connection has four times as much.
const WINDOW: u32 = 65_535;

/// Serves peers on accepted connections until `shutdown`; tails the store and sweeps sessions meanwhile.
///
/// The caller owns the listener, so that tests and simulations bring their own.
///
/// # Errors
/// [`tonic::transport::Error`] when the server fails.
pub async fn serve<IO>(
    node: Arc<CentralNode>,
    incoming: impl Stream<Item = io::Result<Tracked<IO>>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (reporter, health) = tonic_health::server::health_reporter();
    let (limits, clock) = (&node.config.limits, Arc::clone(&node.env.clock));
    let server = Server::builder()
        .layer(MapResponseLayer::new(move |response| {
            dated(with_codes_of_the_contract(response), clock.now())
        }))
        .layer(Answers::default())
        .http2_keepalive_interval(Some(node.config.keepalive.interval))
        .http2_keepalive_timeout(Some(node.config.keepalive.timeout))
        .max_concurrent_streams(limits.max_streams_per_connection)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .add_routes(services(&node).add_service(health));
    let work = async {
        tokio::join!(
            supervise::forever("log-tail", &node.env, || node.log.tail()),
            supervise::forever("sweep", &node.env, || node.sweep()),
            supervise::forever("grpc-health", &node.env, || report_health(&node, &reporter)),
        );
    };
    let admitted = incoming
        .filter(|accepted| ready(accepted.as_ref().map_or(true, |io| node.admits(&io.connect_info()))));
    tokio::select! {
        served = server.serve_with_incoming_shutdown(admitted, shutdown) => served,
        () = work => Ok(()),
    }
}

/// The services of the protocol, and reflection.
fn services(node: &Arc<CentralNode>) -> Routes {
    let limits = &node.config.limits;
    let largest = limits.max_request_bytes;
    let services = Routes::default()
        .add_service(
            CentralNodeConnectionServer::new(ConnectionService(Arc::clone(node)))
                .max_decoding_message_size(largest),
        )
        .add_service(
            HeartbeatServer::new(HeartbeatService(Arc::clone(node))).max_decoding_message_size(largest),
        )
        .add_service(
            SystemRegisterSyncServer::new(SyncService(Arc::clone(node)))
                .max_encoding_message_size(limits.max_message_bytes)
                .max_decoding_message_size(largest),
        );
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(sorcha_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => services.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "gRPC reflection is off");
            services
        }
    }
}

impl CentralNode {
    /// Cuts a connection that no session uses, although there are places, for want of something else.
    pub fn relieve_connections(&self) {
        if self.connections.relieve(self.env.clock.monotonic()) {
            self.env.metrics.cut(1);
        }
    }

    /// Whether there is a place for a connection.
    fn admits(&self, connection: &Connection) -> bool {
        let admitted = self.connections.admit(connection, self.env.clock.monotonic());
        if !admitted {
            self.env.metrics.refused("max_connections");
            if self.limiters.may_log_refusal() {
                let (remote, limit) =
                    (connection.remote.map(tracing::field::display), self.config.limits.max_connections);
                tracing::warn!(
                    remote,
                    limit,
                    "connection refused: all are taken (limits.max_connections), or all that its certificate may have (limits.identity_sessions)"
                );
            }
        }
        admitted
    }
}

/// What the library answers to a message that is larger than a caller may send is a code that the contract never names (protocol section 5).
fn with_codes_of_the_contract<B>(mut response: http::Response<B>) -> http::Response<B> {
    let status = response.headers().get(Status::GRPC_STATUS);
    if status.is_some_and(|code| code.as_bytes() == b"11") {
        response.headers_mut().insert(Status::GRPC_STATUS, HeaderValue::from_static("3"));
    }
    response
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
    let (mut draining, mut exchange) = (node.draining.subscribe(), node.log.subscribe_exchange());
    loop {
        let status = match node.condition() {
            Condition::Healthy | Condition::Degraded | Condition::Contradicted(_) => ServingStatus::Serving,
            Condition::Unhealthy(_) | Condition::Exchanged(_) | Condition::Draining => {
                ServingStatus::NotServing
            }
        };
        for service in [
            "",
            "sorcha.peer.v1.CentralNodeConnection",
            "sorcha.peer.v1.Heartbeat",
            "sorcha.peer.v1.SystemRegisterSync",
        ] {
            reporter.set_service_status(service, status).await;
        }
        // The senders live as long as the node.
        tokio::select! {
            _ = draining.changed() => {}
            _ = exchange.changed() => {}
        }
    }
}
