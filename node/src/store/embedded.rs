//! The embedded store: one crash-safe file (redb), group commit, one writer (design decisions 11, 12).
//!
//! A committer owns the database and the newest view. It takes all operations that wait, writes them in one
//! transaction and answers them together, so that many publications share one fsync. Publications are durable
//! before they are acknowledged; a replica's batches are atomic at once and durable within
//! [`Options::flush_within`].

mod committer;
mod file;
mod medium;
mod tables;
mod transact;
mod witness;
mod writer;

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use redb::{Builder, StorageBackend, backends::InMemoryBackend};
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    committer::{Committer, Op},
    file::{RegisterFile, guarded, opening},
    medium::Medium,
    witness::Witness,
};
use super::{
    Checkpoint, Draft, Loaded, Publication, StateChange, Store, StoreError,
    disk::{closed, run_blocking},
};
use crate::register::{entry::SealedEntry, lineage::Genesis, names::Version};

/// File name of the register inside a data directory.
pub const FILE_NAME: &str = "register.redb";

/// Operations that wait for the committer; more make callers wait.
const QUEUE: usize = 1024;

/// Removes a register's file, which no store has open, and the witness beside it.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    fs::remove_file(file)?;
    Witness::beside(file).forget();
    Ok(())
}

/// How an embedded store runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory that the database may use to cache pages, bytes.
    pub cache_bytes: usize,
    /// A replica's batches are fsynced within this time.
    pub flush_within: Duration,
    /// Runs transactions on the calling task instead of the blocking pool, for deterministic simulation.
    pub inline: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 16 * 1024 * 1024, flush_within: Duration::from_secs(1), inline: false }
    }
}

/// A register in one file, or in memory.
#[derive(Debug)]
pub struct EmbeddedStore {
    ops: mpsc::Sender<Op>,
    state: watch::Receiver<Arc<Loaded>>,
}

impl EmbeddedStore {
    /// Opens or creates a file and verifies what is in it. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when another process has the file open; [`StoreError::Damaged`] when the file
    /// is not readable as a database; [`StoreError::Internal`] for other faults.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let file = RegisterFile::new(path.as_ref(), options.cache_bytes);
        let (db, loaded) = if options.inline {
            file.open()
        } else {
            let file = file.clone();
            run_blocking(move || file.open()).await.unwrap_or_else(|| Err(closed()))
        }?;
        Ok(Self::start(Medium::new(db, Some(file)), loaded, options))
    }

    /// As [`EmbeddedStore::open`], for a replica: an unreadable file is set aside (renamed to
    /// `….damaged-<unix ms>`), logged, and a new one made. Its content is fetched again.
    ///
    /// # Errors
    /// As for `open`, but for an unreadable file.
    pub async fn open_replica(
        path: impl AsRef<Path>,
        options: Options,
        now_millis: i64,
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        match Self::open(path, options.clone()).await {
            Err(StoreError::Damaged(why)) => {
                let aside = RegisterFile::new(path, options.cache_bytes).set_aside(now_millis)?;
                tracing::error!(file = %path.display(), aside = %aside.display(), reason = %why, "replica file set aside; fetching it again");
                Self::open(path, options).await
            }
            other => other,
        }
    }

    /// A store that lives in memory and dies with the process.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if the database can't be set up.
    pub fn in_memory(options: Options) -> Result<Self, StoreError> {
        Self::open_backend(InMemoryBackend::new(), options)
    }

    /// Opens or creates a register on another kind of storage, such as a simulated disk, and verifies what is in it. Must
    /// be called inside a Tokio runtime; reads on the calling task.
    ///
    /// # Errors
    /// As for [`EmbeddedStore::open`].
    pub fn open_backend(backend: impl StorageBackend, options: Options) -> Result<Self, StoreError> {
        let (db, loaded) = guarded(|| {
            let db = Builder::new()
                .set_cache_size(options.cache_bytes)
                .create_with_backend(backend)
                .map_err(opening)?;
            let loaded = tables::load(&db)?;
            Ok((db, loaded))
        })?;
        Ok(Self::start(Medium::new(db, None), loaded, options))
    }

    fn start(medium: Medium, loaded: Loaded, options: Options) -> Self {
        let (ops, queue) = mpsc::channel(QUEUE);
        let (published, state) = watch::channel(Arc::new(loaded.clone()));
        tokio::spawn(Committer::new(medium, loaded, options, published).run(queue));
        Self { ops, state }
    }

    async fn ask<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Op,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ops.send(op(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        Ok((**self.state.borrow()).clone())
    }

    fn watch(&self) -> Option<watch::Receiver<Arc<Loaded>>> {
        Some(self.state.clone())
    }

    async fn init_genesis(&self, genesis: Genesis) -> Result<Genesis, StoreError> {
        self.ask(|reply| Op::InitGenesis(genesis, reply)).await
    }

    async fn publish(&self, draft: Draft) -> Result<Publication, StoreError> {
        draft.validate()?;
        self.ask(|reply| Op::Publish(draft, reply)).await
    }

    async fn set_active(&self, change: StateChange) -> Result<Publication, StoreError> {
        self.ask(|reply| Op::SetActive(change, reply)).await
    }

    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        Ok(self.state.borrow().view.after(after).take(limit).cloned().collect())
    }

    async fn changed(&self, after: Version) {
        // An error means that the store is closed: the next read says so.
        drop(self.state.clone().wait_for(|state| state.view.head() > after).await);
    }

    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.ask(|reply| Op::Apply { entries, checkpoint, reply }).await
    }

    async fn replace(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        self.ask(|reply| Op::Replace { genesis, entries, checkpoint, reply }).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.ask(Op::Flush).await
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
