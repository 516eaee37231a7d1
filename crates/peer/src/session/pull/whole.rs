//! The full sync: a whole register takes the place of the replica if it holds everything that is held, or is forced to.

use std::{collections::HashSet, sync::Arc};

use sorcha_proto::EncodedEntry;
use sorcha_register::{
    entry::SealedEntry,
    names::{Lineage, Version},
    succession::{Contradiction, Successor, differences},
    view::RegisterView,
};
use tokio::task::{JoinError, JoinHandle};
use tonic::Status;

use super::{
    Gathered, PullError, Pulled, capped, heard,
    stream::{NO_CAP, Opened, Snapshot, next_entry, open, receive_those, tell_progress},
};
use crate::{
    replica::{Finished, Replacement},
    session::LiveSession,
};

/// Entries of a full sync that are checked and handed on together, and their bytes.
const PIECE: usize = 512;
const PIECE_BYTES: usize = 4 << 20;
/// Contradictions that are logged one by one.
const NAMED: usize = 20;

/// What was received of a full sync that broke off; the next try goes on from there.
#[derive(Debug, Default)]
pub(in crate::session) struct Partial {
    lineage: Option<Lineage>,
    entries: Gathered,
}

impl Partial {
    /// Forgets what is of another register, or may not follow what is held by now.
    fn begin(&mut self, session: &LiveSession, successor: Option<&Successor>) {
        let lineage = session.genesis.as_ref().map(|genesis| genesis.lineage());
        let is_good = |sealed| successor.is_none_or(|successor| successor.check(sealed).is_ok());
        if self.lineage != lineage || !self.entries.iter().all(is_good) {
            *self = Self { lineage, entries: Gathered::default() };
        }
    }

    fn last(&self) -> Version {
        self.entries.last().unwrap_or(Version::ZERO)
    }
}

/// Fetches everything and replaces the replica by it, all or nothing. What has arrived is stored while more comes.
///
/// What comes must hold everything that is held, as it is held, unless an administrator forces it.
pub(in crate::session) async fn full(
    session: &LiveSession,
    partial: &mut Partial,
) -> Result<Pulled, PullError> {
    let pulled = fetch(session, partial).await;
    if matches!(pulled, Err(PullError::Store(_))) {
        // What was received may be in memory still, or not readable where it was written.
        *partial = Partial::default();
    }
    pulled
}

async fn fetch(session: &LiveSession, partial: &mut Partial) -> Result<Pulled, PullError> {
    let (held, successor) = successor(session)?;
    partial.begin(session, successor.as_ref());
    // What the node said before it was asked for a snapshot. One of the original contract says no more, and its word moves no head.
    let heard_before = session.node.status.borrow().central_version;
    let mut replacement = session.node.replica.begin_replace();
    replacement.add(partial.entries.to_vec()).await?;
    let snapshot = receive_all(session, partial, &mut replacement, successor.as_ref()).await?;
    let (last, sent) = (partial.last(), partial.entries.to_vec());
    if let Some(successor) = &successor {
        let stated = snapshot.head.unwrap_or(heard_before).max(last);
        replacement.add(beside(session, successor, &sent, stated).await?).await?;
    }
    let head = snapshot.head.unwrap_or(held.head()).max(last);
    let (genesis, from) = (session.genesis.clone(), session.provenance());
    let finished = replacement.finish(genesis, head, snapshot.digest, held.head(), &from).await?;
    if finished == Finished::Overtaken {
        // What came is compared with what is held now, and completed.
        return Ok(Pulled::Overtaken(sent.len()));
    }
    *partial = Partial::default();
    if let Some(stated) = snapshot.digest.filter(|_| finished == Finished::OtherDigest) {
        return Err(Contradiction::Digest { head, stated }.into());
    }
    if successor.is_none() {
        tell_forced(session, &held);
    }
    heard(session, snapshot);
    Ok(Pulled::Complete(sent.len()))
}

/// Receives streams until one is not cut off by the cap; what the last one is a snapshot of.
async fn receive_all(
    session: &LiveSession,
    partial: &mut Partial,
    replacement: &mut Replacement<'_>,
    successor: Option<&Successor>,
) -> Result<Snapshot, PullError> {
    loop {
        let before = partial.last();
        let mut stream = open(session, before, 0, before == Version::ZERO).await?;
        let count = receive_into(&mut stream, partial, replacement, successor).await?;
        if !capped(session, count) {
            return Ok(stream.snapshot);
        }
    }
}

/// What is held, and the rules for what takes its place; no rules where an administrator forces it.
fn successor(session: &LiveSession) -> Result<(RegisterView, Option<Successor>), PullError> {
    let replica = &session.node.replica;
    let (state, genesis) = (replica.state(), session.genesis.as_deref());
    let held = state.view.clone();
    if genesis.is_some_and(|genesis| replica.adopting() == Some(genesis.lineage())) {
        return Ok((held, None));
    }
    let rules = Successor::of(held.clone(), !state.findings.is_empty(), genesis)?;
    let is_forced = session.node.resync.pending().is_some();
    Ok((held, Some(rules).filter(|_| !is_forced)))
}

/// What belongs into a replica beside the entries of a full sync, which are the active ones: deprecated ones that are held,
/// and the later states of those that are not active any more.
async fn beside(
    session: &LiveSession,
    successor: &Successor,
    sent: &[Arc<SealedEntry>],
    head: Version,
) -> Result<Vec<Arc<SealedEntry>>, PullError> {
    let absent = successor.absent(sent, head)?;
    let (mut beside, unexplained) = (successor.kept(&absent), successor.unexplained(&absent));
    if let Some(after) = successor.explained_after(&unexplained) {
        let mut stream = open(session, after, NO_CAP, false).await?;
        let mut later = Gathered::default();
        // The other newer entries came already, or come with the next pull.
        let wanted: HashSet<_> = unexplained.iter().map(|sealed| &sealed.entry().blueprint_id).collect();
        receive_those(&mut stream, &mut later, |sealed| wanted.contains(&sealed.entry().blueprint_id))
            .await?;
        match successor.explain(&unexplained, &later, head) {
            Ok(states) => beside.extend(states),
            Err(_) if stream.snapshot.head > Some(head) => {
                return Err(Status::aborted("the register changed while it was read whole").into());
            }
            Err(contradiction) => return Err(contradiction.into()),
        }
    }
    beside.sort_by_key(|sealed| sealed.entry().version);
    Ok(beside)
}

/// Says what is not in the replica any more as it was held, now that an administrator has had it replaced.
fn tell_forced(session: &LiveSession, before: &RegisterView) {
    let differences = differences(before, &session.node.replica.view());
    for difference in differences.iter().take(NAMED) {
        tracing::warn!(
            central_node_id = session.central,
            reason = difference.label(),
            version = difference.version().map(Version::get),
            blueprint_id = difference.blueprint_id().map(tracing::field::display),
            "replaced by force: {difference}"
        );
    }
    tracing::warn!(
        central_node_id = session.central,
        from = before.head().get(),
        to = session.node.replica.head().get(),
        contradictions = differences.len(),
        "the replica was replaced by force, whatever it held"
    );
}

/// Receives a whole stream and hands it on piece by piece: while one is received, the one before is checked, and those
/// before that are written. What was good of a stream that breaks off is kept.
async fn receive_into(
    stream: &mut Opened,
    partial: &mut Partial,
    replacement: &mut Replacement<'_>,
    successor: Option<&Successor>,
) -> Result<usize, PullError> {
    let (before, head) = (partial.entries.len(), stream.snapshot.head);
    let mut checking: Option<JoinHandle<Checked>> = None;
    loop {
        let (piece, end) = gather(stream).await;
        if let Some(checking) = checking.take() {
            keep(joined(checking.await), partial, stream.most, replacement).await?;
        }
        let last = partial.entries.last();
        match end {
            // A whole piece is worth waking a thread.
            None => {
                let successor = successor.cloned();
                let check = move || check(piece, last, head, successor.as_ref());
                checking = Some(tokio::task::spawn_blocking(check));
            }
            Some(end) => {
                keep(check(piece, last, head, successor), partial, stream.most, replacement).await?;
                return end.map(|()| partial.entries.len() - before);
            }
        }
    }
}

/// Receives a piece; with it how the stream ended, if it did.
async fn gather(stream: &mut Opened) -> (Vec<EncodedEntry>, Option<Result<(), PullError>>) {
    let (mut piece, mut bytes) = (Vec::with_capacity(PIECE), 0);
    while piece.len() < PIECE && bytes < PIECE_BYTES {
        match stream.message().await {
            Ok(Some(entry)) => {
                bytes += entry.0.len();
                piece.push(entry);
            }
            Ok(None) => return (piece, Some(Ok(()))),
            Err(error) => return (piece, Some(Err(error))),
        }
    }
    (piece, None)
}

/// The entries of a piece up to the first that is not good, and what is wrong with that one.
type Checked = (Vec<Arc<SealedEntry>>, Result<(), PullError>);

fn check(
    piece: Vec<EncodedEntry>,
    mut last: Option<Version>,
    head: Option<Version>,
    successor: Option<&Successor>,
) -> Checked {
    let mut good = Vec::with_capacity(piece.len());
    let next = |encoded, last| {
        let sealed = next_entry(encoded, last, head)?;
        successor.map_or(Ok(()), |successor| successor.check(&sealed))?;
        Ok::<_, PullError>(sealed)
    };
    for encoded in piece {
        match next(encoded, last) {
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
    most: u64,
    replacement: &mut Replacement<'_>,
) -> Result<(), PullError> {
    for (entries, sealed) in (partial.entries.len() + 1..).zip(&good) {
        tell_progress(entries, sealed);
        if replacement.is_stored() {
            partial.entries.add_stored(Arc::clone(sealed), most)?;
        } else {
            partial.entries.add(Arc::clone(sealed), most)?;
        }
    }
    replacement.add(good).await?;
    outcome
}
