//! Where a register lies on disk: one trait, two stores (ADR 31).
//!
//! [`journal`] is the embedded one, a crash-safe file; `mongo`, behind the feature of that name, is MongoDB.
//! The same trait serves both roles: a central node publishes into its store and tails it, a peer applies verified batches
//! to its own. What a method has acknowledged is durable, but for the last moment of a replica. `contract` is the one test
//! suite that they must pass.
//!
//! Deliberately absent: rules on what may follow what is held (a caller asks `sorcha_register::succession` first), and
//! caches beside the register itself. Begin with [`Store`], [`Draft`], [`Loaded`], [`StoreError`].

#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod disk;

pub mod journal;
#[cfg(feature = "mongo")]
pub mod mongo;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sorcha_register::{
    canonical::Document,
    clock::Timestamp,
    entry::{Entry, SealedEntry, check_metadata, check_published_by},
    integrity::Finding,
    limits,
    lineage::Genesis,
    names::{BlueprintId, Checksum, InvalidField, Lineage, RegisterDigest, Version, check_length},
    view::RegisterView,
};
use tokio::sync::watch;

/// A blueprint to publish; the store allocates its version.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Key of the new entry.
    pub blueprint_id: BlueprintId,
    /// Its document.
    pub document: Document,
    /// Publication instant.
    pub published_at: Timestamp,
    /// Who publishes.
    pub published_by: String,
    /// Audit link.
    pub transaction_id: String,
    /// Extra pairs.
    pub metadata: BTreeMap<String, String>,
    /// W3C `traceparent`, or empty.
    pub trace_parent: String,
}

impl Draft {
    /// Checks every field against the contract's limits.
    ///
    /// # Errors
    /// [`InvalidField`] naming the field, the limit and what was found.
    pub fn validate(&self) -> Result<(), InvalidField> {
        check_published_by(&self.published_by)?;
        check_length("publication_transaction_id", &self.transaction_id, limits::TRANSACTION_ID_CHARS)?;
        check_length("trace_parent", &self.trace_parent, limits::TRACE_PARENT_CHARS)?;
        check_metadata(&self.metadata)
    }

    /// The active entry that this draft becomes at `version`.
    #[must_use]
    pub fn at(self, version: Version) -> Entry {
        Entry {
            blueprint_id: self.blueprint_id,
            version,
            document: self.document,
            published_at: self.published_at,
            published_by: self.published_by,
            is_active: true,
            transaction_id: self.transaction_id,
            metadata: self.metadata,
            trace_parent: self.trace_parent,
        }
    }
}

/// A deprecation or reactivation; it takes a new version (protocol D20).
#[derive(Clone, Debug)]
pub struct StateChange {
    /// Which blueprint.
    pub blueprint_id: BlueprintId,
    /// Its state afterwards.
    pub is_active: bool,
    /// Audit link of the change.
    pub transaction_id: String,
    /// W3C `traceparent`, or empty.
    pub trace_parent: String,
}

impl StateChange {
    /// The entry after the change, at a new version.
    #[must_use]
    pub fn applied_to(&self, entry: &Entry, version: Version) -> Entry {
        Entry {
            version,
            is_active: self.is_active,
            transaction_id: self.transaction_id.clone(),
            trace_parent: self.trace_parent.clone(),
            ..entry.clone()
        }
    }
}

/// What a publication or state change led to.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The entry as it is stored now.
    pub entry: Arc<SealedEntry>,
    /// False when it was there already: the same bytes published again, or the state it had (ADR 28).
    pub changed: bool,
}

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
    /// A lineage that an administrator chose to replace this replica with (`register adopt`).
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

    /// Whether it is that of a peer's replica that has met a central node.
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
    /// What does not verify; empty for a sound register.
    pub findings: Vec<Finding>,
}

/// Why a store did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be reached or does not answer in time; nothing is known to be stored. Try again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// No space is left; nothing was stored.
    #[error("the store is full: {0}")]
    Full(String),
    /// The id is published with other content (ADR 28: an id is published once).
    #[error("blueprint {id} is already published with other content ({checksum}); publish it under a new id")]
    Conflict {
        /// The id.
        id: BlueprintId,
        /// Checksum of what is published.
        checksum: Checksum,
    },
    /// No such blueprint.
    #[error("no blueprint {0} is published")]
    NotFound(BlueprintId),
    /// A field breaks its limit.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// The document can't be kept by this kind of store.
    #[error("{0}")]
    Unstorable(String),
    /// The stored register failed its integrity check; it takes no publication until it is restored.
    #[error(
        "the register failed its integrity check ({0}); run `sorcha-node register restore` or `register reseed`"
    )]
    Damaged(String),
    /// The database holds another register than the one that this process serves, or none.
    #[error(transparent)]
    Exchanged(Exchange),
    /// The database belongs to another node.
    #[error("{0}")]
    Owned(String),
    /// Anything else the store reports.
    #[error("the store failed: {0}")]
    Internal(String),
}

/// The version that the next publication takes.
///
/// # Errors
/// [`StoreError::Unstorable`] when the head is the greatest version that there can be.
pub(crate) fn next_version(head: Version) -> Result<Version, StoreError> {
    head.next().ok_or_else(|| {
        let why = format!(
            "the register is at the greatest version, {head}, and can take nothing more; begin a new one"
        );
        StoreError::Unstorable(why)
    })
}

/// A database that was dropped, restored or exchanged under a running node (ADR 26).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "MongoDB holds another register than the one that this node serves: {found} instead of {}. The database was dropped, \
     restored or exchanged under the running node; nothing is written to it, and nothing of it is served. Bring the right one \
     back, or restart the node to serve what is there now",
    .ours.map_or_else(|| "the one that was there".to_owned(), |lineage| format!("lineage {}", lineage.short()))
)]
pub struct Exchange {
    /// The register served; a store may know no lineage.
    pub ours: Option<Lineage>,
    /// What is there.
    pub found: InItsPlace,
}

/// What is found where a register was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InItsPlace {
    /// No register.
    #[error("no genesis record")]
    Nothing,
    /// A genesis record that does not verify.
    #[error("an unreadable genesis record")]
    Unreadable,
    /// The register of another lineage.
    #[error("lineage {}", .0.short())]
    Another(Lineage),
    /// The register as it was before.
    #[error("a register that ends at version {head}, though version {seen} was there,")]
    Older {
        /// Its newest version.
        head: Version,
        /// The newest version that was there.
        seen: Version,
    },
}

impl Exchange {
    /// One word for programs, such as the reason of a condition.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.found {
            InItsPlace::Nothing => "RegisterLost",
            InItsPlace::Unreadable | InItsPlace::Another(_) => "RegisterExchanged",
            InItsPlace::Older { .. } => "RegisterRolledBack",
        }
    }
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

    /// What it holds, followed, where it keeps that in memory. Whoever keeps a value makes the next change copy what it
    /// touches.
    fn watch(&self) -> Option<watch::Receiver<Arc<Loaded>>> {
        None
    }

    /// Stores the genesis if there is none, and returns the one that is stored: of several nodes that start at
    /// once on one database, one wins and all learn which.
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

    /// Entries with a version greater than `after`, ascending, `limit` of them or a few more, without a gap that a
    /// publication in progress could still fill.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when an entry read does not verify.
    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError>;

    /// Returns when there may be something newer than `after`; it may also return for nothing.
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

    /// Replaces the whole register of a central node by one that is restored: the next publication takes the version after
    /// `head`, and nothing has the versions between the entries' and that.
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

    /// Begins to replace the whole register while what replaces it still arrives, where the store can do that.
    fn begin_replace(&self) -> Option<Box<dyn Incoming>> {
        None
    }

    /// Why nothing may be written any more, where that is known without a write.
    fn fault(&self) -> Option<StoreError> {
        None
    }

    /// What the store's server does less well than another one would; for people.
    fn weakness(&self) -> Option<&'static str> {
        None
    }

    /// Makes everything acknowledged so far durable against a crash of the machine too.
    ///
    /// # Errors
    /// [`StoreError`] when that fails.
    async fn flush(&self) -> Result<(), StoreError>;
}

/// A whole register on its way in. Dropping it leaves the one that is stored as it is.
#[async_trait]
pub trait Incoming: Send {
    /// Takes the next entries, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when they can't be stored; it may also show only at the end.
    async fn add(&mut self, entries: Vec<Arc<SealedEntry>>) -> Result<(), StoreError>;

    /// Replaces what is stored, all or nothing and durably, if what came has this digest under its genesis and at its
    /// position; false, with nothing replaced, if it has another one.
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
