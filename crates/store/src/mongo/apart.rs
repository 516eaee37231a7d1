//! Unique versions on servers that don't guard superseded ones ([`Guards`](super::guards::Guards)).
//!
//! A publication may be carried out late: another node took its version meanwhile, and moved on from it with a deprecation. So
//! the node checks after each write whether another blueprint has had the version, and moves the entry on to the next free
//! version, before the publication is acknowledged. Entries that a crash left at such a version are moved at the next load.

use std::sync::Arc;

use mongodb::bson::doc;
use sorcha_register::{
    entry::{Entry, EntryHeader, SealedEntry},
    names::{BlueprintId, Version},
};

use super::{
    MongoStore, Outcome, blocking,
    contents::Contents,
    entry_codec::{Stored, binary, decode, entry_hash},
    errors::Failure,
};
use crate::{Publication, disk::read_error};

impl MongoStore {
    /// Whether another blueprint has had an entry's version.
    async fn is_given_twice(&self, entry: &EntryHeader) -> Outcome<bool> {
        let others = doc! { "versions": entry.version.get(), "_id": { "$ne": entry.blueprint_id.as_str() } };
        Ok(self.db.bounded(self.db.entries.find_one(others)).await?.is_some())
    }

    /// The publication, at a version of its own.
    pub(super) async fn kept_apart(&self, publication: Publication) -> Outcome<Publication> {
        if self.guards.elements {
            return Ok(publication);
        }
        let Publication { mut entry, changed } = publication;
        while self.is_given_twice(entry.entry()).await? {
            entry = self.move_on(&entry).await?;
        }
        Ok(Publication { entry, changed })
    }

    /// Moves an entry to the next version; returns the entry stored afterwards.
    async fn move_on(&self, entry: &Arc<SealedEntry>) -> Outcome<Arc<SealedEntry>> {
        let (id, from) = (&entry.entry().blueprint_id, entry.entry().version);
        let stored = self.stored(id).await?;
        if stored.sealed.entry().version != from {
            return Ok(stored.sealed);
        }
        let whole = stored.sealed.whole().map_err(|error| read_error(&error))?;
        let moved = Entry { version: self.next_version().await?, ..whole }.seal();
        let to = moved.entry().version;
        let versions: Vec<_> = stored.supersedes.iter().chain([&to]).map(|version| version.get()).collect();
        let hash = binary(&entry_hash(moved.leaf(), &stored.supersedes));
        let filter = doc! { "_id": id.as_str(), "version": from.get() };
        let set = doc! { "$set": { "version": to.get(), "versions": versions, "entryHash": hash } };
        let outcome = self.db.bounded(self.db.entries.update_one(filter, set)).await;
        tracing::warn!(blueprint_id = %id, %from, %to, "version was given twice by the database server; the later entry is moved on");
        match outcome {
            Err(Failure::Retry(error)) => Err(Failure::Retry(error)),
            // Whether it was carried out or not: the stored entry counts.
            _ => Ok(self.stored(id).await?.sealed),
        }
    }

    async fn stored(&self, id: &BlueprintId) -> Outcome<Stored> {
        let gone = || Failure::Final(crate::StoreError::NotFound(id.clone()));
        let raw = self.db.find(id).await?.ok_or_else(gone)?;
        Ok(blocking(move || decode(&raw)).await?)
    }

    /// Moves entries that a crash left at a version of another blueprint; returns whether there were any.
    pub(super) async fn move_strays(&self, contents: &Contents) -> Outcome<bool> {
        let strays = if self.guards.elements { Vec::new() } else { contents.strays() };
        for stray in &strays {
            self.move_on(stray).await?;
        }
        Ok(!strays.is_empty())
    }
}

impl Contents {
    /// Entries at a version that another blueprint has had.
    fn strays(&self) -> Vec<Arc<SealedEntry>> {
        let superseded: std::collections::BTreeSet<Version> =
            self.sound.iter().flat_map(|stored| stored.supersedes.iter().copied()).collect();
        let is_stray = |stored: &&Stored| superseded.contains(&stored.sealed.entry().version);
        self.sound.iter().filter(is_stray).map(|stored| Arc::clone(&stored.sealed)).collect()
    }
}
