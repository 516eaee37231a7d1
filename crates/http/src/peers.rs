//! `/api/peers`: the sessions of a central node.
//!
//! Session ids are deliberately absent: who knows one can speak for the session. Addresses are for callers with a token.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_central::{
    CentralNode,
    session::{Health, Session},
};
use sorcha_register::{
    clock::Monotonic,
    names::{PeerId, Version},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Served,
    auth::Caller,
    openapi::Fails,
    problem::{Kind, Problem},
};

pub(super) fn routes() -> OpenApiRouter<Served<Arc<CentralNode>>> {
    OpenApiRouter::default()
        .routes(routes!(list_peers))
        .routes(routes!(peer_stats))
        .routes(routes!(peers_health))
        .routes(routes!(connected_peers))
        .routes(routes!(get_peer))
}

/// Condition of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
enum SessionStatus {
    /// Heartbeats come in time.
    Connected,
    /// The same, and a sync runs.
    Syncing,
    /// Heartbeats are overdue.
    HeartbeatTimeout,
    /// Over: heartbeats stopped.
    TimedOut,
    /// Over: the peer left.
    Disconnected,
}

/// A peer's session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "peerId": "edge-0", "address": "10.0.0.7", "port": 41234, "connectedAt": "2026-11-22T09:00:00.000Z",
    "lastHeartbeat": "2026-11-22T09:30:00.000Z", "lastSyncVersion": 42, "confirmedVersion": 42, "versionLag": 0, "status": "Connected",
    "missedHeartbeats": 0,
    "totalHeartbeatsReceived": 60, "averageLatencyMs": 1.8, "behindSince": null, "isLagging": false, "blueprintCount": 41, "isSubscribed": true
}))]
struct PeerView {
    peer_id: String,
    /// Where the peer's newest call came from; null to callers without a valid token.
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
    port: Option<u16>,
    connected_at: Instant,
    /// Newest heartbeat, or the start of the session before the first.
    last_heartbeat: Instant,
    /// Newest version the peer reported.
    last_sync_version: i64,
    /// Newest version that the peer has said it holds; what was sent to it and not confirmed is not counted.
    confirmed_version: i64,
    /// Versions behind this node; negative when the peer is ahead, which is an integrity fault.
    version_lag: i64,
    status: SessionStatus,
    /// Heartbeats missed in a row.
    missed_heartbeats: u64,
    total_heartbeats_received: u64,
    average_latency_ms: f64,
    /// Since when it has not been up to date; null while it is.
    behind_since: Option<Instant>,
    /// It has been behind for longer than `limits.lagging_after`.
    is_lagging: bool,
    /// Entries in the peer's replica, as it reports them.
    blueprint_count: i32,
    /// A push stream is open.
    is_subscribed: bool,
}

/// What a session is judged by.
#[derive(Clone, Copy)]
struct Moment<'a> {
    node: &'a CentralNode,
    now: Monotonic,
    head: Version,
}

impl<'a> Moment<'a> {
    fn now(node: &'a CentralNode) -> Self {
        Self { node, now: node.env.clock.monotonic(), head: node.log.view().head() }
    }

    fn view(self, session: &Session, health: Health, caller: Caller) -> PeerView {
        let status = match health {
            Health::Healthy if session.syncing > 0 => SessionStatus::Syncing,
            Health::Healthy => SessionStatus::Connected,
            Health::Warning | Health::Critical => SessionStatus::HeartbeatTimeout,
            Health::TimedOut => SessionStatus::TimedOut,
            Health::Disconnected => SessionStatus::Disconnected,
        };
        let remote = session.remote().filter(|_| caller.is_trusted);
        PeerView {
            peer_id: session.peer_id.to_string(),
            address: remote.map(|remote| remote.ip()),
            port: remote.map(|remote| remote.port()),
            connected_at: session.connected_at.into(),
            last_heartbeat: session.last_heartbeat_at.into(),
            last_sync_version: session.reported.get(),
            confirmed_version: session.confirmed.get(),
            version_lag: self.head.get() - session.reported.get(),
            status,
            missed_heartbeats: session.missed(self.now, self.node.config.heartbeat.interval),
            total_heartbeats_received: session.received,
            average_latency_ms: session.average_latency_ms(),
            behind_since: session.behind_since().map(Into::into),
            is_lagging: session.is_lagging,
            blueprint_count: session.blueprint_count,
            is_subscribed: session.has_push,
        }
    }
}

/// All live sessions, by peer id.
fn live(node: &CentralNode, caller: Caller) -> Vec<PeerView> {
    let (moment, interval) = (Moment::now(node), node.config.heartbeat.interval);
    let sessions = node.sessions();
    let view = |session: &Session| moment.view(session, session.health(moment.now, interval), caller);
    let mut peers: Vec<_> = sessions.live().map(view).collect();
    drop(sessions);
    peers.sort_unstable_by(|a, b| a.peer_id.cmp(&b.peer_id));
    peers
}

fn is_healthy(peer: &PeerView) -> bool {
    matches!(peer.status, SessionStatus::Connected | SessionStatus::Syncing)
}

fn mean_latency(peers: &[PeerView]) -> f64 {
    let sum: f64 = peers.iter().map(|peer| peer.average_latency_ms).sum();
    if peers.is_empty() { 0.0 } else { sum / peers.len() as f64 }
}

/// The peers that are connected now.
#[utoipa::path(
    get, path = "/api/peers", tag = "peers", security((), ("bearer" = [])),
    responses((status = 200, description = "By peer id", body = Vec<PeerView>))
)]
async fn list_peers(State(node): State<Arc<CentralNode>>, caller: Caller) -> Json<Vec<PeerView>> {
    Json(live(&node, caller))
}

/// One peer's session, live or ended.
///
/// A peer named like a sibling of this path (`stats`, `health`, `connected`) is found in `/api/peers` only.
#[utoipa::path(
    get, path = "/api/peers/{peerId}", tag = "peers", security((), ("bearer" = [])),
    params(("peerId" = String, Path, description = "Peer id", min_length = 1, max_length = 64, example = "edge-0")),
    responses((status = 200, description = "Its session", body = PeerView), Fails<400>, Fails<404>)
)]
async fn get_peer(
    State(node): State<Arc<CentralNode>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<PeerView>, Problem> {
    let (id, moment) = (PeerId::new(id)?, Moment::now(&node));
    let view = |(session, health)| moment.view(session, health, caller);
    let found = node.sessions().look_up(&id, moment.now).map(view);
    let unknown = || Problem::new(Kind::NOT_FOUND, format!("this central node knows no peer {id}"));
    found.map(Json).ok_or_else(unknown)
}

/// Totals over the connected peers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "totalPeers": 97, "healthyPeers": 96, "unhealthyPeers": 1, "upToDatePeers": 95, "syncingPeers": 1, "laggingPeers": 0, "subscribedPeers": 97,
    "averageLatencyMs": 1.8, "currentVersion": 42, "minVersion": 40, "maxLag": 2, "maxPeers": 10000
}))]
struct PeerStats {
    total_peers: usize,
    healthy_peers: usize,
    unhealthy_peers: usize,
    /// Peers that reported this node's newest version.
    up_to_date_peers: usize,
    syncing_peers: usize,
    /// Peers that have been behind for longer than `limits.lagging_after`.
    lagging_peers: usize,
    /// Peers with an open push stream.
    subscribed_peers: usize,
    average_latency_ms: f64,
    /// Newest version at this node.
    current_version: i64,
    /// Lowest of the versions that each peer has said it holds; null without peers.
    min_version: Option<i64>,
    /// Most versions that a peer is behind.
    max_lag: i64,
    /// How many peers this node takes.
    max_peers: usize,
}

/// Totals over the connected peers.
#[utoipa::path(get, path = "/api/peers/stats", tag = "peers", responses((status = 200, description = "Totals", body = PeerStats)))]
async fn peer_stats(State(node): State<Arc<CentralNode>>) -> Json<PeerStats> {
    let peers = live(&node, Caller::ANYBODY);
    let count = |test: fn(&&PeerView) -> bool| peers.iter().filter(test).count();
    let healthy_peers = count(|peer| is_healthy(peer));
    let current_version = node.log.view().head().get();
    Json(PeerStats {
        total_peers: peers.len(),
        healthy_peers,
        unhealthy_peers: peers.len() - healthy_peers,
        up_to_date_peers: peers.iter().filter(|peer| peer.confirmed_version >= current_version).count(),
        syncing_peers: count(|peer| peer.status == SessionStatus::Syncing),
        lagging_peers: count(|peer| peer.is_lagging),
        subscribed_peers: count(|peer| peer.is_subscribed),
        average_latency_ms: mean_latency(&peers),
        current_version,
        min_version: peers.iter().map(|peer| peer.confirmed_version).min(),
        max_lag: peers.iter().map(|peer| peer.version_lag).max().unwrap_or(0).max(0),
        max_peers: node.config.limits.max_peers,
    })
}

/// How the connected peers are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PeersHealth {
    #[schema(example = 97)]
    total_peers: usize,
    #[schema(example = 96)]
    healthy_peers: usize,
    #[schema(example = 1)]
    unhealthy_peers: usize,
    /// 100 without peers.
    #[schema(example = 98.97)]
    health_percentage: f64,
    peers: Vec<PeerView>,
}

/// How the connected peers are.
#[utoipa::path(
    get, path = "/api/peers/health", tag = "peers", security((), ("bearer" = [])),
    responses((status = 200, description = "Their health", body = PeersHealth))
)]
async fn peers_health(State(node): State<Arc<CentralNode>>, caller: Caller) -> Json<PeersHealth> {
    let peers = live(&node, caller);
    let (total_peers, healthy_peers) = (peers.len(), peers.iter().filter(|peer| is_healthy(peer)).count());
    let share = if total_peers == 0 { 1.0 } else { healthy_peers as f64 / total_peers as f64 };
    Json(PeersHealth {
        total_peers,
        healthy_peers,
        unhealthy_peers: total_peers - healthy_peers,
        health_percentage: share * 100.0,
        peers,
    })
}

/// How many peers are connected, and to callers with a token who they are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConnectedPeers {
    #[schema(example = 97)]
    connected_peer_count: usize,
    /// With a valid token only.
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Vec<PeerView>>,
}

/// How many peers are connected; with a token, who they are.
#[utoipa::path(
    get, path = "/api/peers/connected", tag = "peers", security((), ("bearer" = [])),
    responses((status = 200, description = "The count", body = ConnectedPeers))
)]
async fn connected_peers(State(node): State<Arc<CentralNode>>, caller: Caller) -> Json<ConnectedPeers> {
    let peers = live(&node, caller);
    Json(ConnectedPeers { connected_peer_count: peers.len(), peers: caller.is_trusted.then_some(peers) })
}
