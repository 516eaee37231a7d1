//! Publishing through a central node's HTTP API.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail};
use reqwest::{Client, Url};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use sorcha_api::{
    Publication, Published,
    client::{CallError, Node, answer, is_passing},
};

use super::timeline::Look;
use crate::publication::http;

/// Limit of one call.
const CALL: Duration = Duration::from_secs(10);

/// A change of the register.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt<'a> {
    /// Publish a blueprint under this id.
    Publish(&'a str),
    /// Deprecate it.
    Deprecate(&'a str),
}

/// Somebody who may publish.
#[derive(Debug)]
pub(crate) struct DrillPublisher {
    client: Client,
    token: String,
    namespace: String,
    addresses: BTreeMap<String, Url>,
}

/// Why a central node did not do it.
enum DrillRefusal {
    /// Another time or another central node may.
    Passing(String),
    /// Nobody will.
    Final(String),
}

impl From<CallError> for DrillRefusal {
    fn from(error: CallError) -> Self {
        let why = error.to_string();
        match error {
            CallError::Away(_) => Self::Passing(why),
            CallError::Refused(refused) if is_passing(refused.status) => Self::Passing(why),
            CallError::Refused(_) | CallError::NotUnderstood { .. } => Self::Final(why),
        }
    }
}

impl DrillPublisher {
    /// A publisher to central nodes' Services, or to the addresses given for them.
    ///
    /// # Errors
    /// When the HTTP client can't be set up.
    pub(crate) fn new(token: String, namespace: &str, addresses: Vec<(String, Url)>) -> anyhow::Result<Self> {
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
    pub(crate) async fn first(
        &self,
        centrals: &[String],
        attempt: Attempt<'_>,
    ) -> anyhow::Result<Look<(String, i64)>> {
        let mut missing = Vec::new();
        for central in centrals {
            match self.ask(central, attempt).await {
                Ok(version) => return Ok(Look::Done((central.clone(), version))),
                Err(DrillRefusal::Passing(why)) => missing.push(format!("{central}: {why}")),
                Err(DrillRefusal::Final(why)) => bail!("{central} refuses: {why}"),
            }
        }
        Ok(Look::NotYet(missing))
    }

    async fn ask(&self, central: &str, attempt: Attempt<'_>) -> Result<i64, DrillRefusal> {
        let never = |error: anyhow::Error| DrillRefusal::Final(error.to_string());
        let node = self.node(central).map_err(never)?;
        let request = match attempt {
            Attempt::Publish(id) => {
                let document = document(id).map_err(|error| never(error.into()))?;
                node.publish(&publication(id, &document))
            }
            Attempt::Deprecate(id) => node.set_active(id, false),
        };
        let (_, published) = answer::<Published>(request.bearer_auth(&self.token)).await?;
        Ok(published.version)
    }

    fn node(&self, central: &str) -> anyhow::Result<Node> {
        let service = || http::service_url(central, &self.namespace);
        let base = self.addresses.get(central).cloned().or_else(service);
        let base = base.with_context(|| format!("{central} is no name of a Service"))?;
        Ok(Node::new(self.client.clone(), base))
    }
}

fn document(id: &str) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&json!({
        "@context": "https://sorcha.dev/blueprints/v1",
        "@type": "Blueprint",
        "id": id,
        "name": "Drill",
        "description": "Published by sorcha-controller drill to see it arrive everywhere.",
    }))
}

fn publication<'a>(blueprint_id: &'a str, blueprint: &'a RawValue) -> Publication<'a> {
    let metadata = [("category".to_owned(), "drill".to_owned())].into();
    Publication { blueprint_id, blueprint, metadata, published_by: None }
}
