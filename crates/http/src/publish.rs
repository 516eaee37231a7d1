//! Writing to the register, on central nodes (ADR 5, 28 and 29).

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{MatchedPath, Path, Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use sorcha_api::Published;
use sorcha_central::{CentralNode, publish::Submission};
use sorcha_register::seed;
use sorcha_runtime::{parsing::off_the_runtime, traces};
use sorcha_store::{Publication, StoreError};
use tracing::Instrument as _;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Served,
    audit::{Trail, audited},
    auth::Writer,
    body::{self, Patience, Received},
    intake::Intake,
    openapi::Fails,
    problem::{Kind, Problem},
    submission::{Asked, PublishRequest},
};

pub(super) fn routes() -> OpenApiRouter<Served<Arc<CentralNode>>> {
    OpenApiRouter::default()
        .routes(routes!(publish_blueprint))
        .routes(routes!(deprecate_blueprint))
        .routes(routes!(reactivate_blueprint))
        .routes(routes!(initialize_register))
}

/// The routes as a node serves them: each request in its span, with its line in the audit log.
pub(super) fn router(node: &Arc<CentralNode>) -> Router<Served<Arc<CentralNode>>> {
    let intake = Arc::new(Intake::new(&node.config.http));
    Router::from(routes())
        .layer(Extension(intake))
        .route_layer(from_fn_with_state(Arc::clone(node), audited))
        .route_layer(from_fn(traced))
}

/// Runs a write in the span of its request, which is part of the caller's trace if that names one.
async fn traced(request: Request, next: Next) -> Response {
    let span = traces::request_span(request.headers());
    let (method, path) = (request.method().as_str(), request.extensions().get::<MatchedPath>());
    let route = path.map_or("", MatchedPath::as_str);
    span.record("otel.name", format_args!("{method} {route}"));
    span.record("http.request.method", method);
    span.record("http.route", route);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// The answer to a publication or change.
fn published(publication: &Publication) -> Published {
    let entry = publication.entry.entry();
    Published {
        transaction_id: entry.transaction_id().to_owned(),
        blueprint_id: entry.blueprint_id.to_string(),
        version: entry.version.get(),
        published_at: entry.published_at.into(),
        checksum: entry.document.checksum().to_string(),
        is_active: entry.is_active,
    }
}

/// Publishes a blueprint.
///
/// The answer means durable. The same document under the same id again is no error: it answers 200 with what is
/// published, and takes no new version.
#[utoipa::path(
    post, path = "/api/system-register/publish", tag = "publishing", security(("bearer" = [])), request_body = PublishRequest<'_>,
    responses(
        (status = 201, description = "Published", body = Published, headers(("location" = String, description = "The new entry"))),
        (status = 200, description = "The same document was published already", body = Published),
        Fails<400>, Fails<401>, Fails<403>, Fails<408>, Fails<409>, Fails<413>, Fails<415>, Fails<422>, Fails<429>,
        Fails<500>, Fails<503>, Fails<507>
    )
)]
async fn publish_blueprint(
    State(node): State<Arc<CentralNode>>,
    Extension(intake): Extension<Arc<Intake>>,
    writer: Writer,
    trail: Trail,
    request: Request,
) -> Result<Response, Problem> {
    let patience = Patience::from(&node.config.http);
    // The place is given back when all is done: until then the document is held.
    let Received { bytes, ticket: _place } = body::receive(request, &writer, &intake, patience).await?;
    let asked = off_the_runtime(bytes.len(), move || Asked::parse(&bytes)).await?;
    trail.blueprint(&asked.blueprint_id);
    trail.bytes(asked.document.len());
    sound(&node)?;
    let submission = Submission {
        blueprint_id: asked.blueprint_id,
        document: asked.document,
        published_by: writer.publishes_as(asked.published_by)?,
        metadata: asked.metadata.pairs,
    };
    let publication = node.publish(submission).await?;
    trail.stored(&publication);
    let published = published(&publication);
    if !publication.changed {
        return Ok(Json(published).into_response());
    }
    let location = format!("/api/system-register/blueprints/{}", published.blueprint_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(published)).into_response())
}

/// Deprecates a blueprint: it stays readable, inactive, at a new version.
#[utoipa::path(
    post, path = "/api/system-register/blueprints/{id}/deprecate", tag = "publishing", security(("bearer" = [])),
    params(("id" = String, Path, description = "Blueprint id", example = "invoice-v1")),
    responses(
        (status = 200, description = "It is inactive now, or was before", body = Published),
        Fails<400>, Fails<401>, Fails<403>, Fails<404>, Fails<500>, Fails<503>, Fails<507>
    )
)]
async fn deprecate_blueprint(
    State(node): State<Arc<CentralNode>>,
    _writer: Writer,
    trail: Trail,
    Path(id): Path<String>,
) -> Result<Json<Published>, Problem> {
    set_active(&node, &trail, &id, false).await
}

/// Makes a deprecated blueprint active again, at a new version.
#[utoipa::path(
    post, path = "/api/system-register/blueprints/{id}/reactivate", tag = "publishing", security(("bearer" = [])),
    params(("id" = String, Path, description = "Blueprint id", example = "invoice-v1")),
    responses(
        (status = 200, description = "It is active now, or was before", body = Published),
        Fails<400>, Fails<401>, Fails<403>, Fails<404>, Fails<500>, Fails<503>, Fails<507>
    )
)]
async fn reactivate_blueprint(
    State(node): State<Arc<CentralNode>>,
    _writer: Writer,
    trail: Trail,
    Path(id): Path<String>,
) -> Result<Json<Published>, Problem> {
    set_active(&node, &trail, &id, true).await
}

async fn set_active(
    node: &CentralNode,
    trail: &Trail,
    id: &str,
    is_active: bool,
) -> Result<Json<Published>, Problem> {
    trail.blueprint(id);
    sound(node)?;
    let publication = node.set_active(id, is_active).await?;
    trail.stored(&publication);
    Ok(Json(published(&publication)))
}

/// A register with findings takes no publication (ADR 27), draining or not.
fn sound(node: &CentralNode) -> Result<(), Problem> {
    node.findings().first().map_or(Ok(()), |finding| Err(StoreError::Damaged(finding.to_string()).into()))
}

/// Outcome of an initialisation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"message": "the register is initialized, at version 42", "status": "AlreadyInitialized"}))]
struct Initialized {
    message: String,
    /// `Initialized` or `AlreadyInitialized`.
    status: &'static str,
}

/// Makes sure that the register holds its first entry.
///
/// Idempotent, and rarely needed: a central node does this when it starts.
#[utoipa::path(
    post, path = "/api/system-register/initialize", tag = "publishing", security(("bearer" = [])),
    responses(
        (status = 200, description = "The register is initialized", body = Initialized),
        Fails<401>, Fails<403>, Fails<500>, Fails<503>, Fails<507>
    )
)]
async fn initialize_register(
    State(node): State<Arc<CentralNode>>,
    _writer: Writer,
) -> Result<Json<Initialized>, Problem> {
    sound(&node)?;
    if node.log.view().genesis().is_none() {
        let why =
            "the register has no genesis record; a central node makes it when it starts: restart this one";
        return Err(Problem::new(Kind::NOT_READY, why));
    }
    let status = if node.log.view().is_empty() { publish_seed(&node).await? } else { "AlreadyInitialized" };
    let message = format!("the register is initialized, at version {}", node.log.view().head());
    Ok(Json(Initialized { message, status }))
}

async fn publish_seed(node: &CentralNode) -> Result<&'static str, Problem> {
    let (id, document, metadata) =
        seed::seed().map_err(|error| Problem::new(Kind::INTERNAL, error.to_string()))?;
    let submission = Submission {
        blueprint_id: id.to_string(),
        document: document.bytes().clone(),
        published_by: seed::PUBLISHER.to_owned(),
        metadata,
    };
    Ok(if node.publish(submission).await?.changed { "Initialized" } else { "AlreadyInitialized" })
}
