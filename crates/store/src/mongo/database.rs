//! The collections of one register, and operations on them with a time limit.

use std::{
    collections::BTreeMap,
    future::IntoFuture,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use mongodb::{
    Client, Collection,
    bson::{RawDocumentBuf, doc},
    options::{
        Acknowledgment, ClientOptions, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria,
        WriteConcern,
    },
};
use sorcha_config::MongoDb;
use sorcha_register::{
    lineage::Genesis,
    names::{BlueprintId, Version},
};

use super::{
    entry_codec::stated_version,
    errors::{Failure, Outcome},
    meta::{GENESIS, decode_genesis},
};
use crate::{Exchange, InItsPlace, StoreError, spill::Spill};

/// Time to find a server that takes the operation, unless the connection string says otherwise.
const SERVER_SELECTION: Duration = Duration::from_secs(2);
/// Most documents in one reply. Servers also end a reply at 16 MiB.
const BATCH: u32 = 256;
/// Most documents and bytes in one write, far below the 48 MB of a message.
const WRITE_BATCH: usize = 1000;
const WRITE_BATCH_BYTES: usize = 16 * 1024 * 1024;

pub(super) type Entries = Collection<RawDocumentBuf>;

/// The collections of a register. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) client: Client,
    /// One document per blueprint.
    pub(super) entries: Entries,
    /// Genesis, head, checkpoint.
    pub(super) meta: Entries,
    /// The register that is to replace `entries`, while it is being written.
    pub(super) incoming: Entries,
    /// The replaced register, during a replacement on servers that need several steps.
    pub(super) replaced: Entries,
    /// Documents of the probes.
    pub(super) scratch: Entries,
    /// Time limit of one operation.
    pub(super) timeout: Duration,
    /// Most documents in one reply.
    pub(super) batch: Arc<AtomicU32>,
    /// Where documents go that were read.
    pub(super) spill: Arc<Spill>,
}

impl Database {
    /// Connects and pings the server.
    pub(super) async fn connect(uri: &str, config: &MongoDb, spill: Spill) -> Result<Self, StoreError> {
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
        for what in overridden(&options) {
            tracing::warn!(
                address,
                what,
                "the connection string asks for less than a register needs; that part is not followed"
            );
        }
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
            replaced: collection(&format!("{name}_replaced")),
            scratch: collection(&format!("{name}_probe")),
            client,
            timeout,
            batch: Arc::new(AtomicU32::new(BATCH)),
            spill: Arc::new(spill),
        })
    }

    /// Runs an operation within the time limit.
    pub(super) async fn bounded<T>(
        &self,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Outcome<T> {
        bounded(self.timeout, operation).await
    }

    /// The newest version in the database; 0 when there is none.
    pub(super) async fn head(&self) -> Outcome<Version> {
        // The filter excludes other types, which would sort after all numbers.
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
    /// [`StoreError::Exchanged`] when the database holds another register: it was dropped, restored or exchanged under the
    /// running node (ADR 26).
    pub(super) async fn head_of(&self, genesis: Option<&Genesis>) -> Outcome<Version> {
        tokio::try_join!(self.head(), self.check_lineage(genesis)).map(|(head, ())| head)
    }

    /// Checks that the stored register has this genesis, if one is known.
    ///
    /// # Errors
    /// As [`Database::head_of`].
    pub(super) async fn check_lineage(&self, genesis: Option<&Genesis>) -> Outcome<()> {
        let Some(genesis) = genesis else { return Ok(()) };
        let stored = self.bounded(self.meta.find_one(doc! { "_id": GENESIS })).await?;
        match stored.as_ref().map(|raw| decode_genesis(raw)) {
            Some(Ok(found)) if found.lineage() == genesis.lineage() => Ok(()),
            Some(Ok(found)) => Err(exchanged(genesis, InItsPlace::Another(found.lineage()))),
            Some(Err(_)) => Err(exchanged(genesis, InItsPlace::Unreadable)),
            None => Err(exchanged(genesis, InItsPlace::Nothing)),
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

    /// All documents of `<collection>_meta`, by id.
    pub(super) async fn read_meta(&self) -> Outcome<BTreeMap<String, RawDocumentBuf>> {
        let mut cursor = self.bounded(self.meta.find(doc! {})).await?;
        let mut found = BTreeMap::new();
        while self.bounded(cursor.advance()).await? {
            let raw = cursor.current();
            found.insert(raw.get_str("_id").unwrap_or_default().to_owned(), raw.to_owned());
        }
        Ok(found)
    }

    /// Stores a document in `<collection>_meta`, replacing an older one.
    pub(super) async fn put_meta(&self, id: &str, document: RawDocumentBuf) -> Outcome<()> {
        self.bounded(self.meta.replace_one(doc! { "_id": id }, document).upsert(true)).await.map(|_| ())
    }

    /// Removes documents from `<collection>_meta`.
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

fn exchanged(genesis: &Genesis, found: InItsPlace) -> Failure {
    Failure::Final(StoreError::Exchanged(Exchange { ours: Some(genesis.lineage()), found }))
}

/// Options of a connection string that are too weak for a register.
fn overridden(options: &ClientOptions) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(concern) = &options.write_concern {
        match &concern.w {
            None | Some(Acknowledgment::Majority) => {}
            Some(Acknowledgment::Nodes(number)) => found.push(format!("w={number}: writes need a majority")),
            Some(other) => found.push(format!("w={other:?}: writes need a majority")),
        }
        if concern.journal == Some(false) {
            found.push("journal=false: writes need the journals of a majority".to_owned());
        }
    }
    match &options.read_concern {
        Some(concern) if *concern != ReadConcern::majority() => {
            found.push("readConcernLevel: reads need a majority".to_owned());
        }
        _ => {}
    }
    match &options.selection_criteria {
        Some(SelectionCriteria::ReadPreference(ReadPreference::Primary)) | None => {}
        Some(_) => found.push("readPreference: reads need the primary".to_owned()),
    }
    found
}

/// Majority writes in the journals and majority reads, whatever the connection string says: acknowledged writes stay, and reads
/// see only acknowledged writes (ADR 5).
fn collection_options(timeout: Duration) -> CollectionOptions {
    CollectionOptions::builder()
        .write_concern(
            WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(timeout).build(),
        )
        .read_concern(ReadConcern::majority())
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened(query: &str) -> (Vec<String>, CollectionOptions) {
        let uri = format!("mongodb://127.0.0.1:1/?{query}");
        (overridden(&ClientOptions::parse(uri).await.unwrap()), collection_options(Duration::from_secs(1)))
    }

    #[tokio::test]
    async fn writes_need_the_journals_of_a_majority_whatever_the_connection_string_says() {
        for (query, told) in [
            ("", vec![]),
            ("w=majority&journal=true&readConcernLevel=majority&readPreference=primary", vec![]),
            ("w=0", vec!["w=0"]),
            ("w=1&journal=false", vec!["w=1", "journal=false"]),
            ("readConcernLevel=local", vec!["readConcernLevel"]),
            ("readPreference=secondary", vec!["readPreference"]),
        ] {
            let (found, options) = opened(query).await;
            let names: Vec<_> = found.iter().filter_map(|what| what.split(':').next()).collect();
            assert_eq!(names, told, "{query}");
            let concern = options.write_concern.unwrap();
            assert_eq!((concern.w, concern.journal), (Some(Acknowledgment::Majority), Some(true)));
            assert_eq!(options.read_concern, Some(ReadConcern::majority()));
        }
    }
}
