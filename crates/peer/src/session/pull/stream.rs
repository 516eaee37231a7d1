//! The stream of a pull, received entry by entry.

use std::sync::Arc;

use sorcha_proto::{EncodedEntry, metadata, v1};
use sorcha_register::{
    entry::SealedEntry,
    names::{Lineage, RegisterDigest, Version},
    succession::Contradiction,
};
use tonic::{Status, Streaming, metadata::MetadataMap};

use super::{Gathered, PullError};
use crate::session::{LiveSession, pace::StreamPace, told::told};

/// Entries between two log lines of progress (protocol section 10).
const PROGRESS: usize = 100;
/// Asks for all entries, whatever cap is configured.
pub(super) const NO_CAP: u32 = u32::MAX;

/// What a central node says its stream is a snapshot of; nothing, from one of the original contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) head: Option<Version>,
    pub(super) digest: Option<RegisterDigest>,
}

pub(super) struct Opened {
    entries: Streaming<EncodedEntry>,
    pub(super) snapshot: Snapshot,
    pace: StreamPace,
    /// Memory that what comes may take, bytes.
    pub(super) most: u64,
}

impl Opened {
    pub(super) async fn message(&mut self) -> Result<Option<EncodedEntry>, PullError> {
        Ok(self.pace.wait(self.entries.message()).await??)
    }
}

/// Opens a stream; `cap` 0 means the configured one. A `full` pull asks for the active entries only. A central node that
/// states a lineage states what it sends, too.
pub(super) async fn open(
    session: &LiveSession,
    after: Version,
    cap: u32,
    full: bool,
) -> Result<Opened, PullError> {
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
    check_lineage(session, response.metadata())?;
    let snapshot = Snapshot {
        head: text(response.metadata(), metadata::VERSION)
            .and_then(|v| Version::new("version", v.parse().ok()?).ok()),
        digest: text(response.metadata(), metadata::DIGEST).and_then(RegisterDigest::from_hex),
    };
    if session.genesis.is_some() && (snapshot.head.is_none() || snapshot.digest.is_none()) {
        return Err(Contradiction::NoDigest.into());
    }
    let most = session.node.config.sync.replica_memory();
    Ok(Opened { entries: response.into_inner(), snapshot, pace, most })
}

/// Whether the lineage is the one that was stated when the session was opened.
fn check_lineage(session: &LiveSession, stated: &MetadataMap) -> Result<(), PullError> {
    let stated = text(stated, metadata::LINEAGE).and_then(Lineage::from_hex);
    match (session.genesis.as_ref().map(|genesis| genesis.lineage()), stated) {
        (Some(held), Some(stated)) if held != stated => {
            Err(Contradiction::OtherLineage { held, stated }.into())
        }
        // It stated none then: that is settled with a new session.
        (None, Some(_)) => Err(Status::failed_precondition(
            "the central node states a lineage that it did not state at the connect",
        )
        .into()),
        _ => Ok(()),
    }
}

fn text<'m>(metadata: &'m MetadataMap, key: &str) -> Option<&'m str> {
    metadata.get(key)?.to_str().ok()
}

/// Receives a whole stream; its clean end is the end mark.
pub(super) async fn receive(stream: &mut Opened, into: &mut Gathered) -> Result<(), PullError> {
    while receive_some(stream, into, usize::MAX).await? {}
    Ok(())
}

/// Receives a whole stream, of which only some entries are kept; all are checked.
pub(super) async fn receive_those(
    stream: &mut Opened,
    into: &mut Gathered,
    wanted: impl Fn(&SealedEntry) -> bool,
) -> Result<(), PullError> {
    let mut last = None;
    while let Some(encoded) = stream.message().await? {
        let sealed = next_entry(encoded, last, stream.snapshot.head)?;
        last = Some(sealed.entry().version);
        if wanted(&sealed) {
            into.add(sealed, stream.most)?;
        }
    }
    Ok(())
}

/// Receives up to `limit` entries, each checked, at versions that rise after what is there: nothing is kept twice. False at the
/// end of the stream.
pub(super) async fn receive_some(
    stream: &mut Opened,
    into: &mut Gathered,
    limit: usize,
) -> Result<bool, PullError> {
    for _ in 0..limit {
        let Some(encoded) = stream.message().await? else { return Ok(false) };
        let sealed = next_entry(encoded, into.last(), stream.snapshot.head)?;
        tell_progress(into.len() + 1, &sealed);
        into.add(sealed, stream.most)?;
    }
    Ok(true)
}

pub(super) fn tell_progress(entries: usize, newest: &SealedEntry) {
    if entries.is_multiple_of(PROGRESS) {
        tracing::debug!(entries, version = newest.entry().version.get(), "sync progress");
    }
}

/// The next entry of a stream: whole, after the last one, and within what the central node said that it
/// sends.
pub(super) fn next_entry(
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
                let mut bytes = entry(&format!("b{number}"), number).seal().checked().unwrap().to_vec();
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
