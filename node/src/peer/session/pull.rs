//! Pulls: full, incremental, and the repair of what was found damaged (contract section 6.5, design decisions 6, 25).

use std::{collections::BTreeSet, sync::Arc};

use sorcha_proto::{EncodedEntry, metadata, v1};
use tokio::task::{JoinError, JoinHandle};
use tonic::{Status, Streaming, metadata::MetadataMap};

use super::{
    Session,
    pace::{Pace, Stalled},
};
use crate::{
    peer::replica::{Finished, Replacement},
    register::{
        entry::SealedEntry,
        names::{Lineage, RegisterDigest, Version},
    },
    store::StoreError,
};

/// Entries of a full sync that are checked and handed on together.
const PIECE: usize = 512;
/// Entries between two log lines of progress (contract section 10).
const PROGRESS: usize = 100;

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error("{:?}: {}", .0.code(), .0.message())]
    Call(#[from] Status),
    #[error("the central node sent a bad entry: {0}")]
    Entry(String),
    #[error("what the central node sent does not have the digest it stated; nothing of it was taken")]
    Digest,
    #[error("the central node serves another lineage now; nothing of it was taken")]
    Lineage,
    #[error(transparent)]
    Stalled(#[from] Stalled),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a central node says its stream is a snapshot of; nothing, from one of the original contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Snapshot {
    head: Option<Version>,
    digest: Option<RegisterDigest>,
}

/// What was received of a full sync that broke off; the next try goes on from there.
#[derive(Debug, Default)]
pub(super) struct Partial {
    lineage: Option<Lineage>,
    entries: Vec<Arc<SealedEntry>>,
}

impl Partial {
    fn last(&self) -> Version {
        self.entries.last().map_or(Version::ZERO, |sealed| sealed.entry().version)
    }
}

/// The outcome of a pull that brought nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// This many entries came, and the replica equals the central node's register at the head it stated.
    Complete(usize),
    /// This many entries came, but the replica's digest is not the central node's: it must be fetched anew.
    Diverged(usize),
    /// This many entries came, but newer ones were pushed meanwhile: it is fetched anew.
    Overtaken(usize),
}

/// Fetches everything and replaces the replica by it, all or nothing. What has arrived is stored while more comes.
pub(super) async fn full(session: &Session, partial: &mut Partial) -> Result<Pulled, PullError> {
    let held = session.node.replica.head();
    let lineage = session.genesis.as_ref().map(|genesis| genesis.lineage());
    if partial.lineage != lineage {
        *partial = Partial { lineage, entries: Vec::new() };
    }
    let mut replacement = session.node.replica.begin_replace();
    replacement.add(partial.entries.clone()).await?;
    let snapshot = loop {
        let before = partial.last();
        let mut stream = open(session, before, 0, before == Version::ZERO).await?;
        let count = receive_into(&mut stream, partial, &mut replacement).await?;
        if !capped(session, count) {
            break stream.snapshot;
        }
    };
    let head = snapshot.head.unwrap_or_default().max(partial.last());
    let count = std::mem::take(partial).entries.len();
    let genesis = session.genesis.clone();
    let from = session.provenance();
    match replacement.finish(genesis, head, snapshot.digest, held, &from).await? {
        Finished::Replaced => {}
        Finished::Overtaken => return Ok(Pulled::Overtaken(count)),
        Finished::OtherDigest => return Err(PullError::Digest),
    }
    heard(session, snapshot);
    Ok(Pulled::Complete(count))
}

/// Receives a whole stream and hands it on piece by piece: while one is received, the one before is checked, and those
/// before that are written. What was good of a stream that breaks off is kept.
async fn receive_into(
    stream: &mut Opened,
    partial: &mut Partial,
    replacement: &mut Replacement<'_>,
) -> Result<usize, PullError> {
    let (before, head) = (partial.entries.len(), stream.snapshot.head);
    let mut checking: Option<JoinHandle<Checked>> = None;
    loop {
        let (piece, end) = gather(stream).await;
        if let Some(checking) = checking.take() {
            keep(joined(checking.await), partial, replacement).await?;
        }
        let last = partial.entries.last().map(|last| last.entry().version);
        match end {
            // A whole piece is worth waking a thread.
            None => checking = Some(tokio::task::spawn_blocking(move || check(piece, last, head))),
            Some(end) => {
                keep(check(piece, last, head), partial, replacement).await?;
                return end.map(|()| partial.entries.len() - before);
            }
        }
    }
}

/// Receives a piece; with it how the stream ended, if it did.
async fn gather(stream: &mut Opened) -> (Vec<EncodedEntry>, Option<Result<(), PullError>>) {
    let mut piece = Vec::with_capacity(PIECE);
    while piece.len() < PIECE {
        match stream.message().await {
            Ok(Some(entry)) => piece.push(entry),
            Ok(None) => return (piece, Some(Ok(()))),
            Err(error) => return (piece, Some(Err(error))),
        }
    }
    (piece, None)
}

/// The entries of a piece up to the first that is not good, and what is wrong with that one.
type Checked = (Vec<Arc<SealedEntry>>, Result<(), PullError>);

fn check(piece: Vec<EncodedEntry>, mut last: Option<Version>, head: Option<Version>) -> Checked {
    let mut good = Vec::with_capacity(piece.len());
    for encoded in piece {
        match next_entry(encoded, last, head) {
            Ok(sealed) => {
                last = Some(sealed.entry().version);
                good.push(sealed);
            }
            Err(error) => return (good, Err(error)),
        }
    }
    (good, Ok(()))
}

fn joined(checked: Result<Checked, JoinError>) -> Checked {
    match checked {
        Ok(checked) => checked,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_ended) => (Vec::new(), Err(Status::cancelled("the process is ending").into())),
    }
}

async fn keep(
    (good, outcome): Checked,
    partial: &mut Partial,
    replacement: &mut Replacement<'_>,
) -> Result<(), PullError> {
    for (entries, sealed) in (partial.entries.len() + 1..).zip(&good) {
        tell_progress(entries, sealed);
    }
    partial.entries.extend_from_slice(&good);
    replacement.add(good).await?;
    outcome
}

/// Fetches what is newer than the replica, in batches that are committed one by one.
pub(super) async fn incremental(session: &Session) -> Result<Pulled, PullError> {
    let replica = &session.node.replica;
    if !replica.findings().is_empty() {
        return repair(session).await;
    }
    let mut total = 0;
    loop {
        let mut stream = open(session, replica.head(), 0, false).await?;
        let mut count = 0;
        loop {
            let mut batch = Vec::with_capacity(session.node.config.sync.batch);
            let more = receive_some(&mut stream, &mut batch, session.node.config.sync.batch).await?;
            count += batch.len();
            let head = if more || capped(session, count) {
                Version::ZERO
            } else {
                stream.snapshot.head.unwrap_or_default()
            };
            if !batch.is_empty() || !more {
                replica.apply(batch, head, &session.provenance()).await?;
            }
            if !more {
                break;
            }
        }
        total += count;
        if !capped(session, count) {
            heard(session, stream.snapshot);
            let view = replica.view();
            let comparable = stream.snapshot.head == Some(view.head());
            let differs = comparable && stream.snapshot.digest.is_some_and(|digest| digest != view.digest());
            return Ok(if differs { Pulled::Diverged(total) } else { Pulled::Complete(total) });
        }
    }
}

/// Fetches only what was found damaged or missing, and what is newer; then the whole replica must have the
/// central node's digest, or all of it is fetched anew.
async fn repair(session: &Session) -> Result<Pulled, PullError> {
    let replica = &session.node.replica;
    let findings = replica.findings();
    let bad: BTreeSet<Version> = findings.iter().filter_map(|finding| finding.version).collect();
    let mut fetched = Vec::new();
    for version in &bad {
        let mut stream = open(session, version.previous(), 1, false).await?;
        let mut one = Vec::new();
        receive(&mut stream, &mut one).await?;
        fetched.append(&mut one);
    }
    let mut view = replica.view();
    let held = view.head();
    let mut newer = open(session, view.head(), 0, false).await?;
    let mut rest = Vec::new();
    receive(&mut newer, &mut rest).await?;
    fetched.append(&mut rest);
    // The entry after a bad one may have come twice.
    fetched.sort_by_key(|sealed| sealed.entry().version);
    fetched.dedup_by_key(|sealed| sealed.entry().version);
    let count = fetched.len();
    view.apply(fetched, newer.snapshot.head.unwrap_or_default());
    if newer.snapshot.digest.is_none_or(|digest| digest != view.digest()) {
        return Ok(Pulled::Diverged(count));
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
    pace: Pace,
}

impl Opened {
    async fn message(&mut self) -> Result<Option<EncodedEntry>, PullError> {
        Ok(self.pace.wait(self.entries.message()).await??)
    }
}

/// Opens a stream; `cap` 0 means the configured one. A `full` pull asks for the active entries only.
async fn open(session: &Session, after: Version, cap: u32, full: bool) -> Result<Opened, PullError> {
    let cap = if cap == 0 { session.node.config.sync.max_blueprints } else { cap };
    let request = v1::SyncRequest {
        peer_id: session.node.id.to_string(),
        last_known_version: after.get(),
        full_sync: full,
        session_id: session.id.clone(),
        max_blueprints: i32::try_from(cap).unwrap_or(i32::MAX),
        request_time: session.node.env.clock.now().as_millis(),
    };
    let mut pace = Pace::new(session.node.config.sync.stall_timeout, session.received.clone());
    let mut client = session.metered_client();
    let response = if full {
        pace.wait(client.full_sync(request)).await??
    } else {
        pace.wait(client.incremental_sync(request)).await??
    };
    let lineage = text(response.metadata(), metadata::LINEAGE).and_then(Lineage::from_hex);
    let expected = session.genesis.as_ref().map(|genesis| genesis.lineage());
    if lineage.is_some() && lineage != expected {
        return Err(PullError::Lineage);
    }
    let snapshot = Snapshot {
        head: text(response.metadata(), metadata::VERSION)
            .and_then(|v| Version::new("version", v.parse().ok()?).ok()),
        digest: text(response.metadata(), metadata::DIGEST).and_then(RegisterDigest::from_hex),
    };
    Ok(Opened { entries: response.into_inner(), snapshot, pace })
}

fn text<'m>(metadata: &'m MetadataMap, key: &str) -> Option<&'m str> {
    metadata.get(key)?.to_str().ok()
}

fn capped(session: &Session, count: usize) -> bool {
    let cap = session.node.config.sync.max_blueprints as usize;
    cap > 0 && count >= cap
}

/// Receives a whole stream; its clean end is the end mark.
async fn receive(stream: &mut Opened, into: &mut Vec<Arc<SealedEntry>>) -> Result<usize, PullError> {
    let before = into.len();
    while receive_some(stream, into, usize::MAX).await? {}
    Ok(into.len() - before)
}

/// Receives up to `limit` entries, each checked; false at the end of the stream.
async fn receive_some(
    stream: &mut Opened,
    into: &mut Vec<Arc<SealedEntry>>,
    limit: usize,
) -> Result<bool, PullError> {
    for _ in 0..limit {
        let Some(encoded) = stream.message().await? else { return Ok(false) };
        let last = into.last().map(|last| last.entry().version);
        let sealed = next_entry(encoded, last, stream.snapshot.head)?;
        tell_progress(into.len() + 1, &sealed);
        into.push(sealed);
    }
    Ok(true)
}

fn tell_progress(entries: usize, newest: &SealedEntry) {
    if entries.is_multiple_of(PROGRESS) {
        tracing::debug!(entries, version = newest.entry().version.get(), "sync progress");
    }
}

/// The next entry of a stream: whole, after the last one, and within what the central node said that it sends.
fn next_entry(
    encoded: EncodedEntry,
    last: Option<Version>,
    head: Option<Version>,
) -> Result<Arc<SealedEntry>, PullError> {
    let sealed = SealedEntry::decode(encoded.0).map_err(|error| PullError::Entry(error.to_string()))?;
    let version = sealed.entry().version;
    if let Some(last) = last.filter(|last| version <= *last) {
        return Err(PullError::Entry(format!("version {version} came after {last}")));
    }
    // The replica's digest takes memory for every version up to its head: what is not stated is not believed.
    if let Some(head) = head.filter(|head| version > *head) {
        return Err(PullError::Entry(format!(
            "version {version} is beyond {head}, the head of what it sends"
        )));
    }
    Ok(sealed)
}

fn heard(session: &Session, snapshot: Snapshot) {
    let node = &session.node;
    let view = node.replica.view();
    let central = snapshot.head.unwrap_or(view.head());
    let equal = snapshot.digest.is_none_or(|digest| digest == view.digest());
    node.status.send_modify(|status| {
        status.hear_of(central.max(status.central_version), view.head(), equal, node.env.clock.now())
    });
    node.env.metrics.version(view.head().get());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::register::entry::tests::entry;

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
