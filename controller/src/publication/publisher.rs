//! Step by step to what is wanted, at one central node.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, Url};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Entry, Refusal,
    decide::{Step, Wanted, decide, is_to_be_deprecated},
    http,
    lanes::Lanes,
    memory::Memory,
    register::{Fault, Known, Register},
    tls::{self, Proof},
    token::Tokens,
};
use crate::leader::fence::Fence;

/// Limit of connecting to a central node.
const CONNECT: Duration = Duration::from_secs(3);
/// More steps in a row are never needed.
const STEPS: usize = 3;
/// Documents in memory at once, each of up to 3 MB, and twice while it is sent.
const DOCUMENTS: usize = 16;
/// Documents that are read at once: one of many small members takes ten times its length meanwhile.
const READING: usize = 2;
/// Central nodes whose clients are kept.
const CLIENTS: usize = 256;

/// The controller as a publisher.
pub struct Publisher {
    /// What came of the last looks.
    pub memory: Memory,
    /// Whose turn it is.
    pub lanes: Lanes,
    tokens: Tokens,
    /// What is not behind it may change a register beside another controller.
    fence: Fence,
    call: Duration,
    addresses: BTreeMap<String, Url>,
    documents: Semaphore,
    reading: Semaphore,
    /// By namespace and name; each for what the central node had to prove then.
    clients: Mutex<HashMap<(String, String), (Trust, Client)>>,
}

impl Publisher {
    /// One that has asked nobody yet. Calls end after `call`; `addresses` stand in place of those of Services.
    #[must_use]
    pub fn new(tokens: Tokens, call: Duration, addresses: Vec<(String, Url)>, fence: Fence) -> Self {
        Self {
            memory: Memory::default(),
            lanes: Lanes::default(),
            tokens,
            fence,
            call,
            addresses: addresses.into_iter().collect(),
            documents: Semaphore::new(DOCUMENTS),
            reading: Semaphore::new(READING),
            clients: Mutex::default(),
        }
    }

    /// Waits until there is room for one more document; there is as long as what is returned lives.
    pub(crate) async fn room(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.documents.acquire().await.ok()
    }

    /// Waits until one more document may be read.
    pub(crate) async fn reading(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.reading.acquire().await.ok()
    }

    /// Whether a central node is reached in plain text: on this machine, where the administrator said so.
    #[must_use]
    pub(crate) fn is_local(&self, central: &str) -> bool {
        self.addresses.get(central).is_some_and(|url| url.scheme() == "http")
    }

    /// Brings one blueprint at one central node to what is wanted, and tells each step. `hold` comes before a publication, which
    /// must not be forgotten once it is made.
    ///
    /// # Errors
    /// [`Fault`]; steps that were made until then are done.
    pub(crate) async fn bring<H: Future<Output = Result<(), Fault>>>(
        &self,
        at: &At<'_>,
        wanted: &Wanted,
        known: Option<&Known>,
        hold: impl Fn() -> H,
        steps: &mut Vec<Made>,
    ) -> Result<Known, Fault> {
        let client = self.client(at)?;
        let (audience, token) = self.token(at).await?;
        let register = self.register(at, &wanted.id, &client, &token)?;
        let result = bring(&register, wanted, known, hold, steps).await;
        self.note(&audience, &token, result.as_ref().err()).await;
        result
    }

    /// Deprecates a blueprint if it is the one with checksum `pinned` and active; tells whether it was.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) async fn retire(
        &self,
        at: &At<'_>,
        id: &str,
        pinned: Option<&str>,
    ) -> Result<Option<Entry>, Fault> {
        let client = self.client(at)?;
        let (audience, token) = self.token(at).await?;
        let register = self.register(at, id, &client, &token)?;
        let held = register.look(None).await?;
        if !is_to_be_deprecated(pinned, held.as_ref().map(|held| &held.entry)) {
            return Ok(None);
        }
        let result = register.set_active(false).await;
        self.note(&audience, &token, result.as_ref().err()).await;
        result.map(Some)
    }

    /// A token is good for one namespace's network and nothing else, whatever resources say.
    async fn token(&self, at: &At<'_>) -> Result<(String, Arc<str>), Fault> {
        let audience = sorcha_crds::publish_audience(at.namespace, at.network);
        let token = self.tokens.of(&audience).await.map_err(|error| Fault::Passing(error.to_string()))?;
        Ok((audience, token))
    }

    async fn note(&self, audience: &str, token: &str, fault: Option<&Fault>) {
        if let Some(Fault::Refused(Refusal::NotAllowed { .. })) = fault {
            self.tokens.refused(audience, token).await;
        }
    }

    fn client(&self, at: &At<'_>) -> Result<Client, Fault> {
        let key = (at.namespace.to_owned(), at.central.to_owned());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.get(&key).filter(|(trust, _)| *trust == at.trust) {
            return Ok(client.clone());
        }
        let builder = match &at.trust {
            Trust::Local => Ok(sorcha_api::client::builder()),
            Trust::Proof(proof) => tls::builder(proof),
        };
        let client = builder
            .and_then(|builder| {
                http::with(builder, self.call, CONNECT.min(self.call)).map_err(|e| e.to_string())
            })
            .map_err(|error| Fault::Passing(format!("set up the HTTP client: {error}")))?;
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        clients.insert(key, (at.trust.clone(), client.clone()));
        Ok(client)
    }

    fn register<'a>(
        &'a self,
        at: &At<'a>,
        id: &'a str,
        client: &'a Client,
        token: &'a str,
    ) -> Result<Register<'a>, Fault> {
        let service = || http::secure_url(at.central, at.namespace);
        let base = self.addresses.get(at.central).cloned().or_else(service);
        let base = base.ok_or_else(|| Fault::Passing("no Service can have this name".to_owned()))?;
        Ok(Register { client, fence: &self.fence, base, central: at.central, token, id })
    }
}

/// A central node.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its network.
    pub network: &'a str,
    /// Its name.
    pub central: &'a str,
    /// Why it may be told a token.
    pub trust: Trust,
}

/// Why a server may be told a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It proves who it is.
    Proof(Proof),
    /// It is on this machine, at an address that the administrator gave.
    Local,
}

/// A step that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Made {
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

async fn bring<H: Future<Output = Result<(), Fault>>>(
    register: &Register<'_>,
    wanted: &Wanted,
    known: Option<&Known>,
    hold: impl Fn() -> H,
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
                hold().await?;
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
