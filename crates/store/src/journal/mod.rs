//! The embedded store: a journal, which is an append-only write-ahead log in one file (ADR 13, ADR 15).
//!
//! The index of the register is in memory, its documents are in the file (ADR 43), which is read whole only at start, from its
//! first to its last byte. A change costs one write at the end of the file. Concurrent publications share a frame and an fsync, and are visible and acknowledged after it. A replica's
//! batch survives a crash of the process at once, and is fsynced within [`Options::flush_within`] while further batches go on. A
//! full sync is written beside the journal while it arrives, and replaces it in one step. Damage and truncation are found at
//! start.

mod appender;
mod checking;
mod file;
mod files;
mod frame;
mod incoming;
mod load;
mod open;
mod publish;
#[cfg(any(test, feature = "testing"))]
mod testing;
mod window;
mod writer;

use std::{
    sync::{
        self, Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version};
use tokio::sync::{Mutex, oneshot, watch};

use self::{
    file::Place,
    incoming::Beside,
    publish::{Op, Reply},
    writer::Writer,
};
pub use self::{
    files::{Files, Medium, OsFiles},
    open::open_replica,
};
use super::{
    CACHE_BYTES, Checkpoint, Draft, Incoming, Loaded, Publication, StateChange, Store, StoreError,
    disk::{closed, run_blocking},
};

/// File name of a replica inside a data directory.
pub const REPLICA_FILE: &str = "replica.journal";
/// File name of a central node's register inside a data directory.
pub const REGISTER_FILE: &str = "register.journal";

/// Largest batch that is written on the calling task, bytes: waking a thread would take longer.
const INLINE_BYTES: usize = 64 * 1024;

/// Options of a journal.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A replica's batches are fsynced within this time.
    pub flush_within: Duration,
    /// Bytes of the newest entries that are kept in memory.
    pub cache_bytes: u64,
    /// Does everything on the calling task instead of the blocking pool, for deterministic simulation.
    pub inline: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { flush_within: Duration::from_secs(1), cache_bytes: CACHE_BYTES, inline: false }
    }
}

/// A register in a journal.
pub struct JournalStore(Arc<Shared>);

struct Shared {
    place: Place,
    options: Options,
    writer: Arc<Mutex<Writer>>,
    /// Operations that wait for the writer.
    waiting: sync::Mutex<Vec<Op>>,
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

    /// Stores an operation and waits for its answer. The caller that gets the writer commits all operations that wait: a group
    /// gathers while the disk works, and of tasks that can run at once.
    async fn ask<T>(&self, op: impl FnOnce(Reply<T>) -> Op) -> Result<T, StoreError> {
        let (reply, mut answer) = oneshot::channel();
        self.waiting().push(op(reply));
        let mut writer = tokio::select! {
            biased;
            // Another caller's group had it.
            answered = &mut answer => return answered.unwrap_or_else(|_dropped| Err(closed())),
            writer = Arc::clone(&self.writer).lock_owned() => writer,
        };
        tokio::task::yield_now().await;
        let group = std::mem::take(&mut *self.waiting());
        if !group.is_empty() {
            let work = move || {
                writer.commit(group);
                Ok(())
            };
            self.options.run(work).await?;
        }
        answer.await.unwrap_or_else(|_dropped| Err(closed()))
    }

    fn waiting(&self) -> sync::MutexGuard<'_, Vec<Op>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Schedules an fsync, and repeats it while it fails.
    fn flush_later(self: &Arc<Self>) {
        if self.flush_due.swap(true, Ordering::AcqRel) {
            return;
        }
        // Weak, so that a dropped store closes its file at once.
        let (shared, within) = (Arc::downgrade(self), self.options.flush_within);
        tokio::spawn(async move {
            tokio::time::sleep(within).await;
            let Some(shared) = shared.upgrade() else { return };
            shared.flush_due.store(false, Ordering::Release);
            if let Err(error) = shared.flush().await {
                tracing::error!(%error, file = %shared.place.path.display(), "the register is not durable");
                shared.flush_later();
            }
        });
    }
}

#[async_trait]
impl Store for JournalStore {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        Ok(Loaded::clone(&self.0.state.borrow()))
    }

    fn watch(&self) -> Option<watch::Receiver<Arc<Loaded>>> {
        Some(self.0.state.clone())
    }

    async fn init_genesis(&self, genesis: Genesis) -> Result<Genesis, StoreError> {
        self.0.ask(|reply| Op::InitGenesis(genesis, reply)).await
    }

    async fn publish(&self, draft: Draft) -> Result<Publication, StoreError> {
        draft.validate()?;
        self.0.ask(|reply| Op::Publish(draft, reply)).await
    }

    async fn set_active(&self, change: StateChange) -> Result<Publication, StoreError> {
        self.0.ask(|reply| Op::SetActive(change, reply)).await
    }

    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        Ok(self.0.state.borrow().view.after(after).take(limit).cloned().collect())
    }

    async fn changed(&self, after: Version) {
        // An error means that the store is closed: the next read says so.
        drop(self.0.state.clone().wait_for(|state| state.view.head() > after).await);
    }

    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let size: usize = entries.iter().map(|sealed| sealed.length()).sum();
        let mut writer = Arc::clone(&self.0.writer).lock_owned().await;
        let work = move || writer.apply(entries, checkpoint);
        // File and memory change together: without an await between them, or in a task that is not dropped.
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
