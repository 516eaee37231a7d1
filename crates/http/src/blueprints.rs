//! `/api/system-register/blueprints` and `/api/blueprints`: the entries, in lists.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, response::Response};
use serde::Serialize;
use sorcha_api::Instant;
use sorcha_register::{
    entry::{EntryHeader, SealedEntry},
    view::RegisterView,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{NodeHandle, Served, openapi::Fails, pieces, problem::Problem, query::Params, reading::Register};

const PAGE_SIZE: u64 = 20;
const MAX_PAGE_SIZE: u64 = 100;
/// Entries that are looked at in one go.
const STRIDE: usize = 1024;

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

impl From<&EntryHeader> for BlueprintItem {
    fn from(entry: &EntryHeader) -> Self {
        Self {
            blueprint_id: entry.blueprint_id.to_string(),
            version: entry.version.get(),
            published_at: entry.published_at.into(),
            published_by: entry.published_by().to_owned(),
            is_active: entry.is_active,
            checksum: entry.document.checksum().to_string(),
            metadata: entry.metadata_map(),
            transaction_id: entry.transaction_id().to_owned(),
        }
    }
}

/// A page of entries, newest version first. It is written by [`Page::answer`], item by item.
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
    let page = Page {
        number: params.number("page", 1, 1..=u64::MAX)?,
        size: params.number("pageSize", PAGE_SIZE, 1..=MAX_PAGE_SIZE)?,
        active: params.flag("active")?,
    };
    let tag = register.tag();
    let entries = if register.is_known(&tag) { Vec::new() } else { page.entries(&register.view).await };
    register.answer(&tag, || Ok(page.answer(&register.view, entries)))
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

/// One page of a list.
#[derive(Clone, Copy)]
struct Page {
    number: u64,
    size: u64,
    active: Option<bool>,
}

impl Page {
    fn total(self, view: &RegisterView) -> usize {
        match self.active {
            None => view.len(),
            Some(true) => view.active(),
            Some(false) => view.len() - view.active(),
        }
    }

    /// Its entries. Other requests get their turn meanwhile: what comes before a page has to be walked through.
    async fn entries(self, view: &RegisterView) -> Vec<Arc<SealedEntry>> {
        let skipped = usize::try_from((self.number - 1).saturating_mul(self.size)).unwrap_or(usize::MAX);
        let total = self.total(view);
        let (mut found, mut passed) = (Vec::new(), 0);
        if skipped >= total {
            return found;
        }
        let wanted = usize::try_from(self.size).unwrap_or(usize::MAX).min(total - skipped);
        for (looked_at, sealed) in view.iter().rev().enumerate() {
            if looked_at % STRIDE == STRIDE - 1 {
                tokio::task::yield_now().await;
            }
            if self.active.is_some_and(|active| sealed.entry().is_active != active) {
                continue;
            }
            if passed >= skipped {
                found.push(Arc::clone(sealed));
                if found.len() == wanted {
                    break;
                }
            }
            passed += 1;
        }
        found
    }

    fn answer(self, view: &RegisterView, entries: Vec<Arc<SealedEntry>>) -> Response {
        let Self { number, size, .. } = self;
        let total = self.total(view);
        let pages = (total as u64).div_ceil(size);
        let after =
            format!(r#"],"page":{number},"pageSize":{size},"totalCount":{total},"totalPages":{pages}}}"#);
        let mut entries = entries.into_iter();
        pieces::list(r#"{"items":["#, &after, move || {
            entries.next().map(|sealed| BlueprintItem::from(sealed.entry()))
        })
    }
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
    let summary = move |entry: &EntryHeader| BlueprintSummary {
        blueprint_id: entry.blueprint_id.to_string(),
        version: entry.version.get(),
        published_at: entry.published_at.into(),
        published_by: entry.published_by().to_owned(),
        is_active: entry.is_active,
    };
    register.answer(&register.tag(), || {
        let mut all = NewestFirst::of(&register.view, register.view.iter().next_back());
        Ok(pieces::list("[", "]", move || all.next().map(|sealed| summary(sealed.entry()))))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use sorcha_register::{names::Version, testing::entry};

    fn view(count: i64) -> RegisterView {
        let mut view = RegisterView::new(None);
        let sealed = |number| {
            let mut entry = entry(&format!("b{number}"), number);
            entry.is_active = number % 3 != 0;
            entry.seal()
        };
        view.apply((1..=count).map(sealed).collect(), Version::ZERO);
        view
    }

    #[tokio::test]
    async fn each_page_has_the_entries_of_its_place() {
        let view = view(100);
        for active in [None, Some(true), Some(false)] {
            let all: Vec<_> = view
                .iter()
                .rev()
                .filter(|sealed| active.is_none_or(|active| sealed.entry().is_active == active))
                .cloned()
                .collect();
            for size in [1, 7, 100] {
                for number in 1..=102 {
                    let skipped = usize::try_from((number - 1) * size).unwrap();
                    let expected: Vec<_> =
                        all.iter().skip(skipped).take(usize::try_from(size).unwrap()).cloned().collect();
                    assert_eq!(Page { number, size, active }.entries(&view).await, expected);
                }
            }
        }
    }

    /// Anybody may ask for the last page of a large register, as often as they like.
    #[tokio::test]
    async fn a_page_far_down_the_list_lets_others_have_their_turn() {
        let (view, turns) = (view(10_000), Cell::new(0));
        let others = async {
            loop {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        let page = Page { number: 100, size: 100, active: None };
        let entries = tokio::select! {
            biased;
            () = others => unreachable!(),
            entries = page.entries(&view) => entries,
        };
        assert_eq!(entries.len(), 100);
        assert!(turns.get() >= 9, "{} turns", turns.get());
    }
}
