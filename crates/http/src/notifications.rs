//! A peer's push stream.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_peer::{Command, PeerNode};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Served,
    auth::Writer,
    connection::{Accepted, check_connected, command},
    openapi::{Fails, NotConnected},
    problem::Problem,
};

pub(super) fn routes() -> OpenApiRouter<Served<Arc<PeerNode>>> {
    OpenApiRouter::default().routes(routes!(subscription)).routes(routes!(subscribe))
}

/// A peer's push stream.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"isSubscribed": true, "subscribedAt": "2026-11-22T09:00:00.000Z", "centralNodeId": "n0.sorcha.dev"}))]
struct Subscription {
    is_subscribed: bool,
    subscribed_at: Option<Instant>,
    central_node_id: Option<String>,
}

/// Whether publications are pushed to this peer.
#[utoipa::path(
    get, path = "/api/notifications/subscription", tag = "sync",
    responses((status = 200, description = "The push stream", body = Subscription))
)]
async fn subscription(State(node): State<Arc<PeerNode>>) -> Json<Subscription> {
    let status = node.status();
    Json(Subscription {
        is_subscribed: status.subscribed_at.is_some(),
        subscribed_at: status.subscribed_at.map(Instant),
        central_node_id: status.central_node_id.filter(|_| status.subscribed_at.is_some()),
    })
}

/// Opens the push stream now, if it is closed.
#[utoipa::path(
    post, path = "/api/notifications/subscribe", tag = "sync", security(("bearer" = [])),
    responses((status = 202, description = "It is open, or will be", body = Accepted), Fails<401>, Fails<403>, NotConnected)
)]
async fn subscribe(
    State(node): State<Arc<PeerNode>>,
    _writer: Writer,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let status = node.status();
    check_connected(&status)?;
    if status.subscribed_at.is_some() {
        return Ok((
            StatusCode::ACCEPTED,
            Json(Accepted { success: true, message: "the push stream is open" }),
        ));
    }
    command(&node, Command::Subscribe).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { success: true, message: "opening the push stream" })))
}
