//! Pulls: full, incremental, and the repair of what was found damaged (protocol section 6.5, ADR 27 and 41).

mod gathered;
mod stream;
mod whole;

use std::{collections::BTreeSet, sync::Arc};

use sorcha_register::{
    entry::SealedEntry,
    names::Version,
    succession::{self, Contradiction, Successor},
};
use sorcha_store::StoreError;
use tonic::Status;

pub(super) use self::whole::{Partial, full};
use self::{
    gathered::Gathered,
    stream::{Snapshot, open, receive, receive_some},
};
use super::{LiveSession, pace::Stalled, told::told};
use crate::{
    replica::{Batch, NotTaken},
    status::StatusEvent,
};

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

/// The outcome of a pull that brought nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// This many entries came, and the replica equals the central node's register at the head it stated.
    Complete(usize),
    /// The replica's digest would not be the central node's. Nothing was taken; a full sync shows what differs.
    Diverged,
    /// What is newer does not fit into memory. Nothing was taken; a full sync stores it while it arrives.
    TooMuch,
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
        if !fits(receive(&mut stream, &mut news.entries).await)? {
            *news = News::default();
            return Ok(Pulled::TooMuch);
        }
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

/// Whether what was received fits into memory.
fn fits(received: Result<(), PullError>) -> Result<bool, PullError> {
    match received {
        Err(PullError::Refused(Contradiction::TooLarge { .. })) => Ok(false),
        received => received.map(|()| true),
    }
}

/// Fetches entries at these versions; none where they don't fit into memory together.
async fn fetch_each(
    session: &LiveSession,
    versions: BTreeSet<Version>,
) -> Result<Option<Vec<Arc<SealedEntry>>>, PullError> {
    let (mut fetched, mut memory) = (Vec::new(), 0_u64);
    for version in versions {
        let mut stream = open(session, version.previous(), 1, false).await?;
        let mut one = Gathered::default();
        receive_some(&mut stream, &mut one, 1).await?;
        memory += one.iter().map(|sealed| sealed.memory_with_document()).sum::<u64>();
        if memory > stream.most {
            return Ok(None);
        }
        fetched.append(&mut one.into_entries());
    }
    Ok(Some(fetched))
}

/// Fetches only what was found damaged or missing, and what is newer; then the whole replica must have the
/// central node's digest, or all of it is fetched anew.
async fn repair(session: &LiveSession) -> Result<Pulled, PullError> {
    let replica = &session.node.replica;
    let findings = replica.findings();
    let bad: BTreeSet<Version> = findings.iter().filter_map(|finding| finding.version).collect();
    let Some(mut fetched) = fetch_each(session, bad).await? else { return Ok(Pulled::TooMuch) };
    let mut view = replica.view();
    let held = view.head();
    let mut newer = open(session, view.head(), 0, false).await?;
    let mut rest = Gathered::default();
    if !fits(receive(&mut newer, &mut rest).await)? {
        return Ok(Pulled::TooMuch);
    }
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

fn capped(session: &LiveSession, count: usize) -> bool {
    let cap = session.node.config.sync.max_blueprints as usize;
    cap > 0 && count >= cap
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
