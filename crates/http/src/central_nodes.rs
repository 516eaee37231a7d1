//! The central nodes that a node knows (protocol section 8): a peer its configured ones, a central node itself.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_central::CentralNode;
use sorcha_peer::status::{CentralNodeInfo, CentralNodeState};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{NodeHandle, Served};

pub(super) fn routes() -> OpenApiRouter<Served<NodeHandle>> {
    OpenApiRouter::default().routes(routes!(central_nodes)).routes(routes!(connection_central_nodes))
}

/// A central node, as this node knows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "nodeId": "n0.sorcha.dev", "hostname": "n0.sorcha.dev", "port": 5000, "priority": 0, "connectionStatus": "Connected",
    "isActive": true, "lastSuccessfulConnection": "2026-11-22T09:30:00.000Z", "lastConnectionAttempt": "2026-11-22T09:30:00.000Z",
    "consecutiveFailures": 0, "lastError": null
}))]
struct CentralNodeView {
    node_id: String,
    hostname: String,
    /// gRPC port.
    port: u16,
    /// Failover order, lowest first.
    priority: u16,
    connection_status: CentralNodeState,
    /// In use; at most one is.
    is_active: bool,
    last_successful_connection: Option<Instant>,
    last_connection_attempt: Option<Instant>,
    /// Failures since the last success.
    consecutive_failures: u32,
    /// Why the newest try failed.
    last_error: Option<String>,
}

impl From<CentralNodeInfo> for CentralNodeView {
    fn from(info: CentralNodeInfo) -> Self {
        Self {
            node_id: info.address.id().to_owned(),
            connection_status: info.state,
            is_active: info.is_active(),
            hostname: info.address.host,
            port: info.address.port,
            priority: info.address.priority,
            last_successful_connection: info.last_success.map(Instant),
            last_connection_attempt: info.last_attempt.map(Instant),
            consecutive_failures: info.consecutive_failures,
            last_error: info.last_error,
        }
    }
}

impl CentralNodeView {
    fn itself(node: &Arc<CentralNode>) -> Self {
        let own = node.config.central_nodes.iter().find(|address| address.id() == node.id());
        Self {
            node_id: node.id().to_owned(),
            hostname: node.config.node.hostname.clone(),
            port: own.map_or(node.config.listen.grpc.port(), |address| address.port),
            priority: own.map_or(0, |address| address.priority),
            connection_status: CentralNodeState::Connected,
            is_active: true,
            last_successful_connection: None,
            last_connection_attempt: None,
            consecutive_failures: 0,
            last_error: None,
        }
    }
}

fn known(node: &NodeHandle) -> Vec<CentralNodeView> {
    match node {
        NodeHandle::Central(node) => vec![CentralNodeView::itself(node)],
        NodeHandle::Peer(node) => node.status().central_nodes.into_iter().map(Into::into).collect(),
    }
}

/// The central nodes that this node knows, in priority order; a central node lists itself.
#[utoipa::path(
    get, path = "/api/central-nodes", tag = "node",
    responses((status = 200, description = "The central nodes", body = Vec<CentralNodeView>))
)]
async fn central_nodes(State(node): State<NodeHandle>) -> Json<Vec<CentralNodeView>> {
    Json(known(&node))
}

/// The same as `/api/central-nodes`, at the quickstart's path.
#[utoipa::path(
    get, path = "/api/connection/central-nodes", tag = "node",
    responses((status = 200, description = "The central nodes", body = Vec<CentralNodeView>))
)]
async fn connection_central_nodes(State(node): State<NodeHandle>) -> Json<Vec<CentralNodeView>> {
    Json(known(&node))
}
