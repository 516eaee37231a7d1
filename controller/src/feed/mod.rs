//! What the API server holds of one kind: a list, then a watch, for ever.
//!
//! One object at a time is read, each by itself: one that can't be read is that object's own matter, however deep, long or
//! odd it is. The library's watcher reads a whole page or nothing, and puts what it can't read into errors and logs.

mod split;
pub(crate) mod object;
pub(crate) mod call;
pub(crate) mod unreadable;

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::Request,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use self::{
    call::CallFault,
    object::{Cut, Seen},
    split::{Lines, List, Piece},
};

/// The API server ends a watch after this time, seconds.
const WATCH_SECONDS: u32 = 290;
/// Silence after which a watch is given up: it should have ended, and told so with its bookmarks.
const SILENCE: Duration = Duration::from_secs(295);
/// Wait after the first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest wait: when the API server is back, all statuses would wait for it. There are as many watches as kinds, so that it
/// is no load.
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// A watch that tells nothing and ends sooner has failed.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);
/// The version that a watch would go on from is too old.
const GONE: u16 = 410;

/// What is to be followed.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Path of the kind.
    pub(crate) path: String,
    /// Labels that its objects have.
    pub(crate) selector: Option<String>,
    /// Objects of one page of a list.
    pub(crate) page: u32,
    /// What is cut out of them.
    pub(crate) cut: Cut,
    /// Nothing but metadata is asked for.
    pub(crate) metadata_only: bool,
}

impl Source {
    fn watch(&self, from: &str) -> Result<http::Request<Vec<u8>>, kube::core::request::Error> {
        let mut parameters = WatchParams::default().timeout(WATCH_SECONDS);
        parameters.label_selector.clone_from(&self.selector);
        let request = Request::new(&self.path);
        if self.metadata_only {
            request.watch_metadata(&parameters, from)
        } else {
            request.watch(&parameters, from)
        }
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event<K> {
    /// A list begins; what is not in it is gone.
    Begin,
    /// It has this.
    Listed(Seen<K>),
    /// It is complete.
    Complete,
    /// Something is there, or was changed.
    Changed(Seen<K>),
    /// Something was there, as it was last.
    Deleted(Seen<K>),
    /// A watch has begun: what is known is what there is.
    Following,
    /// There is something that does not even tell its name.
    Nameless,
    /// What is known may be old; why, and that it is tried again.
    Failed(CallFault),
}

/// Follows a kind, for ever.
pub(crate) async fn follow<K: DeserializeOwned>(
    client: &Client,
    source: &Source,
    mut on: impl FnMut(Event<K>),
) {
    let (mut version, mut wait) = (None, FIRST_RETRY);
    loop {
        let result = match version.take() {
            None => list(client, source, &mut on).await.map(|listed| (Some(listed), true)),
            Some(from) => watch(client, source, from, &mut on).await,
        };
        let fault = match result {
            Ok((next, well)) => {
                version = next;
                if well {
                    wait = FIRST_RETRY;
                    continue;
                }
                None
            }
            Err((fault, next)) => {
                version = next;
                Some(fault)
            }
        };
        if let Some(fault) = fault {
            on(Event::Failed(fault));
        }
        // Not all kinds at once.
        tokio::time::sleep(wait.mul_f64(1.0 + rand::random::<f64>() / 4.0)).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

/// What went wrong, and the version to go on from.
pub(crate) type Failure = (CallFault, Option<String>);

/// All objects, page by page; the version of the list.
///
/// # Errors
/// What went wrong.
pub(crate) async fn list<K: DeserializeOwned>(
    client: &Client,
    source: &Source,
    on: &mut impl FnMut(Event<K>),
) -> Result<String, Failure> {
    on(Event::Begin);
    let mut parameters = ListParams { limit: Some(source.page), ..ListParams::default() };
    parameters.label_selector.clone_from(&source.selector);
    loop {
        let rest = page(client, source, &parameters, on).await.map_err(|fault| (fault, None))?;
        parameters.continue_token = rest.continue_.filter(|token| !token.is_empty());
        if parameters.continue_token.is_none() {
            let version = rest.resource_version.filter(|version| !version.is_empty());
            let version = version.ok_or((CallFault::Strange("a list without a version"), None))?;
            on(Event::Complete);
            return Ok(version);
        }
    }
}

async fn page<K: DeserializeOwned>(
    client: &Client,
    source: &Source,
    parameters: &ListParams,
    on: &mut impl FnMut(Event<K>),
) -> Result<ListMeta, CallFault> {
    #[derive(Deserialize)]
    struct Rest {
        #[serde(default)]
        metadata: ListMeta,
    }
    let request = Request::new(&source.path);
    let request =
        if source.metadata_only { request.list_metadata(parameters) } else { request.list(parameters) };
    let mut body = call::send(client, request).await?;
    let mut list = List::default();
    while let Some(chunk) = next(&mut body).await? {
        let no_list = list.push(&chunk, |piece| on(seen(piece, source.cut, Event::Listed)));
        no_list.map_err(|_| CallFault::Strange("it is no list"))?;
    }
    let rest = list.finish().map_err(|_| CallFault::Strange("a list that breaks off"))?;
    let rest: Rest = serde_json::from_slice(&rest).map_err(|_| CallFault::Strange("it is no list"))?;
    Ok(rest.metadata)
}

fn seen<K: DeserializeOwned>(piece: Piece, cut: Cut, event: fn(Seen<K>) -> Event<K>) -> Event<K> {
    match piece {
        Piece::Whole(text) => object::read(&text, cut).map_or(Event::Nameless, event),
        Piece::TooLong => Event::Nameless,
    }
}

/// The next bytes of an answer that does not stay silent.
async fn next<B>(
    body: &mut (impl Stream<Item = Result<B, CallFault>> + Unpin),
) -> Result<Option<B>, CallFault> {
    match timeout(SILENCE, body.next()).await {
        Ok(chunk) => chunk.transpose(),
        Err(_) => Err(CallFault::Away("it has been silent for too long".to_owned())),
    }
}

/// From a version that is too old, or after what is not understood, a list is the way on.
fn after(fault: CallFault, version: String) -> Failure {
    let lost = fault.code() == Some(GONE) || matches!(fault, CallFault::Strange(_));
    (fault, (!lost).then_some(version))
}

/// Changes since a version, until the watch ends: the version reached, and whether it went well.
async fn watch<K: DeserializeOwned>(
    client: &Client,
    source: &Source,
    from: String,
    on: &mut impl FnMut(Event<K>),
) -> Result<(Option<String>, bool), Failure> {
    let started = Instant::now();
    let mut body = match call::send(client, source.watch(&from)).await {
        Ok(body) => body,
        Err(fault) => return Err(after(fault, from)),
    };
    on(Event::Following);
    let (mut lines, mut version, mut told) = (Lines::default(), from, false);
    loop {
        let chunk = match next(&mut body).await {
            Ok(Some(chunk)) => chunk,
            // Watches end and break off all the time; they are taken up where they were.
            Ok(None) | Err(CallFault::Away(_)) => {
                return Ok((Some(version), told || started.elapsed() >= SHORTEST_WATCH));
            }
            Err(fault) => return Err(after(fault, version)),
        };
        let mut failed = None;
        lines.push(&chunk, |piece| match change(&piece, source.cut, &mut version) {
            Ok(Some(event)) => {
                told = true;
                on(event);
            }
            Ok(None) => told = true,
            Err(fault) => failed = failed.take().or(Some(fault)),
        });
        if let Some(fault) = failed {
            return Err(after(fault, version));
        }
    }
}

/// One line of a watch. `None`: nothing but a new version.
fn change<K: DeserializeOwned>(
    piece: &Piece,
    cut: Cut,
    version: &mut String,
) -> Result<Option<Event<K>>, CallFault> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow, rename = "type")]
        kind: &'a RawValue,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let Piece::Whole(text) = piece else { return Ok(Some(Event::Nameless)) };
    let line: Line<'_> = serde_json::from_slice(text)
        .map_err(|_| CallFault::Strange("a watch with a line that is no event"))?;
    let object = line.object.get().as_bytes();
    if line.kind.get() == "\"ERROR\"" {
        return Err(call::refused(0, object));
    }
    if let Some(reached) = object::version(object) {
        *version = reached;
    }
    let event: fn(Seen<K>) -> Event<K> = match line.kind.get() {
        "\"ADDED\"" | "\"MODIFIED\"" => Event::Changed,
        "\"DELETED\"" => Event::Deleted,
        _ => return Ok(None),
    };
    Ok(Some(object::read(object, cut).map_or(Event::Nameless, event)))
}

#[cfg(test)]
mod tests;
