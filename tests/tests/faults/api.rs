//! The nodes' HTTP API, as far as these tests need it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sorcha_api::{
    Published,
    client::{self, CallError},
    problem::Kind,
};
use sorcha_tests::history::{Answer, Held, State};

/// The token of all publishers.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// How long a publisher waits.
const PUBLISHER_PATIENCE: Duration = Duration::from_millis(2500);
/// How long a look at a node may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
const PAGE: usize = 100;

/// A register as a node states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    pub(crate) version: i64,
    pub(crate) digest: String,
    pub(crate) lineage: Option<String>,
    pub(crate) findings: usize,
}

/// A client; each call names a port.
#[derive(Clone)]
pub(crate) struct Api(reqwest::Client);

impl Api {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(client::builder().connect_timeout(Duration::from_secs(1)).build()?))
    }

    /// The body of a successful GET.
    pub(crate) async fn get(&self, port: u16, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.get_bytes(port, path).await?)?)
    }

    pub(crate) async fn get_bytes(&self, port: u16, path: &str) -> Result<Vec<u8>> {
        let request = self.0.get(format!("http://127.0.0.1:{port}{path}")).timeout(LOOK_PATIENCE);
        let response = request.send().await?;
        let (status, body) = (response.status(), response.bytes().await?);
        if !status.is_success() {
            bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body.to_vec())
    }

    /// The register as a node states it.
    pub(crate) async fn register(&self, port: u16) -> Result<Stated> {
        let body = self.get(port, "/api/system-register").await?;
        Ok(Stated {
            version: body["currentVersion"].as_i64().context("no currentVersion")?,
            digest: body["digest"].as_str().context("no digest")?.to_owned(),
            lineage: body["lineage"].as_str().map(str::to_owned),
            findings: body["findings"].as_array().context("no findings")?.len(),
        })
    }

    /// All entries that a node lists, page by page.
    pub(crate) async fn entries(&self, port: u16) -> Result<Vec<Held>> {
        let mut entries = Vec::new();
        for page in 1.. {
            let path = format!("/api/system-register/blueprints?page={page}&pageSize={PAGE}");
            let body = self.get(port, &path).await?;
            let items = body["items"].as_array().context("no items")?;
            for item in items {
                entries.push(held(item).with_context(|| item.to_string())?);
            }
            if items.len() < PAGE {
                break;
            }
        }
        Ok(entries)
    }

    /// Posts something that changes the register, and sorts the answer.
    pub(crate) async fn change(&self, port: u16, path: &str, body: Option<&Value>, wants: bool) -> Answer {
        let mut request = self.0.post(format!("http://127.0.0.1:{port}{path}"));
        request = request.bearer_auth(TOKEN).timeout(PUBLISHER_PATIENCE);
        if let Some(body) = body {
            request = request.json(body);
        }
        let unknown = Answer::Unknown { is_active: wants };
        match client::answer::<Published>(request).await {
            Ok((_, Published { version, is_active, .. })) => {
                Answer::Acknowledged(State { version, is_active })
            }
            // It never left.
            Err(CallError::Away(error)) if error.is_connect() => Answer::Refused,
            Err(CallError::Refused(refused)) => match refused.status.as_u16() {
                400..=499 | 507 => Answer::Refused,
                503 if !refused.told.is(Kind::STORE_UNAVAILABLE) => Answer::Refused,
                _ => unknown,
            },
            Err(_) => unknown,
        }
    }

    /// Status and answer of a POST without a body.
    pub(crate) async fn post(&self, port: u16, path: &str) -> Result<(u16, Value)> {
        let request = self.0.post(format!("http://127.0.0.1:{port}{path}"));
        let response = request.bearer_auth(TOKEN).timeout(PUBLISHER_PATIENCE).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    /// Status and answer of a publication of this many bytes.
    pub(crate) async fn publish(&self, port: u16, id: &str, size: usize) -> Result<(u16, Value)> {
        let request = self.0.post(format!("http://127.0.0.1:{port}/api/system-register/publish"));
        let body = publication(id, &serde_json::json!({ "id": id, "text": "x".repeat(size) }));
        let response = request.bearer_auth(TOKEN).timeout(PUBLISHER_PATIENCE).json(&body).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }
}

/// The body that publishes a document.
pub(crate) fn publication(id: &str, document: &Value) -> Value {
    serde_json::json!({ "blueprintId": id, "blueprint": document })
}

fn state(body: &Value) -> Option<State> {
    Some(State { version: body["version"].as_i64()?, is_active: body["isActive"].as_bool()? })
}

fn held(item: &Value) -> Option<Held> {
    Some(Held {
        id: item["blueprintId"].as_str()?.to_owned(),
        checksum: item["checksum"].as_str()?.to_owned(),
        state: state(item)?,
    })
}
