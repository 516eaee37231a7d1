//! MongoDB: the collection of the protocol, shared by several central nodes at once (ADR 5, 29, 30 and 31).
//!
//! Every publication is one insert or one update of one document, at the version after the newest. Each document
//! lists all versions that its blueprint has had, under a unique index: of several nodes one gets a version, and
//! the others try the next, even if a deprecation has moved the blueprint on meanwhile. So versions are dense
//! without a transaction: each of 1 to head is in exactly one list. Writes are acknowledged by a majority and
//! reads see only what a majority has, so that no read is undone later.
//!
//! Deliberately absent: multi-document transactions (a plain server has none), a counter document (a crash between
//! counter and entry would leave a gap) and any trust in change streams (they only wake the poll).

mod errors;
mod document;
mod fields;
mod entry_codec;
mod meta;
mod read;
mod contents;
mod database;
mod indexes;
mod guards;
mod tail;
mod publish;
mod apart;
mod load;
mod swap;
mod replica;
mod owner;

#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod owner_tests;
#[cfg(test)]
mod replica_tests;
#[cfg(test)]
mod tamper_tests;
#[cfg(test)]
mod server_tests;
#[cfg(any(test, feature = "testing"))]
pub mod test_server;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use sorcha_config::MongoDb;
use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version, view::RegisterView};
use sorcha_runtime::{env::Env, metrics::Metrics, supervise::Supervisor};
use tokio::sync::{Mutex, watch};
use tokio_util::task::AbortOnDropHandle;

pub use self::owner::Claimant;
use self::{
    database::Database,
    errors::{Failure, Outcome},
    guards::Guards,
    owner::Claim,
    publish::Change,
    tail::Tail,
};
use super::{
    CACHE_BYTES, Checkpoint, Draft, Loaded, Publication, StateChange, Store, StoreError, spill::Spill,
};

/// Where a node keeps the documents that it has read from the database.
#[derive(Clone, Debug)]
pub struct Documents {
    /// Directory of a file that holds them while the node runs.
    pub directory: PathBuf,
    /// Bytes of the newest entries that are kept in memory too.
    pub cache_bytes: u64,
}

impl Default for Documents {
    fn default() -> Self {
        Self { directory: std::env::temp_dir(), cache_bytes: CACHE_BYTES }
    }
}

/// A register in MongoDB.
#[derive(Debug)]
pub struct MongoStore {
    db: Database,
    guards: Guards,
    claim: OnceLock<Claim>,
    known: watch::Sender<Known>,
    /// Newest version that this process published; the recorder stores it.
    published: watch::Sender<Version>,
    /// Held while the head record is written, or replaced with the rest of the register.
    recording: Arc<Mutex<()>>,
    /// One publication of this process at a time asks for a version; others would only lose the race.
    turn: Mutex<()>,
    /// The replica as last stored, for its seal.
    replica: Mutex<Option<RegisterView>>,
    tail: Tail,
    _recorder: AbortOnDropHandle<()>,
}

/// State of the register as known to this process.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The genesis, if known.
    genesis: Option<Arc<Genesis>>,
    /// Newest version that was read or written; a replica's position.
    newest: Version,
    /// Up to this version only restored entries are accounted for.
    floor: Version,
    /// Whether it is a replica: not dense, with this process as its only writer.
    is_replica: bool,
    /// Why publications are refused.
    damage: Option<String>,
    /// A replacement was begun whose outcome is not known.
    is_unsettled: bool,
}

impl MongoStore {
    /// As [`MongoStore::open`], for tools, without metrics.
    ///
    /// # Errors
    /// As [`MongoStore::open`].
    pub async fn connect(uri: &str, config: &MongoDb) -> Result<Self, StoreError> {
        Self::open(uri, config, Documents::default(), &Env::system(Metrics::disabled())).await
    }

    /// Connects, makes missing indexes, and probes the guarantees of the server. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no server answers in time or the user is refused: try again.
    /// [`StoreError::Internal`] when the connection string, an existing index or the server does not suffice.
    pub async fn open(
        uri: &str,
        config: &MongoDb,
        documents: Documents,
        env: &Env,
    ) -> Result<Self, StoreError> {
        let Documents { directory, cache_bytes } = documents;
        let db = Database::connect(uri, config, Spill::new(&directory, cache_bytes)).await?;
        let damage = match db.create_indexes(&db.entries).await {
            Ok(()) => None,
            // Found by `load` too, entry by entry; but nothing may be published without the index.
            Err(Failure::Duplicate) => Some("two entries have the same version".to_owned()),
            Err(other) => return Err(other.into()),
        };
        let guards = db.probe().await?;
        if !guards.elements {
            tracing::warn!("{}", guards::UNGUARDED);
        }
        let (published, newest) = watch::channel(Version::ZERO);
        let recording = Arc::new(Mutex::new(()));
        let recorder = tokio::spawn({
            let (env, db, recording) = (env.clone(), db.clone(), Arc::clone(&recording));
            async move {
                let mut supervisor = Supervisor::new("store-heads", &env);
                let record = || publish::record_heads(db.clone(), newest.clone(), Arc::clone(&recording));
                while supervisor.until_done(record()).await.is_none() {
                    supervisor.pause().await;
                }
            }
        });
        Ok(Self {
            tail: Tail::new(config),
            known: watch::Sender::new(Known { damage, ..Known::default() }),
            published,
            recording,
            turn: Mutex::default(),
            replica: Mutex::default(),
            _recorder: AbortOnDropHandle::new(recorder),
            guards,
            claim: OnceLock::new(),
            db,
        })
    }

    /// Notes a version of the database, and wakes waiting readers.
    fn note_newest(&self, version: Version) {
        self.known.send_if_modified(|known| {
            let is_newer = version > known.newest;
            known.newest = known.newest.max(version);
            is_newer
        });
    }
}

#[async_trait]
impl Store for MongoStore {
    fn kind(&self) -> &'static str {
        "mongodb"
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        let mut replica = self.replica.lock().await;
        self.load_into(&mut replica).await.map_err(Failure::into_error)
    }

    async fn init_genesis(&self, genesis: Genesis) -> Result<Genesis, StoreError> {
        let mut replica = self.replica.lock().await;
        self.init_lineage(&genesis, &mut replica).await.map_err(Failure::into_error)
    }

    async fn publish(&self, draft: Draft) -> Result<Publication, StoreError> {
        draft.validate()?;
        let json = publish::encode_draft(draft.clone()).await?;
        self.carry_out(Change::Publish { draft: &draft, json: &json }).await
    }

    async fn set_active(&self, change: StateChange) -> Result<Publication, StoreError> {
        self.carry_out(Change::SetActive(&change)).await
    }

    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        self.entries_after(after, limit).await.map_err(Failure::into_error)
    }

    async fn changed(&self, after: Version) {
        self.wait_for_more_than(after).await;
    }

    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.apply_batch(entries, checkpoint).await.map_err(Failure::into_error)
    }

    async fn replace(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        self.replace_register(genesis, entries, checkpoint).await.map_err(Failure::into_error)
    }

    async fn restore(
        &self,
        genesis: Genesis,
        entries: Vec<Arc<SealedEntry>>,
        head: Version,
    ) -> Result<(), StoreError> {
        self.restore_register(genesis, entries, head).await.map_err(Failure::into_error)
    }

    fn fault(&self) -> Option<StoreError> {
        self.claim.get().and_then(Claim::fault)
    }

    fn weakness(&self) -> Option<&'static str> {
        (!self.guards.elements).then_some(guards::UNGUARDED)
    }

    /// Nothing to do: every write is acknowledged by a majority, in their journals.
    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Runs long computations, such as on a document of 16 MB, on the blocking pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
