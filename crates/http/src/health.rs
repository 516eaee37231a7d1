//! Is it alive, is it ready, how is it: probes that mean something.

mod status;

use axum::{Json, extract::State};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_central::{CentralNode, session};
use sorcha_peer::PeerNode;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::status::Status;
use super::{
    NodeHandle, Served,
    auth::Auth,
    openapi::NotReady,
    problem::{Kind, Problem},
    role_name,
};

pub(super) fn routes() -> OpenApiRouter<Served<NodeHandle>> {
    OpenApiRouter::default()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(health))
        .routes(routes!(api_health))
}

/// A probe's answer.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "Ready"}))]
pub(super) struct Probe {
    status: &'static str,
}

/// Is the process alive?
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "It is", body = Probe)))]
pub(super) async fn livez() -> Json<Probe> {
    Json(Probe { status: "Alive" })
}

/// Does the node serve its role?
///
/// A central node does when its register is sound and it is not leaving, even while its store does not answer. A
/// peer does once it holds a verified replica, isolated or not.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, description = "It does", body = Probe), NotReady))]
async fn readyz(State(node): State<NodeHandle>) -> Result<Json<Probe>, Problem> {
    readiness_answer(node.readiness())
}

/// What a probe is answered.
pub(super) fn readiness_answer(readiness: Result<(), String>) -> Result<Json<Probe>, Problem> {
    readiness.map_err(|why| Problem::new(Kind::NOT_READY, why))?;
    Ok(Json(Probe { status: "Ready" }))
}

/// The node's health in short.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"status": "Isolated", "reason": "no central node can be reached", "role": "Peer", "uptime": 86400}))]
struct Health {
    status: Status,
    /// Why, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `Central` or `Peer`.
    role: &'static str,
    /// Seconds since start.
    uptime: u64,
    /// Last instant of the node's TLS certificate; absent where gRPC is plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_not_after: Option<Instant>,
}

/// How the node is; 200 also for an isolated peer, which goes on serving.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, description = "It serves", body = Health), NotReady))]
async fn health(State(node): State<NodeHandle>, State(auth): State<Auth>) -> Result<Json<Health>, Problem> {
    let (status, reason) = serving(&node, &auth)?;
    let (role, uptime) = (role_name(node.role()), node.uptime().as_secs());
    Ok(Json(Health { status, reason, role, uptime, certificate_not_after: node.certificate_not_after() }))
}

fn serving(node: &NodeHandle, auth: &Auth) -> Result<(Status, Option<String>), Problem> {
    match node.status() {
        // Reads go on; publishers may be shut out.
        (Status::Healthy, why) => {
            Ok(auth.trouble().map_or((Status::Healthy, why), |it| (Status::Degraded, Some(it))))
        }
        (Status::Unhealthy | Status::Draining, why) => {
            Err(Problem::new(Kind::NOT_READY, why.unwrap_or_default()))
        }
        status => Ok(status),
    }
}

/// The node's health with numbers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "status": "Healthy", "service": "sorcha-node", "timestamp": "2026-11-22T09:30:00.000Z", "version": "0.1.0",
    "uptime": 86400,
    "metrics": {"totalPeers": 97, "healthyPeers": 96, "unhealthyPeers": 1, "averageLatencyMs": 1.8, "queueSize": 0}
}))]
struct DetailedHealth {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    service: &'static str,
    timestamp: Instant,
    /// Version of the software.
    version: &'static str,
    /// Seconds since start.
    uptime: u64,
    /// Last instant of the node's TLS certificate; absent where gRPC is plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_not_after: Option<Instant>,
    metrics: HealthMetrics,
}

/// A central node counts its peers' sessions, a peer the central nodes that it knows.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HealthMetrics {
    total_peers: usize,
    healthy_peers: usize,
    unhealthy_peers: usize,
    average_latency_ms: f64,
    /// Syncs that run now.
    queue_size: usize,
}

/// How the node is, with counts of its connections.
#[utoipa::path(
    get, path = "/api/health", tag = "health",
    responses((status = 200, description = "It serves", body = DetailedHealth), NotReady)
)]
async fn api_health(
    State(node): State<NodeHandle>,
    State(auth): State<Auth>,
) -> Result<Json<DetailedHealth>, Problem> {
    let (status, reason) = serving(&node, &auth)?;
    Ok(Json(DetailedHealth {
        status,
        reason,
        service: "sorcha-node",
        timestamp: node.env().clock.now().into(),
        version: env!("CARGO_PKG_VERSION"),
        uptime: node.uptime().as_secs(),
        certificate_not_after: node.certificate_not_after(),
        metrics: match &node {
            NodeHandle::Central(node) => central_metrics(node),
            NodeHandle::Peer(node) => peer_metrics(node),
        },
    }))
}

fn central_metrics(node: &CentralNode) -> HealthMetrics {
    let (now, interval) = (node.env.clock.monotonic(), node.config.heartbeat.interval);
    let sessions = node.sessions();
    let healthy = sessions.live().filter(|s| s.health(now, interval) == session::Health::Healthy).count();
    let total = sessions.live().len();
    let latency: f64 = sessions.live().map(session::Session::average_latency_ms).sum();
    HealthMetrics {
        total_peers: total,
        healthy_peers: healthy,
        unhealthy_peers: total - healthy,
        average_latency_ms: if total == 0 { 0.0 } else { latency / total as f64 },
        queue_size: sessions.live().map(|s| s.syncing).sum(),
    }
}

fn peer_metrics(node: &PeerNode) -> HealthMetrics {
    let status = node.status();
    HealthMetrics {
        total_peers: status.central_nodes.len(),
        healthy_peers: status.central_nodes.iter().filter(|central| central.is_active()).count(),
        unhealthy_peers: status
            .central_nodes
            .iter()
            .filter(|central| central.consecutive_failures > 0)
            .count(),
        average_latency_ms: status.heartbeat.average_ms(),
        queue_size: usize::from(status.syncing),
    }
}
