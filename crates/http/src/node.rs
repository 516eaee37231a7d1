//! `/api/node`: who the node is, and how.

use axum::{Json, extract::State};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_config::Role;
use sorcha_register::view::RegisterView;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{NodeHandle, Served, health::Status, role_name};

pub(super) fn routes() -> OpenApiRouter<Served<NodeHandle>> {
    OpenApiRouter::default().routes(routes!(node_info)).routes(routes!(node_health))
}

/// Who a node is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "nodeId": "edge-0", "nodeType": "Peer", "isCentralNode": false, "hostname": "edge-0",
    "connectedCentralNode": "n0.sorcha.dev", "version": "0.1.0", "uptime": 86400, "lineage": "9f0c…",
    "registerVersion": 42, "registerDigest": "51ab…", "storeKind": "embedded"
}))]
struct NodeInfo {
    node_id: String,
    /// `Central` or `Peer`.
    node_type: &'static str,
    is_central_node: bool,
    hostname: String,
    /// Peer: the central node that it is connected to.
    connected_central_node: Option<String>,
    /// Version of the software.
    version: &'static str,
    /// Seconds since start.
    uptime: u64,
    /// Hex SHA-256 of the register's genesis record; absent until it is known.
    lineage: Option<String>,
    /// Newest version held.
    register_version: i64,
    /// Hex digest of the register at that version: equal digests at equal versions mean equal registers.
    register_digest: String,
    /// `embedded` or `mongodb`.
    store_kind: &'static str,
}

/// Who this node is, and which register it holds.
#[utoipa::path(get, path = "/api/node/info", tag = "node", responses((status = 200, description = "The node", body = NodeInfo)))]
async fn node_info(State(node): State<NodeHandle>) -> Json<NodeInfo> {
    let (view, store_kind, connected) = match &node {
        NodeHandle::Central(node) => (RegisterView::clone(&node.log.view()), node.log.store().kind(), None),
        NodeHandle::Peer(node) => {
            (node.replica.view(), node.replica.store_kind(), node.status().central_node_id)
        }
    };
    Json(NodeInfo {
        node_id: node.id().to_owned(),
        node_type: role_name(node.role()),
        is_central_node: node.role() == Role::Central,
        hostname: node.config().node.hostname.clone(),
        connected_central_node: connected,
        version: env!("CARGO_PKG_VERSION"),
        uptime: node.uptime().as_secs(),
        lineage: view.lineage().map(|lineage| lineage.to_string()),
        register_version: view.head().get(),
        register_digest: view.digest().to_string(),
        store_kind,
    })
}

/// How a node is, in detail.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "nodeId": "n0.sorcha.dev", "nodeType": "Central", "status": "Degraded", "reason": "the store is not available",
    "timestamp": "2026-11-22T09:30:00.000Z", "uptime": 86400, "storeReachable": false, "integrityFindings": 0
}))]
struct NodeHealth {
    node_id: String,
    /// `Central` or `Peer`.
    node_type: &'static str,
    status: Status,
    /// Why, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    timestamp: Instant,
    /// Seconds since start.
    uptime: u64,
    /// Central node: whether its store answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_reachable: Option<bool>,
    /// Peer: state of its connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'static str>,
    /// Entries that failed their integrity check.
    integrity_findings: usize,
}

/// How this node is. Always 200: this reports, the probes judge.
#[utoipa::path(
    get, path = "/api/node/health", tag = "node",
    responses((status = 200, description = "Its condition", body = NodeHealth))
)]
async fn node_health(State(node): State<NodeHandle>) -> Json<NodeHealth> {
    let (status, reason) = node.status();
    let (store_reachable, connection, integrity_findings) = match &node {
        NodeHandle::Central(node) => (Some(node.log.is_reachable()), None, node.findings().len()),
        NodeHandle::Peer(node) => (None, Some(node.status().state.as_str()), node.replica.findings().len()),
    };
    Json(NodeHealth {
        node_id: node.id().to_owned(),
        node_type: role_name(node.role()),
        status,
        reason,
        timestamp: node.env().clock.now().into(),
        uptime: node.uptime().as_secs(),
        store_reachable,
        connection,
        integrity_findings,
    })
}
