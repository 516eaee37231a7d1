//! A peer's heartbeats.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_peer::{PeerNode, machine::state::PeerState};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Served;

pub(super) fn routes() -> OpenApiRouter<Served<Arc<PeerNode>>> {
    OpenApiRouter::default().routes(routes!(heartbeat_status))
}

/// A peer's heartbeats.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "peerId": "edge-0", "connectedCentralNode": "n0.sorcha.dev", "lastHeartbeatSent": "2026-11-22T09:30:00.000Z",
    "lastHeartbeatAcknowledged": "2026-11-22T09:30:00.002Z", "missedHeartbeats": 0, "isHealthy": true, "averageLatencyMs": 1.8,
    "totalHeartbeatsSent": 60, "totalHeartbeatsAcknowledged": 60, "heartbeatSequence": 60
}))]
struct HeartbeatView {
    peer_id: String,
    connected_central_node: Option<String>,
    last_heartbeat_sent: Option<Instant>,
    last_heartbeat_acknowledged: Option<Instant>,
    /// Missed in a row.
    missed_heartbeats: u32,
    /// Heartbeats are acknowledged and none is missing.
    is_healthy: bool,
    /// Mean round trip of the last 10.
    average_latency_ms: f64,
    total_heartbeats_sent: u64,
    total_heartbeats_acknowledged: u64,
    heartbeat_sequence: i64,
}

/// The heartbeats that this peer sends.
#[utoipa::path(
    get, path = "/api/heartbeat/status", tag = "connection",
    responses((status = 200, description = "The heartbeats", body = HeartbeatView))
)]
async fn heartbeat_status(State(node): State<Arc<PeerNode>>) -> Json<HeartbeatView> {
    let status = node.status();
    let beats = &status.heartbeat;
    Json(HeartbeatView {
        peer_id: node.id.to_string(),
        last_heartbeat_sent: beats.last_sent.map(Instant),
        last_heartbeat_acknowledged: beats.last_acknowledged.map(Instant),
        missed_heartbeats: beats.missed,
        is_healthy: status.state == PeerState::HeartbeatMonitoring && beats.missed == 0,
        average_latency_ms: beats.average_ms(),
        total_heartbeats_sent: beats.sent,
        total_heartbeats_acknowledged: beats.acknowledged,
        heartbeat_sequence: beats.sequence,
        connected_central_node: status.central_node_id,
    })
}
