//! A peer's connection to its central node.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_peer::{
    Command, PeerNode,
    machine::state::PeerState,
    status::{PeerStatus, Refused, Transition},
};
use sorcha_register::{names::Version, session_name::session_name};
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Served,
    auth::Writer,
    openapi::{Fails, NotConnected},
    problem::{Kind, Problem},
    reading::Freshness,
};

pub(super) fn routes() -> OpenApiRouter<Served<Arc<PeerNode>>> {
    OpenApiRouter::default()
        .routes(routes!(connection_status))
        .routes(routes!(central_connection))
        .routes(routes!(reconnect))
}

/// How long a command waits for the running peer to take it.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// When a caller may ask again for what needs a connection.
const RETRY_CONNECTION: Duration = Duration::from_secs(5);

/// Hands a command to the running peer.
pub(super) async fn command(node: &PeerNode, command: Command) -> Result<(), Problem> {
    match timeout(TAKEN_WITHIN, node.command(command)).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => {
            Err(Problem::new(Kind::NOT_RUNNING, "the peer is starting or stopping")
                .retry_after(RETRY_CONNECTION))
        }
    }
}

/// The problem of what needs a central node while there is none.
pub(super) fn not_connected(state: PeerState) -> Problem {
    let detail =
        format!("this peer is {state}; it connects by itself as soon as a central node can be reached");
    Problem::new(Kind::NOT_CONNECTED, detail).retry_after(RETRY_CONNECTION)
}

/// Refuses what needs a session while there is none.
pub(super) fn check_connected(status: &PeerStatus) -> Result<(), Problem> {
    match status.state {
        PeerState::Connected | PeerState::HeartbeatMonitoring => Ok(()),
        state => Err(not_connected(state)),
    }
}

/// Whether a command was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"success": true, "message": "connecting again, from the first central node on"}))]
pub(super) struct Accepted {
    pub(super) success: bool,
    pub(super) message: &'static str,
}

/// A peer's connection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "peerId": "edge-0", "status": "HeartbeatMonitoring", "since": "2026-11-22T09:00:00.000Z",
    "connectedCentralNodeId": "n0.sorcha.dev", "connectionEstablished": "2026-11-22T09:00:00.000Z",
    "sessionId": "8f14e45fceea",
    "lastHeartbeat": "2026-11-22T09:30:00.000Z", "lastSyncVersion": 42, "versionLag": 0,
    "centralNodeConfig": {"nodeId": "n0.sorcha.dev", "hostname": "n0.sorcha.dev", "port": 5000, "priority": 0},
    "isolatedSince": null, "splitBrain": null, "refused": null, "freshAsOf": "2026-11-22T09:30:00.000Z", "stalenessSeconds": 12, "failovers": 1,
    "transitions": [{"at": "2026-11-22T09:00:00.000Z", "what": "HeartbeatMonitoring"}]
}))]
struct ConnectionStatus {
    peer_id: String,
    /// `Disconnected`, `Connecting`, `Connected`, `HeartbeatMonitoring` or `Isolated`.
    status: &'static str,
    /// Since when.
    since: Instant,
    connected_central_node_id: Option<String>,
    /// Start of the session.
    connection_established: Option<Instant>,
    /// What the logs of both sides call the session by: not the id that calls need.
    session_id: Option<String>,
    /// Newest acknowledged heartbeat.
    last_heartbeat: Option<Instant>,
    /// Newest version held.
    last_sync_version: i64,
    /// Versions behind the central node, as last heard; negative where it has lost versions that this peer holds.
    version_lag: i64,
    central_node_config: Option<CentralNodeConfig>,
    /// Since when no central node could be reached.
    isolated_since: Option<Instant>,
    /// A central node that serves another lineage; nothing was merged.
    split_brain: Option<String>,
    /// A central node whose register contradicts this replica; nothing of it was taken.
    refused: Option<RefusedView>,
    /// The replica was last known to equal its central node's register at this instant.
    fresh_as_of: Option<Instant>,
    /// Age of the replica; absent when it was never synced.
    staleness_seconds: Option<u64>,
    /// Moves to another central node since start.
    failovers: u64,
    /// The newest changes, newest first.
    transitions: Vec<TransitionView>,
}

/// Address of the central node in use.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CentralNodeConfig {
    node_id: String,
    hostname: String,
    port: u16,
    priority: u16,
}

impl CentralNodeConfig {
    fn of(status: &PeerStatus) -> Option<Self> {
        let id = status.central_node_id.as_deref()?;
        let central = status.central_nodes.iter().find(|central| central.address.id() == id)?;
        Some(Self {
            node_id: id.to_owned(),
            hostname: central.address.host.clone(),
            port: central.address.port,
            priority: central.address.priority,
        })
    }
}

/// A register that this peer takes nothing of.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RefusedView {
    central_node_id: String,
    at: Instant,
    /// What it contradicts, in one word.
    reason: &'static str,
    /// The same in a sentence.
    message: String,
    blueprint_id: Option<String>,
    version: Option<i64>,
}

impl From<&Refused> for RefusedView {
    fn from(refused: &Refused) -> Self {
        let Refused { central_node_id, at, contradiction } = refused;
        Self {
            central_node_id: central_node_id.clone(),
            at: Instant(*at),
            reason: contradiction.label(),
            message: contradiction.to_string(),
            blueprint_id: contradiction.blueprint_id().map(ToString::to_string),
            version: contradiction.version().map(Version::get),
        }
    }
}

/// A change of the connection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransitionView {
    at: Instant,
    /// What happened, in one line.
    what: String,
}

impl From<Transition> for TransitionView {
    fn from(transition: Transition) -> Self {
        Self { at: transition.at.into(), what: transition.what }
    }
}

/// Who this peer is connected to, since when, and how far behind.
#[utoipa::path(
    get, path = "/api/connection/status", tag = "connection",
    responses((status = 200, description = "The connection", body = ConnectionStatus))
)]
async fn connection_status(State(node): State<Arc<PeerNode>>) -> Json<ConnectionStatus> {
    let (status, loaded) = (node.status(), node.replica.state());
    let (held, freshness) = (loaded.view.head(), Freshness::of(&node, &loaded));
    Json(ConnectionStatus {
        peer_id: node.id.to_string(),
        status: status.state.as_str(),
        since: status.since.into(),
        connected_central_node_id: status.central_node_id.clone(),
        connection_established: status.connected_at.map(Instant),
        session_id: status.session_id.as_deref().map(session_name),
        last_heartbeat: status.heartbeat.last_acknowledged.map(Instant),
        last_sync_version: held.get(),
        version_lag: status.signed_lag(held),
        central_node_config: CentralNodeConfig::of(&status),
        isolated_since: status.isolated_since.map(Instant),
        fresh_as_of: status.fresh_as_of.map(|moment| Instant(moment.wall)),
        staleness_seconds: freshness.age.map(|age| age.as_secs()),
        failovers: status.failovers,
        split_brain: status.split_brain,
        refused: status.refused.as_ref().map(Into::into),
        transitions: status.transitions.into_iter().map(Into::into).collect(),
    })
}

/// A peer's connection in short.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "status": "HeartbeatMonitoring", "connectedCentralNodeId": "n0.sorcha.dev", "connectionEstablished": "2026-11-22T09:00:00.000Z",
    "lastHeartbeat": "2026-11-22T09:30:00.000Z", "versionLag": 0
}))]
struct CentralConnection {
    status: &'static str,
    connected_central_node_id: Option<String>,
    connection_established: Option<Instant>,
    last_heartbeat: Option<Instant>,
    version_lag: i64,
}

/// The connection in short.
#[utoipa::path(
    get, path = "/api/central-connection", tag = "connection",
    responses((status = 200, description = "The connection", body = CentralConnection))
)]
async fn central_connection(State(node): State<Arc<PeerNode>>) -> Json<CentralConnection> {
    let status = node.status();
    Json(CentralConnection {
        status: status.state.as_str(),
        version_lag: status.signed_lag(node.replica.head()),
        connection_established: status.connected_at.map(Instant),
        last_heartbeat: status.heartbeat.last_acknowledged.map(Instant),
        connected_central_node_id: status.central_node_id,
    })
}

/// Leaves the session, if there is one, and connects again from the first central node on.
#[utoipa::path(
    post, path = "/api/connection/reconnect", tag = "connection", security(("bearer" = [])),
    responses((status = 202, description = "It does so now", body = Accepted), Fails<401>, Fails<403>, NotConnected)
)]
async fn reconnect(
    State(node): State<Arc<PeerNode>>,
    _writer: Writer,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    command(&node, Command::Reconnect).await?;
    let message =
        "connecting again, from the first central node on; /api/connection/status shows the outcome";
    Ok((StatusCode::ACCEPTED, Json(Accepted { success: true, message })))
}
