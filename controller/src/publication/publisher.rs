//! Step by step to what is wanted, at one central node.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use reqwest::{Client, Url};

use super::{
    Entry, Refusal,
    decide::{Step, Wanted, decide, is_to_be_deprecated},
    http,
    memory::Memory,
    register::{Fault, Known, Register},
    token::Tokens,
};

/// Limit of connecting to a central node.
const CONNECT: Duration = Duration::from_secs(3);
/// More steps in a row are never needed.
const STEPS: usize = 3;

/// The controller as a publisher.
pub struct Publisher {
    /// What came of the last looks.
    pub memory: Memory,
    client: Result<Client, String>,
    tokens: Tokens,
    addresses: BTreeMap<String, Url>,
}

impl Publisher {
    /// One that has asked nobody yet. Calls end after `call`; `addresses` stand in place of those of Services.
    #[must_use]
    pub fn new(tokens: Tokens, call: Duration, addresses: Vec<(String, Url)>) -> Self {
        let client = http::client(call, CONNECT.min(call));
        Self {
            memory: Memory::default(),
            client: client.map_err(|error| format!("set up the HTTP client: {error}")),
            tokens,
            addresses: addresses.into_iter().collect(),
        }
    }

    /// Brings one blueprint at one central node to what is wanted, and tells each step.
    ///
    /// # Errors
    /// [`Fault`]; steps that were made until then are done.
    pub async fn bring(
        &self,
        at: &At<'_>,
        wanted: &Wanted,
        known: Option<&Known>,
        steps: &mut Vec<Made>,
    ) -> Result<Known, Fault> {
        let token = self.token(&at.audience()).await?;
        let register = self.register(at, &wanted.id, &token)?;
        let result = bring(&register, wanted, known, steps).await;
        self.note(&at.audience(), &token, result.as_ref().err()).await;
        result
    }

    /// Deprecates a blueprint if it is the one with checksum `pinned` and active; tells whether it was.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn retire(&self, at: &At<'_>, id: &str, pinned: Option<&str>) -> Result<Option<Entry>, Fault> {
        let token = self.token(&at.audience()).await?;
        let register = self.register(at, id, &token)?;
        let held = register.look(None).await?;
        if !is_to_be_deprecated(pinned, held.as_ref().map(|held| &held.entry)) {
            return Ok(None);
        }
        let result = register.set_active(false).await;
        self.note(&at.audience(), &token, result.as_ref().err()).await;
        result.map(Some)
    }

    async fn token(&self, audience: &str) -> Result<Arc<str>, Fault> {
        self.tokens.of(audience).await.map_err(|error| Fault::Passing(error.to_string()))
    }

    async fn note(&self, audience: &str, token: &str, fault: Option<&Fault>) {
        if let Some(Fault::Refused(Refusal::NotAllowed { .. })) = fault {
            self.tokens.refused(audience, token).await;
        }
    }

    fn register<'a>(&'a self, at: &At<'a>, id: &'a str, token: &'a str) -> Result<Register<'a>, Fault> {
        let client = self.client.as_ref().map_err(|error| Fault::Passing(error.clone()))?;
        let service = || http::service_url(at.central, at.namespace);
        let base = self.addresses.get(at.central).cloned().or_else(service);
        let base = base.ok_or_else(|| Fault::Passing("no Service can have this name".to_owned()))?;
        Ok(Register { client, base, central: at.central, token, id })
    }
}

/// A central node.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its network.
    pub network: &'a str,
    /// Its name.
    pub central: &'a str,
}

impl At<'_> {
    /// Audience of the tokens that it takes.
    fn audience(&self) -> String {
        sorcha_crds::publish_audience(self.namespace, self.network)
    }
}

/// A step that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Published, or found to be published already.
    Published {
        /// It was not there before.
        new: bool,
    },
    /// Deprecated.
    Deprecated,
    /// Reactivated.
    Reactivated,
}

async fn bring(
    register: &Register<'_>,
    wanted: &Wanted,
    known: Option<&Known>,
    steps: &mut Vec<Made>,
) -> Result<Known, Fault> {
    let mut wanted = wanted.clone();
    let mut held = register.look(known).await?;
    for _ in 0..=STEPS {
        let entry = match (decide(&wanted, held.as_ref().map(|held| &held.entry)), held) {
            (Step::Nothing, Some(held)) => return Ok(told_by_whom(register, held).await),
            (Step::Refuse(refusal), _) => return Err(Fault::Refused(refusal)),
            (Step::Publish | Step::Nothing, _) => {
                let document = wanted.document.clone().map_err(|missing| Fault::Refused(missing.into()))?;
                let (entry, new) = register.publish(&document).await?;
                wanted.pinned = Some(entry.checksum.clone());
                steps.push(Made::Published { new });
                entry
            }
            (Step::Deprecate, _) => {
                let entry = register.set_active(false).await?;
                steps.push(Made::Deprecated);
                entry
            }
            (Step::Reactivate, _) => {
                let entry = register.set_active(true).await?;
                steps.push(Made::Reactivated);
                entry
            }
        };
        held = Some(Known { entry, tag: None });
    }
    Err(Fault::Passing("others change this blueprint at the same time".to_owned()))
}

/// Who published it is told by a look only; a log that is behind, or ahead, does not count.
async fn told_by_whom(register: &Register<'_>, held: Known) -> Known {
    if held.tag.is_some() {
        return held;
    }
    let seen = register.look(None).await.ok().flatten();
    seen.filter(|seen| seen.entry.version == held.entry.version).unwrap_or(held)
}
