//! The OpenAPI document and its interactive page, which needs nothing from the internet.

use axum::{
    Router,
    body::Bytes,
    http::{HeaderValue, header},
    middleware::map_response,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

const DOCUMENT: &str = "/api/openapi.json";
/// The page may load from this node only; the browser enforces it.
const POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// `/api/openapi.json`, `/docs`, and `/` that leads there.
pub(super) fn routes(api: &OpenApi) -> Router {
    let document = Bytes::from(serde_json::to_vec(api).unwrap_or_default());
    let serve_document = move || async move { ([(header::CONTENT_TYPE, "application/json")], document) };
    // Without "none" the page would ask a validator on the internet about the document.
    let config = Config::new([DOCUMENT]).use_base_layout().validator_url("none").try_it_out_enabled(true);
    Router::new()
        .merge(SwaggerUi::new("/docs").config(config))
        .layer(map_response(restricted))
        .route(DOCUMENT, get(serve_document))
        .route("/", get(|| async { Redirect::to("/docs/") }))
}

async fn restricted(response: Response) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))], response).into_response()
}
