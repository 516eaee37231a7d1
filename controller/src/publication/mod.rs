//! Publishing through the central nodes' HTTP API, as any other publisher does.
//!
//! [`decide`] is pure: what the register holds and what is wanted give one step. [`register`] makes that step at one
//! central node, [`token`] gets what it is authorised with, [`memory`] saves calls. Deliberately absent: any way to the
//! register other than HTTP, and any knowledge of custom resources.

pub mod http;
pub mod document;
pub mod decide;
pub mod register;
pub mod token;
pub mod memory;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reqwest::{Client, Url};
use serde::Deserialize;

use self::{
    decide::{Step, Wanted, decide, is_to_be_deprecated},
    memory::Memory,
    register::{Fault, Known, Register},
    token::Tokens,
};

/// Limit of connecting to a central node.
const CONNECT: Duration = Duration::from_secs(3);
/// More steps in a row are never needed.
const STEPS: usize = 3;

/// A blueprint as the register holds it, without its document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Register-wide version of its newest state.
    pub version: i64,
    /// Checksum of its document.
    pub checksum: String,
    /// False once deprecated.
    pub is_active: bool,
    /// When it was published.
    pub published_at: Time,
    /// Who published it; the answer to a publication does not tell.
    #[serde(default)]
    pub published_by: Option<String>,
}

/// Why the register is not brought to what is wanted, though a central node answered. The text tells the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The id is taken.
    #[error(
        "the id is published already, at version {version} by {by}, with another document: its checksum is {theirs}, this \
         one's is {ours}; nothing was changed: publish under another id, as a new resource"
    )]
    Conflict {
        /// Checksum wanted.
        ours: String,
        /// Checksum published.
        theirs: String,
        /// Version of what is published.
        version: i64,
        /// Who published it.
        by: String,
    },
    /// The id was taken a moment ago.
    #[error("{message}; the checksum of this resource's document is {ours}; nothing was changed")]
    Taken {
        /// Checksum wanted.
        ours: String,
        /// What the central node says, which names the published one's.
        message: String,
    },
    /// The document is not the one that was published.
    #[error(
        "the document is not the one that was published: its checksum is {now}, the published one's is {pinned}; nothing was \
         changed: restore it, or publish the new one under another id, as a new resource"
    )]
    Changed {
        /// Checksum now.
        now: String,
        /// Checksum published.
        pinned: String,
    },
    /// Another resource has the id.
    #[error("id {id} is also that of SorchaBlueprint {other}, which was there first: delete one of them")]
    Duplicate {
        /// The id.
        id: String,
        /// The other resource.
        other: String,
    },
    /// There is no document.
    #[error(transparent)]
    Document(#[from] document::Missing),
    /// A central node does not take the document.
    #[error("{central} refuses the document: {message}")]
    Rejected {
        /// The central node.
        central: String,
        /// What it says.
        message: String,
    },
    /// A central node takes nothing from this controller.
    #[error("{central} takes no publication from this controller: {message}")]
    NotAllowed {
        /// The central node.
        central: String,
        /// What it says.
        message: String,
    },
}

impl Refusal {
    /// Reason of the condition and of the Event, label of the measurement.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Conflict { .. } | Self::Taken { .. } | Self::Duplicate { .. } => "Conflict",
            Self::Changed { .. } => "DocumentChanged",
            Self::Document(missing) => missing.reason(),
            Self::Rejected { .. } => "Rejected",
            Self::NotAllowed { .. } => "NotAllowed",
        }
    }
}

/// What came of a look at a blueprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The register holds it as wanted.
    InRegister {
        /// The blueprint.
        entry: Entry,
        /// Central node that was asked.
        central: String,
    },
    /// The register is left as it is.
    Refused(Refusal),
    /// No central node could be asked, or none could do it; the text says why.
    Waiting(String),
}

impl Outcome {
    /// Whether other central nodes than those that were ready might change it.
    #[must_use]
    pub const fn depends_on_nodes(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Refused(Refusal::NotAllowed { .. }))
    }

    /// Label of the measurement.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InRegister { .. } => "ok",
            Self::Refused(refusal) => refusal.reason(),
            Self::Waiting(_) => "Waiting",
        }
    }
}

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
        let token = self.token(at.network).await?;
        let register = self.register(at, &wanted.id, &token)?;
        let result = bring(&register, wanted, known, steps).await;
        self.note(at.network, &token, result.as_ref().err()).await;
        result
    }

    /// Deprecates a blueprint if it is the one with checksum `pinned` and active; tells whether it was.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn retire(&self, at: &At<'_>, id: &str, pinned: Option<&str>) -> Result<Option<Entry>, Fault> {
        let token = self.token(at.network).await?;
        let register = self.register(at, id, &token)?;
        let held = register.look(None).await?;
        if !is_to_be_deprecated(pinned, held.as_ref().map(|held| &held.entry)) {
            return Ok(None);
        }
        let result = register.set_active(false).await;
        self.note(at.network, &token, result.as_ref().err()).await;
        result.map(Some)
    }

    async fn token(&self, network: &str) -> Result<Arc<str>, Fault> {
        self.tokens.of(network).await.map_err(|error| Fault::Passing(error.to_string()))
    }

    async fn note(&self, network: &str, token: &str, fault: Option<&Fault>) {
        if let Some(Fault::Refused(Refusal::NotAllowed { .. })) = fault {
            self.tokens.refused(network, token).await;
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
