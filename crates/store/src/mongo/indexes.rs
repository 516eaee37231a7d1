//! Indexes: those of protocol section 7, `version` unique (protocol D19), and a sparse unique one on `versions`, which keeps
//! superseded versions from being assigned again. Only missing ones are created, one a command: some servers refuse several at
//! once, or one that exists.

use mongodb::{
    IndexModel,
    bson::{Bson, Document, doc},
    options::IndexOptions,
};

use super::{
    database::{Database, Entries},
    errors::{Failure, Outcome},
};
use crate::StoreError;

struct Wanted {
    keys: Document,
    is_unique: bool,
    is_sparse: bool,
}

fn wanted() -> [Wanted; 4] {
    let plain = |keys| Wanted { keys, is_unique: false, is_sparse: false };
    [
        Wanted { is_unique: true, ..plain(doc! { "version": 1 }) },
        Wanted { is_unique: true, is_sparse: true, ..plain(doc! { "versions": 1 }) },
        plain(doc! { "publishedAt": -1 }),
        plain(doc! { "isActive": 1 }),
    ]
}

impl Wanted {
    fn model(&self) -> IndexModel {
        let options = IndexOptions::builder()
            .unique(self.is_unique.then_some(true))
            .sparse(self.is_sparse.then_some(true))
            .build();
        IndexModel::builder().keys(self.keys.clone()).options(options).build()
    }

    /// Whether an existing index has the same keys; servers state directions as numbers of any type.
    fn is_on_keys_of(&self, index: &IndexModel) -> bool {
        let plain = |keys: &Document| {
            keys.iter().map(|(key, direction)| (key.clone(), sign(direction))).collect::<Vec<_>>()
        };
        plain(&self.keys) == plain(&index.keys)
    }
}

fn sign(direction: &Bson) -> Option<i64> {
    match direction {
        Bson::Int32(number) => Some(i64::from(*number).signum()),
        Bson::Int64(number) => Some(number.signum()),
        Bson::Double(number) => Some(if *number < 0.0 { -1 } else { 1 }),
        _ => None,
    }
}

impl Database {
    /// Makes the indexes that are missing.
    pub(super) async fn create_indexes(&self, collection: &Entries) -> Outcome<()> {
        let present = self.indexes(collection).await?;
        for wanted in wanted() {
            match present.iter().find(|index| wanted.is_on_keys_of(index)) {
                Some(index) if wanted.is_unique && !is_unique(index) => {
                    return Err(conflict(collection, "it is not unique"));
                }
                Some(_) => {}
                None => self.create_index(collection, &wanted).await?,
            }
        }
        Ok(())
    }

    async fn create_index(&self, collection: &Entries, wanted: &Wanted) -> Outcome<()> {
        let failure = match self.bounded(collection.create_index(wanted.model())).await {
            Ok(_) => return Ok(()),
            Err(Failure::IndexConflict(why)) => return Err(conflict(collection, &why)),
            Err(failure) => failure,
        };
        // Another node that starts at the same time may have made it.
        match self.indexes(collection).await {
            Ok(present) if present.iter().any(|index| wanted.is_on_keys_of(index)) => Ok(()),
            _ => Err(failure),
        }
    }

    async fn indexes(&self, collection: &Entries) -> Outcome<Vec<IndexModel>> {
        let mut cursor = match self.bounded(collection.list_indexes()).await {
            Ok(cursor) => cursor,
            Err(Failure::Retry(error)) => return Err(Failure::Retry(error)),
            // There is no such collection yet.
            Err(_) => return Ok(Vec::new()),
        };
        let mut found = Vec::new();
        while self.bounded(cursor.advance()).await? {
            found.push(cursor.deserialize_current().map_err(Failure::from)?);
        }
        Ok(found)
    }
}

fn is_unique(index: &IndexModel) -> bool {
    index.options.as_ref().and_then(|options| options.unique) == Some(true)
}

fn conflict(collection: &Entries, why: &str) -> Failure {
    Failure::Final(StoreError::Internal(format!(
        "{} has an index with the keys of one that this node needs (is the one on `version` not unique?): {why}; drop that \
         index and start again",
        collection.namespace()
    )))
}
