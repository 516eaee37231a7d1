//! Group commit: operations are decided one after the other, stored in one frame, and answered together. Pure except for the
//! answers.

use std::sync::Arc;

use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version};
use tokio::sync::oneshot;

use super::super::{Draft, Loaded, Publication, StateChange, StoreError, disk::read_error, next_version};

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// An operation; it is durable before it is answered.
pub(super) enum Op {
    InitGenesis(Genesis, Reply<Genesis>),
    Publish(Draft, Reply<Publication>),
    SetActive(StateChange, Reply<Publication>),
}

impl Op {
    /// Whether the caller has given up. An operation that was not begun is then dropped.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::InitGenesis(_, reply) => reply.is_closed(),
            Self::Publish(_, reply) | Self::SetActive(_, reply) => reply.is_closed(),
        }
    }
}

/// An answer that may be given once its group is stored, or the error that storing it met.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Operations that are stored together.
pub(super) struct Group {
    /// The register after them.
    pub(super) loaded: Loaded,
    /// A genesis that was not there before.
    pub(super) genesis: Option<Arc<Genesis>>,
    /// New states of entries, ascending by version.
    pub(super) entries: Vec<Arc<SealedEntry>>,
    /// Bytes of former states that do not count any more.
    pub(super) superseded: u64,
    answers: Vec<Answer>,
}

impl Group {
    /// Decides operations on a register, one after the other.
    pub(super) fn decide(loaded: Loaded, ops: Vec<Op>) -> Self {
        let mut group =
            Self { loaded, genesis: None, entries: Vec::new(), superseded: 0, answers: Vec::new() };
        ops.into_iter().filter(|op| !op.is_abandoned()).for_each(|op| group.take(op));
        group
    }

    /// Nothing is to be stored: that works on a full disk too.
    pub(super) const fn is_empty(&self) -> bool {
        self.genesis.is_none() && self.entries.is_empty()
    }

    /// Answers all operations, now that they are stored or are not.
    pub(super) fn answer(self, stored: &Result<(), StoreError>) {
        self.answers.into_iter().for_each(|answer| answer(stored.clone()));
    }

    fn take(&mut self, op: Op) {
        match op {
            Op::InitGenesis(genesis, reply) => {
                let decision = self.init_genesis(genesis);
                self.answer_with(reply, decision);
            }
            Op::Publish(draft, reply) => {
                let decision = publish(&self.loaded, draft);
                self.add(reply, decision);
            }
            Op::SetActive(change, reply) => {
                let decision = set_active(&self.loaded, &change);
                self.add(reply, decision);
            }
        }
    }

    fn init_genesis(&mut self, genesis: Genesis) -> Result<Genesis, StoreError> {
        if let Some(present) = self.loaded.view.genesis() {
            return Ok(Genesis::clone(present));
        }
        refuse_if_damaged(&self.loaded)?;
        let new = Arc::new(genesis.clone());
        self.loaded.view = std::mem::take(&mut self.loaded.view).with_genesis(Arc::clone(&new));
        self.genesis = Some(new);
        Ok(genesis)
    }

    fn add(&mut self, reply: Reply<Publication>, decision: Result<Publication, StoreError>) {
        if let Ok(Publication { entry, changed: true }) = &decision {
            let former = self.loaded.view.get(&entry.entry().blueprint_id);
            self.superseded += former.map_or(0, |former| former.length() as u64);
            self.loaded.view.apply(vec![Arc::clone(entry)], Version::ZERO);
            self.entries.push(Arc::clone(entry));
        }
        self.answer_with(reply, decision);
    }

    fn answer_with<T: Send + 'static>(&mut self, reply: Reply<T>, decision: Result<T, StoreError>) {
        // A caller that has given up meanwhile does not listen; that is no fault.
        self.answers.push(Box::new(move |stored| drop(reply.send(stored.and(decision)))));
    }
}

/// A register with findings takes no publication until it is restored (ADR 27).
fn refuse_if_damaged(loaded: &Loaded) -> Result<(), StoreError> {
    loaded.findings.first().map_or(Ok(()), |finding| Err(StoreError::Damaged(finding.to_string())))
}

fn publish(loaded: &Loaded, draft: Draft) -> Result<Publication, StoreError> {
    refuse_if_damaged(loaded)?;
    match loaded.view.get(&draft.blueprint_id) {
        Some(present) if present.entry().document == draft.document.fingerprint() => {
            Ok(Publication { entry: Arc::clone(present), changed: false })
        }
        Some(present) => {
            let checksum = present.entry().document.checksum();
            Err(StoreError::Conflict { id: draft.blueprint_id, checksum })
        }
        None => {
            let version = next_version(loaded.view.head())?;
            Ok(Publication { entry: draft.at(version).seal(), changed: true })
        }
    }
}

fn set_active(loaded: &Loaded, change: &StateChange) -> Result<Publication, StoreError> {
    refuse_if_damaged(loaded)?;
    let present = loaded
        .view
        .get(&change.blueprint_id)
        .ok_or_else(|| StoreError::NotFound(change.blueprint_id.clone()))?;
    if present.entry().is_active == change.is_active {
        return Ok(Publication { entry: Arc::clone(present), changed: false });
    }
    let whole = present.whole().map_err(|error| read_error(&error))?;
    let entry = change.applied_to(whole, next_version(loaded.view.head())?).seal();
    Ok(Publication { entry, changed: true })
}
