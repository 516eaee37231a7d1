//! `/api/system-register/blueprints/{id}`: one entry, and its document byte for byte.

use std::{io, sync::Arc};

use axum::{
    Extension,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use serde::Serialize;
use serde_json::value::RawValue;
use sorcha_register::{
    entry::SealedEntry,
    names::{BlueprintId, Version},
};
use sorcha_runtime::parsing::off_the_runtime;
use sorcha_store::StoreError;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    NodeHandle, Served,
    blueprints::BlueprintItem,
    openapi::Fails,
    pieces::Parts,
    problem::{Kind, Problem},
    query::{Known, Params},
    reading::Register,
};

/// Media type of a blueprint document by itself.
pub(super) const LD_JSON: &str = "application/ld+json";

pub(super) fn routes() -> OpenApiRouter<Served<NodeHandle>> {
    OpenApiRouter::default().routes(routes!(get_blueprint)).routes(routes!(get_blueprint_version))
}

/// An entry with its document, as `with_document` writes it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "blueprintId": "invoice-v1", "version": 42, "publishedAt": "2026-11-22T09:30:00.000Z", "publishedBy": "alice", "isActive": true,
    "checksum": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "metadata": {"category": "finance"},
    "transactionId": "019a9f6e-7c00-7000-8000-000000000000",
    "blueprint": {"@context": "https://sorcha.dev/blueprints/v1", "id": "invoice-v1", "name": "Invoice"}
}))]
struct BlueprintWithDocument<'a> {
    #[serde(flatten)]
    item: BlueprintItem,
    /// The document, as it was published.
    #[schema(value_type = Object)]
    blueprint: &'a RawValue,
}

/// One entry with its document.
///
/// With `Accept: application/ld+json` or `raw=true` the answer is the document alone, in the exact canonical bytes
/// that `checksum` covers.
#[utoipa::path(
    get, path = "/api/system-register/blueprints/{id}", tag = "register",
    params(
        ("id" = String, Path, description = "Blueprint id", min_length = 1, max_length = 255, example = "invoice-v1"),
        ("raw" = Option<bool>, Query, description = "The document alone"),
    ),
    responses(
        (status = 200, description = "The entry, or its document", content(
            (BlueprintWithDocument<'_> = "application/json"), (serde_json::Value = "application/ld+json"),
        )),
        Fails<400>, Fails<404>, Fails<406>
    )
)]
async fn get_blueprint(
    Extension(register): Extension<Arc<Register>>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let sealed = find(&register, &id)?;
    represent(&register, sealed, &params.only(&["raw"])?, &headers).await
}

/// One entry, if it is at this version.
///
/// The register keeps the newest state of each blueprint; an earlier version of it is not found.
#[utoipa::path(
    get, path = "/api/system-register/blueprints/{id}/versions/{version}", tag = "register",
    params(
        ("id" = String, Path, description = "Blueprint id", min_length = 1, max_length = 255, example = "invoice-v1"),
        ("version" = i64, Path, description = "Register-wide version", minimum = 1, example = 42),
        ("raw" = Option<bool>, Query, description = "The document alone"),
    ),
    responses(
        (status = 200, description = "The entry, or its document", content(
            (BlueprintWithDocument<'_> = "application/json"), (serde_json::Value = "application/ld+json"),
        )),
        Fails<400>, Fails<404>, Fails<406>
    )
)]
async fn get_blueprint_version(
    Extension(register): Extension<Arc<Register>>,
    Path((id, version)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let sealed = find(&register, &id)?;
    let number = version.parse().ok().and_then(|number| Version::new("version", number).ok());
    let asked = number
        .ok_or_else(|| Problem::invalid(format!("version is {version:?}; it must be a whole number")))?;
    let held = sealed.entry().version;
    if asked != held {
        return Err(Problem::new(
            Kind::NOT_FOUND,
            format!("blueprint {id} is at version {held}, not at {asked}"),
        ));
    }
    represent(&register, sealed, &params.only(&["raw"])?, &headers).await
}

fn find<'a>(register: &'a Register, id: &str) -> Result<&'a Arc<SealedEntry>, Problem> {
    let id = BlueprintId::new(id)?;
    register.view.get(&id).ok_or_else(|| StoreError::NotFound(id).into())
}

async fn represent(
    register: &Register,
    sealed: &Arc<SealedEntry>,
    params: &Known,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let document = sealed.entry().document;
    let raw = params.flag("raw")?.unwrap_or_else(|| prefers_document(headers));
    let mut response = if raw {
        // The document never changes, its entry does.
        let answer = || Ok(Parts::of(Bytes::new(), sealed, Bytes::new()).answer(LD_JSON));
        register.answer(&document.checksum().to_string(), answer)
    } else {
        let is_json = is_json(sealed).await?;
        register.answer(&sealed.leaf().to_string(), || with_document(sealed, is_json))
    }?;
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// Whether a document is JSON; a large one is looked at elsewhere, and each once.
async fn is_json(sealed: &Arc<SealedEntry>) -> Result<bool, Problem> {
    match sealed.known_as_json() {
        Some(known) => Ok(known),
        None => {
            let (bytes, sealed) = (sealed.length(), Arc::clone(sealed));
            off_the_runtime(bytes, move || sealed.is_json()).await.map_err(|error| unreadable(&error))
        }
    }
}

/// The entry as JSON around its document, which is not copied.
fn with_document(sealed: &Arc<SealedEntry>, is_json: bool) -> Result<Response, Problem> {
    let entry = sealed.entry();
    if !is_json {
        // A replica keeps what the central node sent, which of another make need not be JSON (protocol D10).
        let detail = format!(
            "the document of {} is not JSON; ask for {LD_JSON}, or with ?raw=true",
            entry.blueprint_id
        );
        return Err(Problem::new(Kind::NOT_ACCEPTABLE, detail));
    }
    let mut before = serde_json::to_vec(&BlueprintItem::from(entry))
        .map_err(|error| Problem::new(Kind::INTERNAL, format!("the entry is not encodable: {error}")))?;
    before.pop();
    before.extend_from_slice(br#","blueprint":"#);
    Ok(Parts::of(before.into(), sealed, Bytes::from_static(b"}")).answer("application/json"))
}

/// The answer where an entry can't be read from the store's file.
pub(super) fn unreadable(error: &io::Error) -> Problem {
    tracing::error!(%error, "an entry can't be read from the register's file");
    Problem::new(Kind::DAMAGED, error.to_string())
}

/// Whether `Accept` names the document's media type, and not JSON before it.
fn prefers_document(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best: Option<(f32, bool)> = None;
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let is_document = match parts.next() {
            Some(name) if name.eq_ignore_ascii_case(LD_JSON) => true,
            Some(name) if name.eq_ignore_ascii_case("application/json") => false,
            _ => continue,
        };
        let quality =
            parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if quality > best.map_or(0.0, |(best, _)| best) {
            best = Some((quality, is_document));
        }
    }
    best.is_some_and(|(_, is_document)| is_document)
}
