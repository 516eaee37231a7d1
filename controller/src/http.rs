//! Probes and metrics.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus::{Encoder as _, TextEncoder};
use tokio::{net::TcpListener, sync::watch};

use crate::metrics::Metrics;

#[derive(Clone)]
struct Served {
    metrics: Metrics,
    ready: watch::Receiver<bool>,
}

/// Serves `/livez`, `/readyz` and `/metrics`, for ever. A standby is ready: it can take over.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    ready: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show))
        .with_state(Served { metrics, ready });
    axum::serve(listener, router).await
}

async fn readyz(State(served): State<Served>) -> (StatusCode, &'static str) {
    if *served.ready.borrow() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the API server")
    }
}

async fn show(State(served): State<Served>) -> Result<String, StatusCode> {
    let mut text = Vec::new();
    let families = served.metrics.registry().gather();
    TextEncoder::new().encode(&families, &mut text).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    String::from_utf8(text).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
