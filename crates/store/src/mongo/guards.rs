//! Probes of a server's guarantees: some servers accept MongoDB's commands and behave differently. Each start tries them in a
//! scratch collection.

use std::sync::{Mutex, PoisonError};

use mongodb::bson::{Document, RawDocumentBuf, doc};

use super::{
    database::Database,
    errors::{Failure, Outcome},
};
use crate::StoreError;

/// Optional guarantees of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guards {
    /// The unique index on `versions` covers its elements.
    pub(super) elements: bool,
}

/// Warning for a server whose unique index does not cover array elements.
pub(super) const UNGUARDED: &str = "the database server does not keep a superseded version from being given again (its \
    unique index on `versions` does not look into arrays): the node looks after each publication itself, which is slower";

struct Scratch<'d> {
    db: &'d Database,
    base: i64,
    /// Error of the newest refused attempt.
    refusal: Mutex<String>,
}

impl Scratch<'_> {
    fn id(&self, number: i64) -> String {
        format!("{:x}-{number}", self.base)
    }

    /// Tries to insert a document; returns whether it is stored. Servers report refusals in different ways, so only the stored
    /// state counts.
    async fn insert(&self, number: i64, version: i64, versions: &[i64]) -> Outcome<bool> {
        let id = self.id(number);
        let document =
            doc! { "_id": &id, "version": self.base + version, "versions": self.versions(versions) };
        let raw =
            RawDocumentBuf::try_from(&document).map_err(|error| StoreError::Internal(error.to_string()))?;
        self.tried(self.db.bounded(self.db.scratch.insert_one(raw)).await.map(|_| ()))?;
        Ok(self.db.bounded(self.db.scratch.find_one(doc! { "_id": id })).await?.is_some())
    }

    /// Tries to update a document; returns whether it has the version.
    async fn update(&self, number: i64, update: Document, version: i64) -> Outcome<bool> {
        let filter = doc! { "_id": self.id(number) };
        self.tried(self.db.bounded(self.db.scratch.update_one(filter, update)).await.map(|_| ()))?;
        let filter = doc! { "_id": self.id(number), "versions": self.base + version };
        Ok(self.db.bounded(self.db.scratch.find_one(filter)).await?.is_some())
    }

    fn versions(&self, versions: &[i64]) -> Vec<i64> {
        versions.iter().map(|version| self.base + version).collect()
    }

    fn tried(&self, outcome: Outcome<()>) -> Outcome<()> {
        match outcome {
            Err(Failure::Retry(error)) => Err(Failure::Retry(error)),
            Err(refusal) => {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) =
                    refusal.into_error().to_string();
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

impl Database {
    /// Probes the server.
    ///
    /// # Errors
    /// [`StoreError::Internal`] when it would let two nodes take one version, or refuses writes.
    pub(super) async fn probe(&self) -> Outcome<Guards> {
        self.create_indexes(&self.scratch).await?;
        // No other start uses these numbers.
        let base = i64::from(rand::random::<u32>()) << 16;
        let scratch = Scratch { db: self, base, refusal: Mutex::default() };
        let guards = try_all(&scratch).await;
        let ids: Vec<_> = (0..5).map(|number| scratch.id(number)).collect();
        let cleared = self.bounded(self.scratch.delete_many(doc! { "_id": { "$in": ids } })).await;
        let guards = guards?;
        cleared?;
        Ok(guards)
    }
}

async fn try_all(scratch: &Scratch<'_>) -> Outcome<Guards> {
    if !scratch.insert(0, 0, &[0, 1]).await? || !scratch.insert(1, 2, &[2]).await? {
        let why = scratch.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        return Err(unusable(&format!("it does not store what is written with majority and journal: {why}")));
    }
    let moved = doc! { "$set": { "version": scratch.base }, "$push": { "versions": scratch.base + 9 } };
    if scratch.insert(2, 0, &[5]).await? || scratch.update(1, moved, 9).await? {
        return Err(unusable("its unique index on `version` lets two documents have the same"));
    }
    let superseded =
        doc! { "$set": { "version": scratch.base + 7 }, "$push": { "versions": scratch.base + 1 } };
    let is_given_again = scratch.insert(3, 1, &[1]).await? || scratch.update(1, superseded, 1).await?;
    Ok(Guards { elements: !is_given_again })
}

fn unusable(why: &str) -> Failure {
    Failure::Final(StoreError::Internal(format!(
        "this database server can't hold a register: {why}; use MongoDB 4.4 or newer"
    )))
}
