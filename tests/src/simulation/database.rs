//! The database that the central nodes of a run share: the real embedded store in memory, behind a network that may be
//! slow, silent, or lose the answer to what was done.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version};
use sorcha_store::{
    Checkpoint, Draft, Loaded, Publication, StateChange, Store, StoreError,
    journal::{JournalStore, Options},
};

/// Time limit of one operation, as `store.mongodb.timeout`.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two polls for new entries.
const POLL: Duration = Duration::from_millis(100);

/// How the database is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// It answers within milliseconds.
    Well,
    /// It takes up to this long.
    Slow(Duration),
    /// It does not answer.
    Away,
    /// It does what it is asked to, and this share of the answers is lost.
    Forgets(f64),
}

/// The database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    store: Arc<JournalStore>,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    rng: SmallRng,
    condition: Condition,
}

impl Database {
    /// An empty one. Must be called inside the run's runtime.
    ///
    /// # Panics
    /// When a store in memory can't be made.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a store in memory can always be made")]
    pub fn new(seed: u64) -> Self {
        let options = Options { inline: true, cache_bytes: 0, ..Options::default() };
        let store = JournalStore::in_memory(options).expect("a store in memory");
        let shared = Shared { rng: SmallRng::seed_from_u64(seed), condition: Condition::Well };
        Self { store: Arc::new(store), shared: Arc::new(Mutex::new(shared)) }
    }

    /// The store itself, which always answers: for the record of what really happened.
    #[must_use]
    pub fn store(&self) -> Arc<JournalStore> {
        Arc::clone(&self.store)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how it is.
    pub fn become_(&self, condition: Condition) {
        self.shared().condition = condition;
    }

    /// How it is.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.shared().condition
    }

    /// A connection of one process to it.
    #[must_use]
    pub fn connect(&self) -> Arc<Client> {
        Arc::new(Client { database: self.clone(), dead: AtomicBool::new(false) })
    }

    /// The time that a request or an answer takes; `None`: it never arrives.
    fn delay(&self) -> Option<Duration> {
        let mut shared = self.shared();
        let longest = match shared.condition {
            Condition::Away => return None,
            Condition::Slow(longest) => longest,
            Condition::Well | Condition::Forgets(_) => Duration::from_millis(3),
        };
        Some(longest.mul_f64(shared.rng.random()))
    }

    fn loses_answer(&self) -> bool {
        let mut shared = self.shared();
        match shared.condition {
            Condition::Forgets(share) => shared.rng.random::<f64>() < share,
            _ => false,
        }
    }
}

/// One process's connection.
pub struct Client {
    database: Database,
    dead: AtomicBool,
}

fn unavailable() -> StoreError {
    StoreError::Unavailable(format!("no answer within {} s", TIMEOUT.as_secs()))
}

impl Client {
    /// Its process is dead: nothing that it still does gets through.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    async fn way(&self) -> Result<(), StoreError> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("this process is dead".to_owned()));
        }
        match self.database.delay() {
            Some(delay) if delay < TIMEOUT => tokio::time::sleep(delay).await,
            _ => {
                tokio::time::sleep(TIMEOUT).await;
                return Err(unavailable());
            }
        }
        Ok(())
    }

    /// There, the work, and back.
    async fn ask<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.way().await?;
        let result = work.await;
        if self.database.loses_answer() {
            tokio::time::sleep(TIMEOUT).await;
            return Err(unavailable());
        }
        self.way().await?;
        result
    }
}

#[async_trait]
impl Store for Client {
    fn kind(&self) -> &'static str {
        "simulated database"
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.ask(self.database.store.load()).await
    }

    async fn init_genesis(&self, genesis: Genesis) -> Result<Genesis, StoreError> {
        self.ask(self.database.store.init_genesis(genesis)).await
    }

    async fn publish(&self, draft: Draft) -> Result<Publication, StoreError> {
        self.ask(self.database.store.publish(draft)).await
    }

    async fn set_active(&self, change: StateChange) -> Result<Publication, StoreError> {
        self.ask(self.database.store.set_active(change)).await
    }

    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        self.ask(self.database.store.read_after(after, limit)).await
    }

    async fn changed(&self, _: Version) {
        tokio::time::sleep(POLL).await;
    }

    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.ask(self.database.store.apply(entries, checkpoint)).await
    }

    async fn replace(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        self.ask(self.database.store.replace(genesis, entries, checkpoint)).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.ask(self.database.store.flush()).await
    }
}
