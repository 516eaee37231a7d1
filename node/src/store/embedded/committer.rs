//! The one writer of an embedded store.

use std::sync::Arc;

use redb::{Database, Durability};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Options, guarded, run_blocking,
    tables::{Writer, failed},
};
use crate::{
    register::{entry::SealedEntry, lineage::Genesis, names::Version, view::RegisterView},
    store::{Checkpoint, Draft, Loaded, Publication, StateChange, StoreError},
};

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Operations that one transaction takes at the most.
const GROUP: usize = 256;

/// What callers ask of the committer.
pub(super) enum Op {
    InitGenesis(Genesis, Reply<Genesis>),
    Publish(Draft, Reply<Publication>),
    SetActive(StateChange, Reply<Publication>),
    Apply {
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Checkpoint,
        reply: Reply<()>,
    },
    Replace {
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
        reply: Reply<()>,
    },
    Flush(Reply<()>),
}

impl Op {
    /// Answers an operation that was not tried.
    fn fail(self, error: StoreError) {
        // A caller that has given up does not listen; that is no fault.
        match self {
            Self::InitGenesis(_, reply) => drop(reply.send(Err(error))),
            Self::Publish(_, reply) => drop(reply.send(Err(error))),
            Self::SetActive(_, reply) => drop(reply.send(Err(error))),
            Self::Apply { reply, .. } | Self::Replace { reply, .. } | Self::Flush(reply) => {
                drop(reply.send(Err(error)))
            }
        }
    }
}

/// An answer that may be given once its transaction is committed, or the error that the commit met.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(super) struct Committer {
    db: Arc<Database>,
    state: Loaded,
    options: Options,
    published: watch::Sender<Arc<Loaded>>,
    /// When the oldest commit that is not fsynced must be.
    flush_due: Option<Instant>,
}

impl Committer {
    pub(super) fn new(
        db: Database,
        state: Loaded,
        options: Options,
        published: watch::Sender<Arc<Loaded>>,
    ) -> Self {
        Self { db: Arc::new(db), state, options, published, flush_due: None }
    }

    /// Commits groups of operations until every handle is gone, then fsyncs.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        let mut group = Vec::new();
        loop {
            let received = match self.flush_due {
                Some(due) => tokio::time::timeout_at(due, queue.recv_many(&mut group, GROUP)).await.ok(),
                None => Some(queue.recv_many(&mut group, GROUP).await),
            };
            let closed = received == Some(0);
            if !closed || self.flush_due.is_some() {
                let must_flush = closed || self.flush_due.is_some_and(|due| due <= Instant::now());
                self.commit(std::mem::take(&mut group), must_flush).await;
            }
            if closed {
                return;
            }
        }
    }

    async fn commit(&mut self, group: Vec<Op>, must_flush: bool) {
        let (db, before) = (Arc::clone(&self.db), self.state.clone());
        let work = move || {
            let mut answers = Vec::new();
            let result = guarded(|| transact(&db, before, group, must_flush, &mut answers));
            (result, answers)
        };
        let (result, answers) = if self.options.inline { work() } else { run_blocking(work).await };
        let outcome = match result {
            Ok((state, durability)) => {
                self.flush_due = match durability {
                    Durability::Immediate => None,
                    _ => self.flush_due.or_else(|| Some(Instant::now() + self.options.flush_within)),
                };
                self.state = state;
                self.published.send_replace(Arc::new(self.state.clone()));
                Ok(())
            }
            Err(error) => {
                tracing::error!(error = %error, "store commit failed; nothing of it was stored");
                // Try the fsync again later instead of in a tight loop.
                self.flush_due = self.flush_due.map(|_| Instant::now() + self.options.flush_within);
                Err(error)
            }
        };
        for answer in answers {
            answer(outcome.clone());
        }
    }
}

/// Applies a group in one transaction and returns the state after it.
fn transact(
    db: &Database,
    mut state: Loaded,
    group: Vec<Op>,
    must_flush: bool,
    answers: &mut Vec<Answer>,
) -> Result<(Loaded, Durability), StoreError> {
    let mut txn = db.begin_write().map_err(failed)?;
    let mut durable = must_flush;
    {
        let writer = Writer::new(&txn);
        let mut group = group.into_iter();
        while let Some(op) = group.next() {
            durable |= !matches!(op, Op::Apply { .. });
            if let Err(error) = perform(&mut state, &writer, op, answers) {
                group.for_each(|untried| untried.fail(error.clone()));
                return Err(error);
            }
        }
        // Damage is not sealed over: the next start must find it again.
        if state.findings.is_empty() {
            writer.seal(state.view.seal())?;
        }
    }
    let durability = if durable { Durability::Immediate } else { Durability::None };
    txn.set_durability(durability).map_err(failed)?;
    txn.commit().map_err(failed)?;
    Ok((state, durability))
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

fn take(
    state: &mut Loaded,
    writer: &Writer<'_>,
    entries: Vec<Arc<SealedEntry>>,
    head: Version,
) -> Result<(), StoreError> {
    let known = |sealed: &Arc<SealedEntry>| {
        state.view.get(&sealed.entry().blueprint_id).map(|old| old.entry().version)
    };
    let newer: Vec<_> =
        entries.into_iter().filter(|e| known(e).is_none_or(|old| old < e.entry().version)).collect();
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
    writer.put(&entries, &[])?;
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
