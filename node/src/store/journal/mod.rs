//! The store of a replica: a journal, one file that is only added to (ADR 13).
//!
//! A replica lies in memory anyway and is read from disk only at start, from its first to its last byte. So a batch costs
//! one write at the end of the file, which survives a crash of the process at once, and is fsynced within
//! [`Options::flush_within`] while further batches go on. A full sync is written beside the journal while it arrives, and
//! takes its place in one step. What is damaged or cut off is found at start and fetched again; that is why a central node,
//! which could not fetch it from anywhere, has another store.

mod appender;
mod file;
mod files;
mod frame;
mod incoming;
mod load;
mod open;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use self::{file::Place, incoming::Beside, writer::Writer};
pub use self::{
    files::{Files, Medium, OsFiles},
    open::open_replica,
};
use super::{
    Checkpoint, Draft, Incoming, Loaded, Publication, StateChange, Store, StoreError,
    disk::{closed, run_blocking},
    embedded,
};
use crate::register::{entry::SealedEntry, lineage::Genesis, names::Version};

/// File name of a replica inside a data directory.
pub const FILE_NAME: &str = "replica.journal";

/// A batch of up to this many bytes is written on the task that brings it: it takes less time than waking a thread for it.
const INLINE_BYTES: usize = 64 * 1024;

/// How a journal runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Batches are fsynced within this time.
    pub flush_within: Duration,
    /// Does everything on the calling task instead of the blocking pool, for deterministic simulation.
    pub inline: bool,
}

impl From<&embedded::Options> for Options {
    /// What both kinds of store have.
    fn from(options: &embedded::Options) -> Self {
        Self { flush_within: options.flush_within, inline: options.inline }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { flush_within: Duration::from_secs(1), inline: false }
    }
}

/// A replica in a journal.
pub struct JournalStore(Arc<Shared>);

struct Shared {
    place: Place,
    options: Options,
    writer: Arc<Mutex<Writer>>,
    state: watch::Receiver<Arc<Loaded>>,
    /// An fsync is due.
    flush_due: AtomicBool,
}

impl Shared {
    async fn flush(&self) -> Result<(), StoreError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        // Other batches go on while the disk works.
        let (file, end) = self.options.run(move || writer.unsynced()).await?;
        let syncing = Arc::clone(&file);
        let outcome = self.options.run(move || syncing.sync()).await;
        self.writer.lock().await.synced(&file, end, outcome)
    }

    /// Has what was written fsynced in time; again and again, while that fails.
    fn flush_later(self: &Arc<Self>) {
        if self.flush_due.swap(true, Ordering::AcqRel) {
            return;
        }
        // A store that is dropped lets go of its file at once.
        let (shared, within) = (Arc::downgrade(self), self.options.flush_within);
        tokio::spawn(async move {
            tokio::time::sleep(within).await;
            let Some(shared) = shared.upgrade() else { return };
            shared.flush_due.store(false, Ordering::Release);
            if let Err(error) = shared.flush().await {
                tracing::error!(%error, file = %shared.place.path.display(), "the replica is not durable");
                shared.flush_later();
            }
        });
    }
}

/// What only a central node's store does.
fn no_publications<T>() -> Result<T, StoreError> {
    Err(StoreError::Unstorable("a replica takes no publications; a central node does".to_owned()))
}

#[async_trait]
impl Store for JournalStore {
    fn kind(&self) -> &'static str {
        "journal"
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        Ok(Loaded::clone(&self.0.state.borrow()))
    }

    fn watch(&self) -> Option<watch::Receiver<Arc<Loaded>>> {
        Some(self.0.state.clone())
    }

    async fn init_genesis(&self, _: Genesis) -> Result<Genesis, StoreError> {
        no_publications()
    }

    async fn publish(&self, _: Draft) -> Result<Publication, StoreError> {
        no_publications()
    }

    async fn set_active(&self, _: StateChange) -> Result<Publication, StoreError> {
        no_publications()
    }

    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        Ok(self.0.state.borrow().view.after(after).take(limit).cloned().collect())
    }

    async fn changed(&self, after: Version) {
        // An error means that the store is closed: the next read says so.
        drop(self.0.state.clone().wait_for(|state| state.view.head() > after).await);
    }

    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let size: usize = entries.iter().map(|sealed| sealed.encoded().len()).sum();
        let mut writer = Arc::clone(&self.0.writer).lock_owned().await;
        let work = move || writer.apply(entries, checkpoint);
        // Without a wait between write and memory, or where nobody can drop it: both change, or none.
        if size <= INLINE_BYTES { work() } else { self.0.options.run(work).await }?;
        self.0.flush_later();
        Ok(())
    }

    fn begin_replace(&self) -> Option<Box<dyn Incoming>> {
        Some(Box::new(Beside::begin(Arc::clone(&self.0))))
    }

    async fn replace(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        let mut writer = Arc::clone(&self.0.writer).lock_owned().await;
        self.0.options.run(move || writer.replace(genesis, entries, checkpoint)).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.0.flush().await
    }
}

impl Options {
    /// Runs work that waits for a disk away from the runtime's tasks.
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.inline {
            return work();
        }
        run_blocking(work).await.unwrap_or_else(|| Err(closed()))
    }
}

#[cfg(test)]
mod tests;
