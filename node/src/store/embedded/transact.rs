//! What operations do to the register: one transaction for a group of them.

use std::{collections::BTreeMap, sync::Arc};

use redb::{Database, Durability};

use super::{
    committer::{Op, Reply},
    tables::failed,
    writer::Writer,
};
use crate::{
    register::{entry::SealedEntry, lineage::Genesis, names::Version, view::RegisterView},
    store::{Checkpoint, Draft, Loaded, Publication, StateChange, StoreError},
};

/// An answer that may be given once its transaction is committed, or the error that the commit met.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Operations that are committed together.
pub(super) struct Group {
    pub(super) ops: Vec<Op>,
    /// What is not fsynced must be now.
    pub(super) must_flush: bool,
    /// Something is not fsynced.
    pub(super) has_pending: bool,
}

impl Group {
    /// Answers all operations with the reason why none was tried, and returns that.
    pub(super) fn fail(self, error: StoreError) -> StoreError {
        self.ops.into_iter().for_each(|op| op.fail(error.clone()));
        error
    }
}

/// What a group led to.
pub(super) struct Outcome {
    pub(super) state: Loaded,
    pub(super) commit: Commit,
}

/// How much of a group is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// There was nothing to store: nothing was written, so that this works on a full disk too.
    Nothing,
    /// Atomic, and durable with the next durable commit.
    Deferred,
    /// Durable.
    Durable,
}

/// What must be fsynced before an operation is answered.
enum Fsync {
    Later,
    WhatItWrote,
    Everything,
}

impl Fsync {
    const fn of(op: &Op) -> Self {
        match op {
            Op::Apply { .. } => Self::Later,
            Op::Flush(_) => Self::Everything,
            _ => Self::WhatItWrote,
        }
    }
}

/// Applies a group in one transaction and returns the state after it.
pub(super) fn transact(
    db: &Database,
    mut state: Loaded,
    group: Group,
    answers: &mut Vec<Answer>,
) -> Result<Outcome, StoreError> {
    let mut txn = db.begin_write().map_err(failed)?;
    let Group { ops, must_flush, has_pending } = group;
    let (mut durable, mut ops) = (must_flush && has_pending, ops.into_iter());
    let writer = Writer::new(&txn);
    while let Some(op) = ops.next() {
        let (kind, before) = (Fsync::of(&op), writer.writes());
        if let Err(error) = perform(&mut state, &writer, op, answers) {
            ops.for_each(|untried| untried.fail(error.clone()));
            return Err(error);
        }
        durable |= match kind {
            Fsync::Later => false,
            Fsync::WhatItWrote => writer.writes() > before,
            Fsync::Everything => has_pending || writer.writes() > 0,
        };
    }
    let has_written = writer.writes() > 0;
    // Damage is not sealed over: the next start must find it again.
    if has_written && state.findings.is_empty() {
        writer.seal(state.view.seal())?;
    }
    if !has_written && !durable {
        txn.abort().map_err(failed)?;
        return Ok(Outcome { state, commit: Commit::Nothing });
    }
    let durability = if durable { Durability::Immediate } else { Durability::None };
    txn.set_durability(durability).map_err(failed)?;
    txn.commit().map_err(failed)?;
    Ok(Outcome { state, commit: if durable { Commit::Durable } else { Commit::Deferred } })
}

fn answer_with<T: Send + 'static>(answers: &mut Vec<Answer>, reply: Reply<T>, value: Result<T, StoreError>) {
    // A caller that has given up does not listen; that is no fault.
    answers.push(Box::new(move |commit| drop(reply.send(commit.and(value)))));
}

/// Performs one operation. What it alone gets wrong is its answer; an error returned here fails the whole group.
fn perform(
    state: &mut Loaded,
    writer: &Writer<'_>,
    op: Op,
    answers: &mut Vec<Answer>,
) -> Result<(), StoreError> {
    match op {
        Op::InitGenesis(genesis, reply) => match state.view.genesis() {
            Some(present) => answer_with(answers, reply, Ok(Genesis::clone(present))),
            None => {
                answer_with(answers, reply, Ok(genesis.clone()));
                writer.genesis(&genesis)?;
                state.view = std::mem::take(&mut state.view).with_genesis(Arc::new(genesis));
            }
        },
        Op::Publish(draft, reply) => {
            let decision = publish(state, draft);
            store_publication(state, writer, decision, reply, answers)?;
        }
        Op::SetActive(change, reply) => {
            let decision = set_active(state, &change);
            store_publication(state, writer, decision, reply, answers)?;
        }
        // A damaged tree takes no entry; the repair replaces all of it.
        Op::Apply { entries, reply, .. } if !entries.is_empty() && !state.findings.is_empty() => {
            answer_with(answers, reply, refuse_if_damaged(state));
        }
        Op::Apply { entries, checkpoint, reply } => {
            answer_with(answers, reply, Ok(()));
            take(state, writer, entries, checkpoint.version)?;
            writer.checkpoint(&checkpoint)?;
            state.checkpoint = Some(checkpoint);
        }
        Op::Replace { genesis, entries, checkpoint, reply } => {
            answer_with(answers, reply, Ok(()));
            replace(state, writer, genesis, entries, checkpoint)?;
        }
        Op::Flush(reply) => answer_with(answers, reply, Ok(())),
    }
    Ok(())
}

fn store_publication(
    state: &mut Loaded,
    writer: &Writer<'_>,
    decision: Result<Publication, StoreError>,
    reply: Reply<Publication>,
    answers: &mut Vec<Answer>,
) -> Result<(), StoreError> {
    answer_with(answers, reply, decision.clone());
    match decision {
        Ok(Publication { entry, changed: true }) => take(state, writer, vec![entry], Version::ZERO),
        _ => Ok(()),
    }
}

/// A register with findings takes no publication until it is restored (design decision 6).
fn refuse_if_damaged(state: &Loaded) -> Result<(), StoreError> {
    state.findings.first().map_or(Ok(()), |finding| Err(StoreError::Damaged(finding.to_string())))
}

fn publish(state: &Loaded, draft: Draft) -> Result<Publication, StoreError> {
    refuse_if_damaged(state)?;
    match state.view.get(&draft.blueprint_id) {
        Some(present) if present.entry().document == draft.document => {
            Ok(Publication { entry: Arc::clone(present), changed: false })
        }
        Some(present) => {
            let checksum = present.entry().document.checksum();
            Err(StoreError::Conflict { id: draft.blueprint_id, checksum })
        }
        None => Ok(Publication { entry: draft.at(state.view.head().next()).seal(), changed: true }),
    }
}

fn set_active(state: &Loaded, change: &StateChange) -> Result<Publication, StoreError> {
    refuse_if_damaged(state)?;
    let present = state
        .view
        .get(&change.blueprint_id)
        .ok_or_else(|| StoreError::NotFound(change.blueprint_id.clone()))?;
    if present.entry().is_active == change.is_active {
        return Ok(Publication { entry: Arc::clone(present), changed: false });
    }
    let entry = change.applied_to(present.entry(), state.view.head().next()).seal();
    Ok(Publication { entry, changed: true })
}

/// A batch may hold several states of one blueprint, when they were published while the peer was busy: the newest counts.
fn newest_of_each(entries: Vec<Arc<SealedEntry>>) -> Vec<Arc<SealedEntry>> {
    let mut newest = BTreeMap::new();
    for sealed in entries {
        let id = sealed.entry().blueprint_id.clone();
        let known: &mut Arc<SealedEntry> = newest.entry(id).or_insert_with(|| Arc::clone(&sealed));
        if known.entry().version < sealed.entry().version {
            *known = sealed;
        }
    }
    newest.into_values().collect()
}

fn take(
    state: &mut Loaded,
    writer: &Writer<'_>,
    entries: Vec<Arc<SealedEntry>>,
    head: Version,
) -> Result<(), StoreError> {
    let known = |sealed: &Arc<SealedEntry>| {
        state.view.get(&sealed.entry().blueprint_id).map(|old| old.entry().version)
    };
    let newer: Vec<_> = newest_of_each(entries)
        .into_iter()
        .filter(|sealed| known(sealed).is_none_or(|old| old < sealed.entry().version))
        .collect();
    let superseded: Vec<_> = newer.iter().filter_map(known).collect();
    writer.put(&newer, &superseded)?;
    state.view.apply(newer, head);
    Ok(())
}

fn replace(
    state: &mut Loaded,
    writer: &Writer<'_>,
    genesis: Option<Genesis>,
    entries: Vec<Arc<SealedEntry>>,
    checkpoint: Option<Checkpoint>,
) -> Result<(), StoreError> {
    writer.clear()?;
    let head = checkpoint.as_ref().map_or(Version::ZERO, |checkpoint| checkpoint.version);
    writer.put(&newest_of_each(entries.clone()), &[])?;
    if let Some(genesis) = &genesis {
        writer.genesis(genesis)?;
    }
    if let Some(checkpoint) = &checkpoint {
        writer.checkpoint(checkpoint)?;
    }
    let view = RegisterView::with_entries(genesis.map(Arc::new), entries, head);
    *state = Loaded { view, checkpoint, findings: Vec::new() };
    Ok(())
}
