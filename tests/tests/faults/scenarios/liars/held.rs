//! What a node serves over HTTP of a register: its entries as they are listed, and the documents' bytes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::api::{Api, Stated};

/// Blueprints that these tests publish; there is one page of them.
const PAGE: &str = "/api/system-register/blueprints?page=1&pageSize=100";

/// What is served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Served {
    stated: Stated,
    /// By id, the item of the list and the document.
    blueprints: BTreeMap<String, (Value, Vec<u8>)>,
}

impl Served {
    pub(super) async fn by(api: &Api, port: u16) -> Result<Self> {
        let stated = api.register(port).await?;
        let page = api.get(port, PAGE).await?;
        let mut blueprints = BTreeMap::new();
        for item in page["items"].as_array().context("no items")? {
            let id = item["blueprintId"].as_str().context("no blueprintId")?;
            let path = format!("/api/system-register/blueprints/{id}?raw=true");
            blueprints.insert(id.to_owned(), (item.clone(), api.get_bytes(port, &path).await?));
        }
        Ok(Self { stated, blueprints })
    }

    /// Fails when anything is not as it was.
    pub(super) fn check_same(&self, now: &Self) -> Result<()> {
        ensure!(
            self == now,
            "it serves something else than before: {:?}, before {:?}",
            now.stated,
            self.stated
        );
        Ok(())
    }

    /// Fails when anything of it is not served by a node any more as it was; that node may serve more.
    pub(super) async fn check_kept(&self, api: &Api, port: u16) -> Result<()> {
        for (id, (item, document)) in &self.blueprints {
            let path = format!("/api/system-register/blueprints/{id}");
            let now = api.get(port, &path).await.with_context(|| id.clone())?;
            let raw = api.get_bytes(port, &format!("{path}?raw=true")).await?;
            for field in ["version", "isActive", "checksum", "publishedAt", "publishedBy"] {
                ensure!(now[field] == item[field], "{id} has another {field}: {now}, before {item}");
            }
            ensure!(raw == *document, "{id} has other bytes");
        }
        Ok(())
    }
}
