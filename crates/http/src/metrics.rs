//! `/metrics`: the node's instruments in Prometheus text (protocol section 10).

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use prometheus::{Registry, TextEncoder};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::problem::{Kind, Problem};

pub(super) fn routes() -> OpenApiRouter<Registry> {
    OpenApiRouter::default().routes(routes!(show_metrics))
}

/// The node's metrics in Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((
        status = 200, description = "All instruments", body = String, content_type = "text/plain; version=0.0.4",
        example = json!("# TYPE register_version gauge\nregister_version{node_id=\"n0.sorcha.dev\"} 42\n")
    ))
)]
async fn show_metrics(State(registry): State<Registry>) -> Result<Response, Problem> {
    let text = TextEncoder::new()
        .encode_to_string(&registry.gather())
        .map_err(|error| Problem::new(Kind::INTERNAL, format!("the metrics are not encodable: {error}")))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}
