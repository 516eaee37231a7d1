//! A peer's replication: its position, its pulls, and asking for one.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_peer::{
    Command, PeerNode,
    status::{PeerStatus, SyncRecord},
};
use sorcha_store::Loaded;
use tokio::{sync::oneshot, time::timeout};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Served,
    auth::Writer,
    connection::{check_connected, command, not_connected},
    openapi::{Fails, NotConnected},
    problem::{Kind, Problem},
    query::Params,
};

pub(super) fn routes() -> OpenApiRouter<Served<Arc<PeerNode>>> {
    OpenApiRouter::default()
        .routes(routes!(sync_checkpoint))
        .routes(routes!(trigger_sync))
        .routes(routes!(reset_checkpoint))
        .routes(routes!(sync_history))
}

/// How long a caller waits for the end of a sync; after that it goes on and the history tells.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// State of the replica as against its central node (contract CheckpointStatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
enum CheckpointStatus {
    /// Never synced, or no central node was heard of since start.
    Unknown,
    /// Nothing is missing.
    UpToDate,
    /// A sync is needed.
    Behind,
    /// A sync runs.
    Syncing,
    /// The last sync failed.
    SyncFailed,
}

impl CheckpointStatus {
    fn of(status: &PeerStatus, loaded: &Loaded) -> Self {
        let is_behind = status.lag(loaded.view.head()) > 0;
        match &loaded.checkpoint {
            _ if status.syncing => Self::Syncing,
            _ if status.last_sync_error.is_some() => Self::SyncFailed,
            Some(_) if is_behind => Self::Behind,
            Some(_) if status.fresh_as_of.is_some() => Self::UpToDate,
            _ => Self::Unknown,
        }
    }
}

/// A peer's position.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "peerId": "edge-0", "currentVersion": 42, "lastSyncTime": "2026-11-22T09:30:00.000Z", "totalBlueprints": 41,
    "centralNodeId": "n0.sorcha.dev", "nextSyncDue": "2026-11-22T09:35:00.000Z", "status": "UpToDate"
}))]
struct CheckpointView {
    peer_id: String,
    /// Highest version processed.
    current_version: i64,
    /// Last successful sync; absent before the first.
    last_sync_time: Option<Instant>,
    /// Entries held.
    total_blueprints: usize,
    /// Central node that the position belongs to.
    central_node_id: Option<String>,
    next_sync_due: Option<Instant>,
    status: CheckpointStatus,
}

/// The replica's position.
#[utoipa::path(
    get, path = "/api/sync/checkpoint", tag = "sync",
    responses((status = 200, description = "The position", body = CheckpointView))
)]
async fn sync_checkpoint(State(node): State<Arc<PeerNode>>) -> Json<CheckpointView> {
    let (status, loaded) = (node.status(), node.replica.state());
    let checkpoint = loaded.checkpoint.as_ref();
    Json(CheckpointView {
        peer_id: node.id.to_string(),
        current_version: loaded.view.head().get(),
        last_sync_time: checkpoint.map(|checkpoint| checkpoint.last_sync_time.into()),
        total_blueprints: loaded.view.len(),
        central_node_id: checkpoint.map(|checkpoint| checkpoint.central_node_id.clone()),
        next_sync_due: checkpoint.map(|checkpoint| checkpoint.next_sync_due.into()),
        status: CheckpointStatus::of(&status, &loaded),
    })
}

/// Outcome of a sync that was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"success": true, "message": "2 blueprints synced", "syncId": "17", "blueprintsSynced": 2}))]
struct SyncOutcome {
    success: bool,
    message: String,
    /// Its id in `/api/sync/history`.
    sync_id: Option<String>,
    blueprints_synced: usize,
}

/// Pulls now and answers when it is done; incremental, unless `full=true`.
///
/// A sync that takes longer than a minute answers 202 and goes on.
#[utoipa::path(
    post, path = "/api/sync/trigger", tag = "sync", security(("bearer" = [])),
    params(("full" = Option<bool>, Query, description = "Fetch everything anew; default false")),
    responses(
        (status = 200, description = "Done", body = SyncOutcome),
        (status = 202, description = "Still running", body = SyncOutcome),
        Fails<400>, Fails<401>, Fails<403>, NotConnected
    )
)]
async fn trigger_sync(
    State(node): State<Arc<PeerNode>>,
    _writer: Writer,
    params: Params,
) -> Result<Response, Problem> {
    let full = params.only(&["full"])?.flag("full")?.unwrap_or(false);
    pull(&node, full).await
}

/// Starts over: fetches everything anew, now.
///
/// The replica is replaced only once all of it is there, so reads go on meanwhile; the same as
/// `/api/sync/trigger?full=true`, and refused like it while no central node is connected.
#[utoipa::path(
    post, path = "/api/sync/reset-checkpoint", tag = "sync", security(("bearer" = [])),
    responses(
        (status = 200, description = "Done", body = SyncOutcome),
        (status = 202, description = "Still running", body = SyncOutcome),
        Fails<401>, Fails<403>, NotConnected
    )
)]
async fn reset_checkpoint(State(node): State<Arc<PeerNode>>, _writer: Writer) -> Result<Response, Problem> {
    pull(&node, true).await
}

async fn pull(node: &PeerNode, full: bool) -> Result<Response, Problem> {
    let before = node.status();
    check_connected(&before)?;
    let newest_before = before.syncs.front().map(|record| record.id);
    let (reply, answer) = oneshot::channel();
    command(node, Command::Sync { full, reply }).await?;
    match timeout(ENDED_WITHIN, answer).await {
        Ok(Ok(Ok(count))) => {
            let newest = node.status().syncs.front().map(|record| record.id);
            let sync_id = newest.filter(|_| newest != newest_before).map(|id| id.to_string());
            let message = format!("{count} blueprints synced");
            Ok(Json(SyncOutcome { success: true, message, sync_id, blueprints_synced: count })
                .into_response())
        }
        Ok(Ok(Err(why))) => Err(Problem::new(Kind::SYNC_FAILED, why)),
        Ok(Err(_session_over)) => Err(not_connected(node.status().state)),
        Err(_elapsed) => {
            let message = "the sync goes on; /api/sync/history shows it when it ends".to_owned();
            let outcome = SyncOutcome { success: true, message, sync_id: None, blueprints_synced: 0 };
            Ok((StatusCode::ACCEPTED, Json(outcome)).into_response())
        }
    }
}

/// A sync that has ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "syncId": "17", "syncType": "Incremental", "startTime": "2026-11-22T09:30:00.000Z", "endTime": "2026-11-22T09:30:00.120Z",
    "blueprintsSynced": 2, "status": "Completed", "fromVersion": 40, "toVersion": 42, "error": null
}))]
struct SyncView {
    /// Counts since start.
    sync_id: String,
    /// `Full` or `Incremental`.
    sync_type: &'static str,
    start_time: Instant,
    end_time: Instant,
    blueprints_synced: usize,
    /// `Completed` or `Failed`.
    status: &'static str,
    from_version: i64,
    to_version: i64,
    /// Why it failed.
    error: Option<String>,
}

impl From<SyncRecord> for SyncView {
    fn from(record: SyncRecord) -> Self {
        Self {
            sync_id: record.id.to_string(),
            sync_type: record.sync_type.as_str(),
            start_time: record.started.into(),
            end_time: record.ended.into(),
            blueprints_synced: record.entries,
            status: if record.error.is_some() { "Failed" } else { "Completed" },
            from_version: record.from.get(),
            to_version: record.to.get(),
            error: record.error,
        }
    }
}

/// The newest syncs since start, newest first.
#[utoipa::path(
    get, path = "/api/sync/history", tag = "sync",
    responses((status = 200, description = "The syncs", body = Vec<SyncView>))
)]
async fn sync_history(State(node): State<Arc<PeerNode>>) -> Json<Vec<SyncView>> {
    Json(node.status().syncs.into_iter().map(Into::into).collect())
}
