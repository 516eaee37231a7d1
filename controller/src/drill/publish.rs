//! Publishing through a central node's HTTP API.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use sorcha_os::read;

use super::timeline::Look;
use crate::publication::http;

/// Limit of one call.
const CALL: Duration = Duration::from_secs(10);
/// No token file is larger.
const TOKEN_FILE_BYTES: u64 = 64 * 1024;

/// A change of the register.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    /// Publish a blueprint under this id.
    Publish(&'a str),
    /// Deprecate it.
    Deprecate(&'a str),
}

/// Somebody who may publish.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    token: String,
    namespace: String,
    addresses: BTreeMap<String, Url>,
}

/// Why a central node did not do it.
enum Refusal {
    /// Another time or another central node may.
    Passing(String),
    /// Nobody will.
    Final(String),
}

#[derive(Deserialize)]
struct Published {
    version: i64,
}

impl Publisher {
    /// A publisher to central nodes' Services, or to the addresses given for them.
    ///
    /// # Errors
    /// When the HTTP client can't be set up.
    pub fn new(token: String, namespace: &str, addresses: Vec<(String, Url)>) -> anyhow::Result<Self> {
        let client = http::client(CALL, CALL / 3).context("set up the HTTP client")?;
        Ok(Self {
            client,
            token,
            namespace: namespace.to_owned(),
            addresses: addresses.into_iter().collect(),
        })
    }

    /// Tries central nodes in turn; the first that does it tells the version. Asking twice is harmless: the answer is
    /// the version that the first time got.
    ///
    /// # Errors
    /// When a central node refuses for good.
    pub async fn first(
        &self,
        centrals: &[String],
        attempt: Attempt<'_>,
    ) -> anyhow::Result<Look<(String, i64)>> {
        let mut missing = Vec::new();
        for central in centrals {
            match self.ask(central, attempt).await {
                Ok(version) => return Ok(Look::Done((central.clone(), version))),
                Err(Refusal::Passing(why)) => missing.push(format!("{central}: {why}")),
                Err(Refusal::Final(why)) => bail!("{central} refuses: {why}"),
            }
        }
        Ok(Look::NotYet(missing))
    }

    async fn ask(&self, central: &str, attempt: Attempt<'_>) -> Result<i64, Refusal> {
        let request = self.request(central, attempt).map_err(|error| Refusal::Final(error.to_string()))?;
        let passing = |error: reqwest::Error| Refusal::Passing(http::innermost(&error));
        let response = request.bearer_auth(&self.token).send().await.map_err(passing)?;
        let status = response.status();
        let body = response.bytes().await.map_err(passing)?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        let told: Result<Published, _> = serde_json::from_slice(&body);
        told.map(|told| told.version)
            .map_err(|error| Refusal::Final(format!("its answer is not understood: {error}")))
    }

    fn request(&self, central: &str, attempt: Attempt<'_>) -> anyhow::Result<RequestBuilder> {
        let service = || http::service_url(central, &self.namespace);
        let base = self.addresses.get(central).cloned().or_else(service);
        let base = base.with_context(|| format!("{central} is no name of a Service"))?;
        Ok(match attempt {
            Attempt::Publish(id) => {
                self.client.post(base.join("/api/system-register/publish")?).json(&publication(id))
            }
            Attempt::Deprecate(id) => {
                self.client.post(base.join(&format!("/api/system-register/blueprints/{id}/deprecate"))?)
            }
        })
    }
}

fn publication(id: &str) -> Value {
    json!({
        "blueprintId": id,
        "metadata": {"category": "drill"},
        "blueprint": {
            "@context": "https://sorcha.dev/blueprints/v1",
            "@type": "Blueprint",
            "id": id,
            "name": "Drill",
            "description": "Published by sorcha-controller drill to see it arrive everywhere.",
        },
    })
}

fn refusal(status: StatusCode, body: &[u8]) -> Refusal {
    let why = http::problem(status, body);
    if http::is_passing(status) { Refusal::Passing(why) } else { Refusal::Final(why) }
}

/// The first token in a file. Empty lines and lines that begin with `#` don't count.
///
/// # Errors
/// When there is none.
pub fn read_token(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text = read::text(path, TOKEN_FILE_BYTES).with_context(|| format!("read the token file {shown}"))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().with_context(|| format!("the token file {shown} holds no token"))?;
    // A token has no colon (RFC 6750).
    let token = line.rsplit_once(':').map_or(line, |(_name, token)| token.trim());
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if token.is_empty() || !token.chars().all(is_token_char) {
        bail!("the token file {shown} holds no bearer token: letters, digits and -._~+/= are allowed");
    }
    Ok(token.to_owned())
}
