//! The collections of one register, and operations on them that end in time.

use std::{
    collections::BTreeMap,
    future::IntoFuture,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use mongodb::{
    Client, Collection, IndexModel,
    bson::{Document, RawDocumentBuf, doc},
    options::{
        Acknowledgment, ClientOptions, CollectionOptions, IndexOptions, ReadConcern, ReadPreference,
        SelectionCriteria, WriteConcern,
    },
};

use super::{
    entry_codec::stated_version,
    errors::{Failure, Outcome},
    meta::{GENESIS, decode_genesis},
};
use crate::{
    config::MongoDb,
    register::{
        lineage::Genesis,
        names::{BlueprintId, Version},
    },
    store::StoreError,
};

/// Time to find a server that takes the operation, unless the connection string says otherwise.
const SERVER_SELECTION: Duration = Duration::from_secs(2);
/// Documents that one reply holds at the most. Servers end a reply at 16 MiB by themselves.
const BATCH: u32 = 256;
/// Documents and bytes that are written together, far below the 48 MB of a message.
const WRITE_BATCH: usize = 1000;
const WRITE_BATCH_BYTES: usize = 16 * 1024 * 1024;

pub(super) type Entries = Collection<RawDocumentBuf>;

/// A register's place in MongoDB. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Database {
    client: Client,
    /// One document per blueprint.
    pub(super) entries: Entries,
    /// Genesis, head, checkpoint.
    pub(super) meta: Entries,
    /// The register that is to replace `entries`, while it is being written.
    pub(super) incoming: Entries,
    /// Time for one operation.
    pub(super) timeout: Duration,
    /// Documents that one reply holds at the most.
    pub(super) batch: Arc<AtomicU32>,
}

fn exchanged(genesis: &Genesis, found: &str) -> Failure {
    let why = format!(
        "MongoDB holds another register than the one that this node serves: {found} instead of lineage {}. The database was \
         dropped, restored or exchanged under the running node; nothing is written to it. Bring the right one back, or restart the node to \
         serve what is there now",
        genesis.lineage().short()
    );
    Failure::Final(StoreError::Damaged(why))
}

impl Database {
    /// Connects, and sees to it that the server answers.
    pub(super) async fn connect(uri: &str, config: &MongoDb) -> Result<Self, StoreError> {
        let timeout = config.timeout;
        let options = bounded(timeout, ClientOptions::parse(uri)).await.map_err(|failure| {
            match failure.into_error() {
                StoreError::Internal(why) => {
                    StoreError::Internal(format!("the MongoDB connection string is not usable: {why}"))
                }
                other => other,
            }
        })?;
        let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
        let address = format!("{}/{}", hosts.join(","), config.database);
        let client = Client::with_options(with_defaults(options, timeout)).map_err(|error| {
            StoreError::Internal(format!("the MongoDB connection string is not usable: {error}"))
        })?;
        let database = client.database(&config.database);
        let collection = |name: &str| database.collection_with_options(name, collection_options(timeout));
        let name = &config.collection;
        bounded(timeout, database.run_command(doc! { "ping": 1 })).await?;
        tracing::info!(address, collection = name, "connected to MongoDB");
        Ok(Self {
            entries: collection(name),
            meta: collection(&format!("{name}_meta")),
            incoming: collection(&format!("{name}_incoming")),
            client,
            timeout,
            batch: Arc::new(AtomicU32::new(BATCH)),
        })
    }

    /// Waits for an operation for as long as the configuration lets one take.
    pub(super) async fn bounded<T>(
        &self,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Outcome<T> {
        bounded(self.timeout, operation).await
    }

    /// Makes the indexes of contract section 7, `version` unique (D19), and one that keeps a superseded version
    /// from being given again; that one leaves out what no node wrote.
    pub(super) async fn create_indexes(&self, collection: &Entries) -> Outcome<()> {
        let index = |keys: Document, options: Option<IndexOptions>| {
            IndexModel::builder().keys(keys).options(options).build()
        };
        let unique = || IndexOptions::builder().unique(true);
        let indexes = [
            index(doc! { "version": 1 }, Some(unique().build())),
            index(doc! { "versions": 1 }, Some(unique().sparse(true).build())),
            index(doc! { "publishedAt": -1 }, None),
            index(doc! { "isActive": 1 }, None),
        ];
        match self.bounded(collection.create_indexes(indexes)).await {
            Err(Failure::IndexConflict(why)) => Err(Failure::Final(StoreError::Internal(format!(
                "{} has an index with the keys of one that this node needs (is the one on `version` not unique?): {why}; \
                 drop that index and start again",
                collection.namespace()
            )))),
            result => result.map(|_| ()),
        }
    }

    /// The newest version in the database; 0 when there is none.
    pub(super) async fn head(&self) -> Outcome<Version> {
        // The filter leaves out what is no number and would sort after all numbers.
        let newest = self
            .entries
            .find_one(doc! { "version": { "$gt": 0_i64 } })
            .sort(doc! { "version": -1 })
            .projection(doc! { "_id": 0, "version": 1 });
        let Some(found) = self.bounded(newest).await? else { return Ok(Version::ZERO) };
        stated_version(&found).ok_or_else(|| {
            StoreError::Damaged("the highest version in MongoDB is not a 64-bit integer".to_owned()).into()
        })
    }

    /// The newest version, of a register with this genesis and of no other.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when another register lies there now: somebody has dropped, restored or exchanged the database
    /// under the running node (design decision 5).
    pub(super) async fn head_of(&self, genesis: Option<&Genesis>) -> Outcome<Version> {
        tokio::try_join!(self.head(), self.check_lineage(genesis)).map(|(head, ())| head)
    }

    /// Whether the register there has this genesis, where one is known.
    ///
    /// # Errors
    /// As [`Database::head_of`].
    pub(super) async fn check_lineage(&self, genesis: Option<&Genesis>) -> Outcome<()> {
        let Some(genesis) = genesis else { return Ok(()) };
        let stored = self.bounded(self.meta.find_one(doc! { "_id": GENESIS })).await?;
        match stored.as_ref().map(|raw| decode_genesis(raw)) {
            Some(Ok(found)) if found.lineage() == genesis.lineage() => Ok(()),
            Some(Ok(found)) => Err(exchanged(genesis, &format!("lineage {}", found.lineage().short()))),
            Some(Err(_)) => Err(exchanged(genesis, "an unreadable genesis record")),
            None => Err(exchanged(genesis, "no genesis record")),
        }
    }

    /// The document of one blueprint.
    pub(super) async fn find(&self, id: &BlueprintId) -> Outcome<Option<RawDocumentBuf>> {
        self.bounded(self.entries.find_one(doc! { "_id": id.as_str() })).await
    }

    /// Inserts documents, in portions far below the 48 MB of a message.
    pub(super) async fn insert_all(
        &self,
        into: &Entries,
        documents: impl IntoIterator<Item = RawDocumentBuf>,
    ) -> Outcome<()> {
        let mut documents = documents.into_iter().peekable();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(document) = documents.next() {
            bytes += document.as_bytes().len();
            batch.push(document);
            let next = documents.peek().map(|next| next.as_bytes().len());
            if next.is_none_or(|next| bytes + next > WRITE_BATCH_BYTES || batch.len() == WRITE_BATCH) {
                self.bounded(into.insert_many(std::mem::take(&mut batch)).ordered(false)).await?;
                bytes = 0;
            }
        }
        Ok(())
    }

    /// Puts the incoming register in the place of the present one, in one step.
    ///
    /// Where no incoming one is left, this was done before.
    pub(super) async fn swap_in(&self) -> Outcome<()> {
        let command = doc! {
            "renameCollection": self.incoming.namespace().to_string(),
            "to": self.entries.namespace().to_string(),
            "dropTarget": true,
            "writeConcern": { "w": "majority" },
        };
        match self.bounded(self.client.database("admin").run_command(command)).await {
            Ok(_) => Ok(()),
            Err(Failure::Retry(error)) => Err(Failure::Retry(error)),
            // The codes for a collection that is not there differ; so does what is there.
            Err(other) => {
                if self.has_incoming().await? {
                    Err(other)
                } else {
                    Ok(())
                }
            }
        }
    }

    async fn has_incoming(&self) -> Outcome<bool> {
        let database = self.client.database(&self.incoming.namespace().db);
        let names = self
            .bounded(database.list_collection_names().filter(doc! { "name": self.incoming.name() }))
            .await?;
        Ok(names.iter().any(|name| name == self.incoming.name()))
    }

    /// All documents about the register, by their id.
    pub(super) async fn read_meta(&self) -> Outcome<BTreeMap<String, RawDocumentBuf>> {
        let mut cursor = self.bounded(self.meta.find(doc! {})).await?;
        let mut found = BTreeMap::new();
        while self.bounded(cursor.advance()).await? {
            let raw = cursor.current();
            found.insert(raw.get_str("_id").unwrap_or_default().to_owned(), raw.to_owned());
        }
        Ok(found)
    }

    /// Stores a document about the register, in place of an older one.
    pub(super) async fn put_meta(&self, id: &str, document: RawDocumentBuf) -> Outcome<()> {
        self.bounded(self.meta.replace_one(doc! { "_id": id }, document).upsert(true)).await.map(|_| ())
    }

    /// Removes documents about the register.
    pub(super) async fn delete_meta(&self, ids: &[&str]) -> Outcome<()> {
        self.bounded(self.meta.delete_many(doc! { "_id": { "$in": ids.to_vec() } })).await.map(|_| ())
    }
}

async fn bounded<T>(
    timeout: Duration,
    operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
) -> Outcome<T> {
    match tokio::time::timeout(timeout, operation.into_future()).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Failure::timed_out(timeout)),
    }
}

fn with_defaults(mut options: ClientOptions, timeout: Duration) -> ClientOptions {
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION.min(timeout));
    options.connect_timeout.get_or_insert(SERVER_SELECTION.min(timeout));
    options.app_name.get_or_insert_with(|| "sorcha-node".to_owned());
    options
}

/// Majority writes and reads, whatever the connection string says: what is acknowledged stays, and what is read
/// was acknowledged (design decision 9).
fn collection_options(timeout: Duration) -> CollectionOptions {
    CollectionOptions::builder()
        .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).w_timeout(timeout).build())
        .read_concern(ReadConcern::majority())
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .build()
}
