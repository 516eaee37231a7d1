//! The one writer of an embedded store.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Options,
    medium::Medium,
    run_blocking,
    transact::{Commit, Group, Outcome},
};
use crate::{
    register::{entry::SealedEntry, lineage::Genesis},
    store::{Checkpoint, Draft, Loaded, Publication, StateChange, StoreError},
};

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

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
    pub(super) fn fail(self, error: StoreError) {
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

pub(super) struct Committer {
    /// Locked by one commit at a time; there is no other user.
    medium: Arc<Mutex<Medium>>,
    state: Loaded,
    options: Options,
    published: watch::Sender<Arc<Loaded>>,
    /// When the oldest commit that is not fsynced must be.
    flush_due: Option<Instant>,
}

impl Committer {
    pub(super) fn new(
        medium: Medium,
        state: Loaded,
        options: Options,
        published: watch::Sender<Arc<Loaded>>,
    ) -> Self {
        Self { medium: Arc::new(Mutex::new(medium)), state, options, published, flush_due: None }
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
                if self.commit(std::mem::take(&mut group), must_flush).await.is_none() {
                    return;
                }
            }
            if closed {
                let _runtime_has_ended = self.with_medium(Medium::close).await;
                return;
            }
        }
    }

    /// Commits a group; `None` when the runtime has ended, and nobody waits for an answer.
    async fn commit(&mut self, ops: Vec<Op>, must_flush: bool) -> Option<()> {
        let group = Group { ops, must_flush, has_pending: self.flush_due.is_some() };
        let before = self.state.clone();
        let (outcome, answers) = self
            .with_medium(move |medium| {
                let mut answers = Vec::new();
                (medium.commit(before, group, &mut answers), answers)
            })
            .await?;
        let result = self.take(outcome);
        for answer in answers {
            answer(result.clone());
        }
        Some(())
    }

    /// Takes in what a commit led to.
    fn take(&mut self, outcome: Result<Outcome, StoreError>) -> Result<(), StoreError> {
        let later = Instant::now() + self.options.flush_within;
        match outcome {
            Ok(Outcome { state, commit }) => {
                self.flush_due = match commit {
                    Commit::Nothing => self.flush_due,
                    Commit::Deferred => self.flush_due.or(Some(later)),
                    Commit::Durable => None,
                };
                if commit != Commit::Nothing {
                    self.state = state;
                    self.published.send_replace(Arc::new(self.state.clone()));
                }
                Ok(())
            }
            Err(error) => {
                // Try the fsync again later instead of in a tight loop.
                self.flush_due = self.flush_due.map(|_| later);
                Err(error)
            }
        }
    }

    /// Runs work on the database, off the runtime's own threads unless it is to be deterministic.
    async fn with_medium<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Medium) -> T + Send + 'static,
    ) -> Option<T> {
        let medium = Arc::clone(&self.medium);
        let work = move || work(&mut medium.lock().unwrap_or_else(PoisonError::into_inner));
        if self.options.inline { Some(work()) } else { run_blocking(work).await }
    }
}
