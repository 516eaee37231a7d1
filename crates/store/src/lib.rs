//! Storage of a register: one trait, two stores (ADR 31).
//!
//! [`journal`] is the embedded store, a write-ahead log in one file; `mongo`, behind the feature of that name, is MongoDB. The
//! trait serves both roles: a central node publishes into its store and tails it, a peer applies verified batches. What a method
//! has acknowledged is durable, except for the last second of a replica. `contract` is the test suite of both stores.
//!
//! Deliberately absent: rules of succession (callers apply `sorcha_register::succession` first), and caches beside the
//! register itself. Begin with [`Store`], [`Draft`], [`Loaded`], [`StoreError`].

#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod disk;
mod error;
mod publication;
mod reader;
mod recent;
#[cfg(feature = "mongo")]
mod spill;

pub mod journal;
#[cfg(feature = "mongo")]
pub mod mongo;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sorcha_register::{
    clock::Timestamp,
    entry::SealedEntry,
    integrity::Finding,
    lineage::Genesis,
    names::{Lineage, RegisterDigest, Version},
    view::RegisterView,
};
use tokio::sync::watch;

pub(crate) use self::publication::next_version;
pub use self::{
    error::{Exchange, InItsPlace, StoreError},
    publication::{Draft, Publication, StateChange},
};

/// Bytes of the newest entries that a store keeps in memory, unless its options state others: `store.cache_bytes`.
pub(crate) const CACHE_BYTES: u64 = 4 << 20;

/// A peer's position, kept in the replica's own transaction (protocol section 6.7, ADR 31).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// Highest version processed; the replica's head.
    pub version: Version,
    /// Last successful sync.
    pub last_sync_time: Timestamp,
    /// When the next pull is due.
    pub next_sync_due: Timestamp,
    /// Central node that it belongs to; empty before the first sync.
    pub central_node_id: String,
    /// Lineage that an administrator chose as the replacement of this replica (`register adopt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Lineage>,
}

impl Checkpoint {
    /// The position of a register that was not synced from a central node.
    #[must_use]
    pub const fn at(version: Version) -> Self {
        Self {
            version,
            last_sync_time: Timestamp::from_millis(0),
            next_sync_due: Timestamp::from_millis(0),
            central_node_id: String::new(),
            adopt: None,
        }
    }

    /// Whether it is the position of a replica that was synced from a central node.
    #[must_use]
    pub const fn is_synced(&self) -> bool {
        !self.central_node_id.is_empty()
    }
}

/// A register as found at start-up.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Every entry that verifies, under the genesis if that verifies.
    pub view: RegisterView,
    /// The replica's position; `None` in a store that was never a replica.
    pub checkpoint: Option<Checkpoint>,
    /// Faults; empty for a sound register.
    pub findings: Vec<Finding>,
}

/// A register's storage.
///
/// All methods may be called concurrently. What a method has acknowledged survives a crash of the process and of the
/// machine; for [`Store::apply`] alone a crash of the machine may undo the last second, since a replica fetches it again.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// `embedded` or `mongodb`, for logs and people.
    fn kind(&self) -> &'static str;

    /// Reads and verifies everything.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Internal`]; damage is not an error but a finding.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Follows the register, where the store keeps it in memory. While a caller keeps a value, the next change copies what it
    /// touches.
    fn watch(&self) -> Option<watch::Receiver<Arc<Loaded>>> {
        None
    }

    /// Stores the genesis if there is none, and returns the one that is stored: of several nodes that start at once on one
    /// database, one wins, and all get its genesis.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't be read or written.
    async fn init_genesis(&self, genesis: Genesis) -> Result<Genesis, StoreError>;

    /// Publishes: allocates the next version and stores the entry durably (ADR 5).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id is published with another document.
    async fn publish(&self, draft: Draft) -> Result<Publication, StoreError>;

    /// Deprecates or reactivates, at a new version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing is published under the id.
    async fn set_active(&self, change: StateChange) -> Result<Publication, StoreError>;

    /// Entries with a version greater than `after`, ascending, `limit` of them or a few more, without gaps that a publication in
    /// progress could still fill.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when an entry read does not verify.
    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError>;

    /// Returns when there may be an entry newer than `after`; it may return without one.
    async fn changed(&self, after: Version);

    /// Replica: stores entries and the position after them, all or nothing (ADR 31).
    ///
    /// # Errors
    /// [`StoreError::Full`] and others; nothing is stored then.
    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError>;

    /// Replaces the whole register, all or nothing: full sync, restore, reseed.
    ///
    /// # Errors
    /// [`StoreError`]; the old register is kept then.
    async fn replace(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError>;

    /// Replaces the whole register of a central node by a restored one. The next publication takes the version after `head`; the
    /// versions between the last entry and `head` stay empty.
    ///
    /// # Errors
    /// [`StoreError`]; the old register is kept then.
    async fn restore(
        &self,
        genesis: Genesis,
        entries: Vec<Arc<SealedEntry>>,
        head: Version,
    ) -> Result<(), StoreError> {
        self.replace(Some(genesis), entries, Some(Checkpoint::at(head))).await
    }

    /// Begins to replace the whole register by entries that still arrive, where the store supports that.
    fn begin_replace(&self) -> Option<Box<dyn Incoming>> {
        None
    }

    /// Why writes are refused, where that is known without a write.
    fn fault(&self) -> Option<StoreError> {
        None
    }

    /// A known weakness of the store's server, for health reports.
    fn weakness(&self) -> Option<&'static str> {
        None
    }

    /// Makes everything acknowledged so far durable against a crash of the machine too.
    ///
    /// # Errors
    /// [`StoreError`] when that fails.
    async fn flush(&self) -> Result<(), StoreError>;
}

/// A whole register that is being received. Dropping it leaves the stored one unchanged.
#[async_trait]
pub trait Incoming: Send {
    /// Takes the next entries, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when they can't be stored; some stores report it only at the end.
    async fn add(&mut self, entries: Vec<Arc<SealedEntry>>) -> Result<(), StoreError>;

    /// Replaces the stored register, all or nothing and durably, if the entries have this digest under the genesis and at the
    /// position; false, with nothing replaced, if they have another one.
    ///
    /// # Errors
    /// [`StoreError`]; the old register is kept then.
    async fn finish(
        self: Box<Self>,
        genesis: Option<Arc<Genesis>>,
        checkpoint: Checkpoint,
        digest: Option<RegisterDigest>,
    ) -> Result<bool, StoreError>;
}
