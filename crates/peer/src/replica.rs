//! The replica: the local store and the view over it, written by one task at a time (ADR 31).

mod replacement;

use std::sync::Arc;

use sorcha_register::{
    clock::Timestamp,
    entry::SealedEntry,
    integrity::Finding,
    lineage::Genesis,
    names::{Lineage, RegisterDigest, Version},
    succession::{self, Contradiction},
    view::RegisterView,
};
use sorcha_store::{Checkpoint, Loaded, Store, StoreError};
use tokio::sync::{Mutex, watch};

pub(crate) use self::replacement::{Finished, Replacement};

/// A peer's copy of the register.
pub struct Replica {
    store: Arc<dyn Store>,
    state: watch::Receiver<Arc<Loaded>>,
    /// Where the store does not keep what it holds in memory: the same, worked out here once more.
    own: Option<watch::Sender<Arc<Loaded>>>,
    writing: Mutex<()>,
}

/// When and from whom a change of the replica came.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// Central node that sent it.
    pub central_node_id: String,
    /// When it was complete.
    pub at: Timestamp,
    /// When the next pull is due.
    pub next_due: Timestamp,
}

/// Newer entries on their way into a replica.
#[derive(Debug)]
pub struct Batch {
    /// The entries, in the order in which they came.
    pub entries: Vec<Arc<SealedEntry>>,
    /// How far the stream was before them.
    pub position: Version,
    /// Version up to which everything is held with them; zero for the last of them.
    pub head: Version,
    /// Digest that the replica must have with them, where it is stated.
    pub digest: Option<RegisterDigest>,
    /// How many are stored together at the most.
    pub size: usize,
    /// Memory that the replica may take with them, bytes.
    pub most: u64,
}

/// Why a replica takes nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It contradicts what is held.
    #[error(transparent)]
    Refused(#[from] Contradiction),
    /// It can't be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Provenance {
    fn checkpoint(&self, version: Version) -> Checkpoint {
        Checkpoint {
            version,
            last_sync_time: self.at,
            next_sync_due: self.next_due,
            central_node_id: self.central_node_id.clone(),
            adopt: None,
        }
    }
}

impl Replica {
    /// Loads what the store holds; damaged entries are left out of the view and listed as findings.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't be read.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let loaded = store.load().await?;
        let (own, state) = match store.watch() {
            Some(state) => (None, state),
            None => {
                let own = watch::Sender::new(Arc::new(loaded));
                let state = own.subscribe();
                (Some(own), state)
            }
        };
        Ok(Self { store, state, own, writing: Mutex::new(()) })
    }

    /// The newest view.
    #[must_use]
    pub fn view(&self) -> RegisterView {
        self.state.borrow().view.clone()
    }

    /// View, checkpoint and findings.
    #[must_use]
    pub fn state(&self) -> Arc<Loaded> {
        Arc::clone(&self.state.borrow())
    }

    /// Whether there is a replica, an empty one included.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let state = self.state.borrow();
        state.checkpoint.is_some() || !state.view.is_empty()
    }

    /// Follows the replica.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Loaded>> {
        self.state.clone()
    }

    /// Version up to which everything is held.
    #[must_use]
    pub fn head(&self) -> Version {
        self.state.borrow().view.head()
    }

    /// What is damaged and not fetched again yet.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.state.borrow().findings.clone()
    }

    /// The lineage that an administrator chose to replace this replica with.
    #[must_use]
    pub(crate) fn adopting(&self) -> Option<Lineage> {
        self.state.borrow().checkpoint.as_ref().and_then(|checkpoint| checkpoint.adopt)
    }

    /// Applies newer entries if they may follow what is held, from a node that states this genesis, and moves the position to
    /// the batch's head, or to the last of them if that is higher.
    ///
    /// # Errors
    /// [`NotTaken`]; nothing has changed then.
    pub async fn take(
        &self,
        batch: Batch,
        genesis: Option<&Genesis>,
        from: &Provenance,
    ) -> Result<(), NotTaken> {
        let _one_at_a_time = self.writing.lock().await;
        let mut rest = news(&self.state.borrow().view, &batch, genesis)?;
        while rest.len() > batch.size {
            let later = rest.split_off(batch.size.max(1));
            self.store_newer(rest, Version::ZERO, from).await?;
            rest = later;
        }
        Ok(self.store_newer(rest, batch.head, from).await?)
    }

    /// Applies newer entries whatever is held.
    #[cfg(feature = "testing")]
    pub async fn apply(
        &self,
        entries: Vec<Arc<SealedEntry>>,
        head: Version,
        from: &Provenance,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        self.store_newer(entries, head, from).await
    }

    async fn store_newer(
        &self,
        entries: Vec<Arc<SealedEntry>>,
        head: Version,
        from: &Provenance,
    ) -> Result<(), StoreError> {
        let last = entries.last().map_or(Version::ZERO, |sealed| sealed.entry().version);
        let checkpoint = from.checkpoint(self.head().max(head).max(last));
        let Some(own) = &self.own else { return self.store.apply(entries, checkpoint).await };
        self.store.apply(entries.clone(), checkpoint.clone()).await?;
        own.send_modify(|state| {
            let state = Arc::make_mut(state);
            state.view.apply(entries, checkpoint.version);
            state.checkpoint = Some(checkpoint);
        });
        Ok(())
    }

    /// Replaces everything; readers see the old replica until the new one is stored whole.
    ///
    /// # Errors
    /// [`StoreError`]; the old replica is kept then.
    pub async fn replace(&self, view: RegisterView, from: &Provenance) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        self.put(view, from).await
    }

    /// Replaces everything, unless more was stored since it ended at `held`; whether it did.
    ///
    /// # Errors
    /// [`StoreError`]; the old replica is kept then.
    pub(crate) async fn replace_at(
        &self,
        held: Version,
        view: RegisterView,
        from: &Provenance,
    ) -> Result<bool, StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        if self.head() != held {
            return Ok(false);
        }
        self.put(view, from).await.map(|()| true)
    }

    async fn put(&self, view: RegisterView, from: &Provenance) -> Result<(), StoreError> {
        let checkpoint = from.checkpoint(view.head());
        let genesis = view.genesis().map(|genesis| Genesis::clone(genesis));
        self.store.replace(genesis, view.iter().cloned().collect(), Some(checkpoint.clone())).await?;
        if let Some(own) = &self.own {
            own.send_replace(Arc::new(Loaded { view, checkpoint: Some(checkpoint), findings: Vec::new() }));
        }
        Ok(())
    }

    /// Begins to replace everything by what is still arriving; readers see the old replica until it is stored whole.
    #[must_use]
    pub(crate) fn begin_replace(&self) -> Replacement<'_> {
        Replacement::of(self, self.store.begin_replace())
    }

    /// Makes everything durable, before the process ends.
    ///
    /// # Errors
    /// [`StoreError`] when that fails.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.store.flush().await
    }

    /// Why nothing can be stored any more, where that is known.
    #[must_use]
    pub fn store_fault(&self) -> Option<StoreError> {
        self.store.fault()
    }

    /// Kind of the store that the replica lies in.
    #[must_use]
    pub fn store_kind(&self) -> &'static str {
        self.store.kind()
    }
}

/// What of a batch is new, if it may follow what is held. It does not keep what is held from being changed in place.
fn news(
    held: &RegisterView,
    batch: &Batch,
    genesis: Option<&Genesis>,
) -> Result<Vec<Arc<SealedEntry>>, Contradiction> {
    succession::check_lineage(held, genesis)?;
    let news = succession::news(held, batch.position, &batch.entries)?;
    if !news.is_empty() {
        succession::check_memory(held.memory_with(&news), batch.most)?;
    }
    // What was pushed meanwhile may go beyond the batch, which shows nothing then.
    if let Some(stated) = batch.digest.filter(|_| held.head() <= batch.head) {
        let mut then = held.clone();
        then.apply(news.clone(), batch.head);
        if then.digest() != stated {
            return Err(Contradiction::Digest { head: then.head(), stated });
        }
    }
    Ok(news)
}

#[cfg(test)]
mod tests;
