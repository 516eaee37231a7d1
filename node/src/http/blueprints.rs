//! `/api/system-register/blueprints` and `/api/blueprints`: the entries, in lists.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, response::Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    NodeHandle, Served, instant::Instant, openapi::Fails, pieces, problem::Problem, query::Params,
    reading::Register,
};
use crate::register::{
    entry::{Entry, SealedEntry},
    view::RegisterView,
};

const PAGE_SIZE: u64 = 20;
const MAX_PAGE_SIZE: u64 = 100;

pub(super) fn routes() -> OpenApiRouter<Served<NodeHandle>> {
    OpenApiRouter::default().routes(routes!(list_blueprints)).routes(routes!(replica_blueprints))
}

/// An entry of the register, without its document.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "blueprintId": "invoice-v1", "version": 42, "publishedAt": "2026-11-22T09:30:00.000Z", "publishedBy": "alice", "isActive": true,
    "checksum": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "metadata": {"category": "finance"},
    "transactionId": "019a9f6e-7c00-7000-8000-000000000000"
}))]
pub(super) struct BlueprintItem {
    blueprint_id: String,
    /// Register-wide version of the entry's newest state.
    version: i64,
    published_at: Instant,
    published_by: String,
    /// False once deprecated.
    is_active: bool,
    /// `sha256:` and the hex SHA-256 of the document's exact bytes.
    checksum: String,
    metadata: BTreeMap<String, String>,
    transaction_id: String,
}

impl From<&Entry> for BlueprintItem {
    fn from(entry: &Entry) -> Self {
        Self {
            blueprint_id: entry.blueprint_id.to_string(),
            version: entry.version.get(),
            published_at: entry.published_at.into(),
            published_by: entry.published_by.clone(),
            is_active: entry.is_active,
            checksum: entry.document.checksum().to_string(),
            metadata: entry.metadata.clone(),
            transaction_id: entry.transaction_id.clone(),
        }
    }
}

/// A page of entries, newest version first. It is written by [`page_of`], item by item.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BlueprintPage {
    items: Vec<BlueprintItem>,
    #[schema(example = 1)]
    page: u64,
    #[schema(example = 20)]
    page_size: u64,
    #[schema(example = 41)]
    total_count: usize,
    #[schema(example = 3)]
    total_pages: u64,
}

/// Lists entries, newest version first.
#[utoipa::path(
    get, path = "/api/system-register/blueprints", tag = "register",
    params(
        ("page" = Option<u64>, Query, description = "From 1; default 1", minimum = 1, example = 1),
        ("pageSize" = Option<u64>, Query, description = "Default 20", minimum = 1, maximum = 100, example = 20),
        ("active" = Option<bool>, Query, description = "Only entries that are active, or only those that are not"),
    ),
    responses((status = 200, description = "A page of entries", body = BlueprintPage), Fails<400>)
)]
async fn list_blueprints(
    Extension(register): Extension<Arc<Register>>,
    params: Params,
) -> Result<Response, Problem> {
    let params = params.only(&["page", "pageSize", "active"])?;
    let page = params.number("page", 1, 1..=u64::MAX)?;
    let page_size = params.number("pageSize", PAGE_SIZE, 1..=MAX_PAGE_SIZE)?;
    let active = params.flag("active")?;
    register.answer(&register.tag(), || Ok(page_of(&register, page, page_size, active)))
}

/// Entries of a view, newest version first, one at a time.
struct NewestFirst {
    view: RegisterView,
    next: Option<Arc<SealedEntry>>,
}

impl NewestFirst {
    fn of(view: &RegisterView, first: Option<&Arc<SealedEntry>>) -> Self {
        Self { view: view.clone(), next: first.cloned() }
    }
}

impl Iterator for NewestFirst {
    type Item = Arc<SealedEntry>;

    fn next(&mut self) -> Option<Arc<SealedEntry>> {
        let sealed = self.next.take()?;
        self.next = self.view.last_before(sealed.entry().version).cloned();
        Some(sealed)
    }
}

fn page_of(register: &Register, page: u64, page_size: u64, active: Option<bool>) -> Response {
    let view = &register.view;
    let total_count = match active {
        None => view.len(),
        Some(true) => view.active(),
        Some(false) => view.len() - view.active(),
    };
    let wanted =
        move |sealed: &Arc<SealedEntry>| active.is_none_or(|active| sealed.entry().is_active == active);
    let skipped = usize::try_from((page - 1).saturating_mul(page_size)).unwrap_or(usize::MAX);
    let count = if skipped < total_count { usize::try_from(page_size).unwrap_or(usize::MAX) } else { 0 };
    let first = view.iter().rev().filter(|sealed| wanted(sealed)).nth(skipped.min(total_count));
    let mut items = NewestFirst::of(view, first).filter(wanted).take(count);
    let total_pages = (total_count as u64).div_ceil(page_size);
    let after = format!(
        r#"],"page":{page},"pageSize":{page_size},"totalCount":{total_count},"totalPages":{total_pages}}}"#
    );
    pieces::list(r#"{"items":["#, &after, move || {
        items.next().map(|sealed| BlueprintItem::from(sealed.entry()))
    })
}

/// An entry in short.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "blueprintId": "invoice-v1", "version": 42, "publishedAt": "2026-11-22T09:30:00.000Z", "publishedBy": "alice", "isActive": true
}))]
struct BlueprintSummary {
    blueprint_id: String,
    version: i64,
    published_at: Instant,
    published_by: String,
    is_active: bool,
}

/// All entries in one list, newest version first.
#[utoipa::path(
    get, path = "/api/blueprints", tag = "register",
    responses((status = 200, description = "All entries", body = Vec<BlueprintSummary>))
)]
async fn replica_blueprints(Extension(register): Extension<Arc<Register>>) -> Result<Response, Problem> {
    let summary = move |entry: &Entry| BlueprintSummary {
        blueprint_id: entry.blueprint_id.to_string(),
        version: entry.version.get(),
        published_at: entry.published_at.into(),
        published_by: entry.published_by.clone(),
        is_active: entry.is_active,
    };
    register.answer(&register.tag(), || {
        let mut all = NewestFirst::of(&register.view, register.view.iter().next_back());
        Ok(pieces::list("[", "]", move || all.next().map(|sealed| summary(sealed.entry()))))
    })
}
