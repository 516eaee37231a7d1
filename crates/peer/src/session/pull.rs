//! Pulls: full, incremental, and the repair of what was found damaged (protocol section 6.5, ADR 27 and 41).

mod gathered;
mod whole;

use std::{collections::BTreeSet, sync::Arc};

use sorcha_proto::{EncodedEntry, metadata, v1};
use sorcha_register::{
    entry::SealedEntry,
    names::{Lineage, RegisterDigest, Version},
    succession::{self, Contradiction, Successor},
};
use sorcha_store::StoreError;
use tonic::{Status, Streaming, metadata::MetadataMap};

use self::gathered::Gathered;
pub(super) use self::whole::{Partial, full};
use super::{
    LiveSession,
    pace::{Stalled, StreamPace},
    told::told,
};
use crate::{
    replica::{Batch, NotTaken},
    status::StatusEvent,
};

/// Entries between two log lines of progress (protocol section 10).
const PROGRESS: usize = 100;
/// Asks for all entries, whatever cap is configured.
const NO_CAP: u32 = u32::MAX;

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error("{:?}: {}", .0.code(), told(.0.message()))]
    Call(#[from] Status),
    #[error("the central node sent a bad entry: {0}")]
    Entry(String),
    #[error("what the central node sends is refused, and nothing of it was taken: {0}")]
    Refused(#[from] Contradiction),
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NotTaken> for PullError {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Refused(contradiction) => Self::Refused(contradiction),
            NotTaken::Store(error) => Self::Store(error),
        }
    }
}

/// What a central node says its stream is a snapshot of; nothing, from one of the original contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Snapshot {
    head: Option<Version>,
    digest: Option<RegisterDigest>,
}

/// The outcome of a pull that brought nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// This many entries came, and the replica equals the central node's register at the head it stated.
    Complete(usize),
    /// The replica's digest would not be the central node's. Nothing was taken; a full sync shows what differs.
    Diverged,
    /// The central node's register ends before the version held.
    Behind,
    /// This many entries came, but newer ones were pushed meanwhile: they are compared with those, too.
    Overtaken(usize),
}

/// What arrived of an incremental pull that broke off; the next try goes on from there.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The version held when it began.
    from: Version,
    entries: Gathered,
}

/// Fetches what is newer than the replica. Nothing of it is taken before the central node has shown that its register is the
/// one that is held, and more.
pub(super) async fn incremental(session: &LiveSession, news: &mut News) -> Result<Pulled, PullError> {
    let replica = &session.node.replica;
    if !replica.findings().is_empty() {
        return repair(session).await;
    }
    let from = replica.head();
    if news.from != from {
        *news = News { from, entries: Gathered::default() };
    }
    let snapshot = loop {
        let before = news.entries.len();
        let after = news.entries.last().unwrap_or(from).max(from);
        let mut stream = open(session, after, 0, false).await?;
        receive(&mut stream, &mut news.entries).await?;
        if !capped(session, news.entries.len() - before) {
            break stream.snapshot;
        }
    };
    let entries = std::mem::take(news).entries.into_entries();
    let (count, head) = (entries.len(), snapshot.head.unwrap_or_default());
    let is_behind = snapshot.head.is_some_and(|head| head < from);
    let batch = Batch {
        entries,
        position: from,
        head,
        digest: snapshot.digest,
        size: session.node.config.sync.batch,
        most: session.node.config.sync.replica_memory(),
    };
    match replica.take(batch, session.genesis.as_deref(), &session.provenance()).await {
        // Entry by entry it shows what it is that differs.
        Err(NotTaken::Refused(Contradiction::Digest { .. })) => return Ok(Pulled::Diverged),
        taken => taken?,
    }
    heard(session, snapshot);
    Ok(if is_behind { Pulled::Behind } else { Pulled::Complete(count) })
}

/// Fetches only what was found damaged or missing, and what is newer; then the whole replica must have the
/// central node's digest, or all of it is fetched anew.
async fn repair(session: &LiveSession) -> Result<Pulled, PullError> {
    let replica = &session.node.replica;
    let findings = replica.findings();
    let bad: BTreeSet<Version> = findings.iter().filter_map(|finding| finding.version).collect();
    let mut fetched = Vec::new();
    for version in &bad {
        let mut stream = open(session, version.previous(), 1, false).await?;
        let mut one = Gathered::default();
        receive_some(&mut stream, &mut one, 1).await?;
        fetched.append(&mut one.into_entries());
    }
    let mut view = replica.view();
    let held = view.head();
    let mut newer = open(session, view.head(), 0, false).await?;
    let mut rest = Gathered::default();
    receive(&mut newer, &mut rest).await?;
    fetched.append(&mut rest.into_entries());
    let successor = Successor::of(view.clone(), true, session.genesis.as_deref())?;
    fetched.iter().try_for_each(|sealed| successor.check(sealed))?;
    // The entry after a bad one may have come twice.
    fetched.sort_by_key(|sealed| sealed.entry().version);
    fetched.dedup_by_key(|sealed| sealed.entry().version);
    let count = fetched.len();
    view.apply(fetched, newer.snapshot.head.unwrap_or_default());
    succession::check_memory(view.memory(), newer.most)?;
    if newer.snapshot.digest.is_none_or(|digest| digest != view.digest()) {
        return Ok(Pulled::Diverged);
    }
    if !replica.replace_at(held, view, &session.provenance()).await? {
        return Ok(Pulled::Overtaken(count));
    }
    tracing::info!(
        findings = findings.len(),
        entries = count,
        central_node_id = session.central,
        "replica repaired"
    );
    heard(session, newer.snapshot);
    Ok(Pulled::Complete(count))
}

struct Opened {
    entries: Streaming<EncodedEntry>,
    snapshot: Snapshot,
    pace: StreamPace,
    /// Memory that what comes may take, bytes.
    most: u64,
}

impl Opened {
    async fn message(&mut self) -> Result<Option<EncodedEntry>, PullError> {
        Ok(self.pace.wait(self.entries.message()).await??)
    }
}

/// Opens a stream; `cap` 0 means the configured one. A `full` pull asks for the active entries only. A central node that
/// states a lineage states what it sends, too.
async fn open(session: &LiveSession, after: Version, cap: u32, full: bool) -> Result<Opened, PullError> {
    let cap = if cap == 0 { session.node.config.sync.max_blueprints } else { cap % NO_CAP };
    // A full sync begins at the first version; what is held tells the central node how far it should have read its store.
    let known = if full && session.genesis.is_some() { session.node.replica.head() } else { after };
    let request = v1::SyncRequest {
        peer_id: session.node.id.to_string(),
        last_known_version: known.get(),
        full_sync: full,
        session_id: session.id.clone(),
        max_blueprints: i32::try_from(cap).unwrap_or(i32::MAX),
        request_time: session.node.env.clock.now().as_millis(),
    };
    let mut pace = StreamPace::new(session.node.config.sync.stall_timeout, session.received.clone());
    let mut client = session.metered_client();
    let response = if full {
        pace.wait(client.full_sync(request)).await??
    } else {
        pace.wait(client.incremental_sync(request)).await??
    };
    let lineage = text(response.metadata(), metadata::LINEAGE).and_then(Lineage::from_hex);
    let expected = session.genesis.as_ref().map(|genesis| genesis.lineage());
    match (expected, lineage) {
        (Some(held), Some(stated)) if held != stated => {
            return Err(Contradiction::OtherLineage { held, stated }.into());
        }
        // It stated none when the session was opened: that is settled with a new one.
        (None, Some(_)) => return Err(Status::failed_precondition("a lineage is stated only now").into()),
        _ => {}
    }
    let snapshot = Snapshot {
        head: text(response.metadata(), metadata::VERSION)
            .and_then(|v| Version::new("version", v.parse().ok()?).ok()),
        digest: text(response.metadata(), metadata::DIGEST).and_then(RegisterDigest::from_hex),
    };
    if expected.is_some() && (snapshot.head.is_none() || snapshot.digest.is_none()) {
        return Err(Contradiction::NoDigest.into());
    }
    let most = session.node.config.sync.replica_memory();
    Ok(Opened { entries: response.into_inner(), snapshot, pace, most })
}

fn text<'m>(metadata: &'m MetadataMap, key: &str) -> Option<&'m str> {
    metadata.get(key)?.to_str().ok()
}

fn capped(session: &LiveSession, count: usize) -> bool {
    let cap = session.node.config.sync.max_blueprints as usize;
    cap > 0 && count >= cap
}

/// Receives a whole stream; its clean end is the end mark.
async fn receive(stream: &mut Opened, into: &mut Gathered) -> Result<(), PullError> {
    while receive_some(stream, into, usize::MAX).await? {}
    Ok(())
}

/// Receives up to `limit` entries, each checked, at versions that rise after what is there: nothing is kept twice. False at the
/// end of the stream.
async fn receive_some(stream: &mut Opened, into: &mut Gathered, limit: usize) -> Result<bool, PullError> {
    for _ in 0..limit {
        let Some(encoded) = stream.message().await? else { return Ok(false) };
        let sealed = next_entry(encoded, into.last(), stream.snapshot.head)?;
        tell_progress(into.len() + 1, &sealed);
        into.add(sealed, stream.most)?;
    }
    Ok(true)
}

fn tell_progress(entries: usize, newest: &SealedEntry) {
    if entries.is_multiple_of(PROGRESS) {
        tracing::debug!(entries, version = newest.entry().version.get(), "sync progress");
    }
}

/// The next entry of a stream: whole, after the last one, and within what the central node said that it
/// sends.
fn next_entry(
    encoded: EncodedEntry,
    last: Option<Version>,
    head: Option<Version>,
) -> Result<Arc<SealedEntry>, PullError> {
    let sealed =
        SealedEntry::decode(encoded.0).map_err(|error| PullError::Entry(told(&error.to_string())))?;
    let version = sealed.entry().version;
    let id = || sealed.entry().blueprint_id.clone();
    if let Some(after) = last.filter(|last| version <= *last) {
        return Err(Contradiction::OutOfOrder { id: id(), version, after }.into());
    }
    if let Some(head) = head.filter(|head| version > *head) {
        return Err(Contradiction::BeyondHead { id: id(), version, head }.into());
    }
    Ok(sealed)
}

fn heard(session: &LiveSession, snapshot: Snapshot) {
    let node = &session.node;
    let view = node.replica.view();
    let central = snapshot.head.unwrap_or(view.head());
    let equal = snapshot.digest.is_none_or(|digest| digest == view.digest());
    let at = node.env.clock.moment();
    node.note(StatusEvent::Heard { central, held: view.head(), equal, at });
    node.env.metrics.version(view.head().get());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use sorcha_register::testing::entry;

    fn version(number: i64) -> Version {
        Version::new("version", number).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_taken_of_any_stream_rises_up_to_the_stated_head(
            versions in proptest::collection::vec(0..20i64, 0..20),
            damage in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
            head in proptest::option::of(1..20i64),
        ) {
            let head = head.map(version);
            let mut taken: Vec<Arc<SealedEntry>> = Vec::new();
            for number in versions {
                let mut bytes = entry(&format!("b{number}"), number).seal().encoded().to_vec();
                if let Some((index, value)) = damage {
                    let at = index.index(bytes.len());
                    bytes[at] = value;
                }
                let last = taken.last().map(|last| last.entry().version);
                if let Ok(sealed) = next_entry(EncodedEntry(bytes.into()), last, head) {
                    taken.push(sealed);
                }
            }
            let versions: Vec<_> = taken.iter().map(|sealed| sealed.entry().version).collect();
            prop_assert!(versions.is_sorted_by(|a, b| a < b));
            prop_assert!(versions.iter().all(|v| *v > Version::ZERO && head.is_none_or(|head| *v <= head)));
        }
    }
}
