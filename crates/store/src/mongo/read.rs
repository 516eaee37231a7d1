//! Reads entries, and verifies them while more arrive.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use mongodb::{
    action::{Action as _, Find},
    bson::{Document, RawDocument, RawDocumentBuf, doc},
};
use sorcha_register::{
    integrity::Finding,
    names::{BlueprintId, Version},
};
use tokio::sync::mpsc;

use super::{
    database::Database,
    entry_codec::{Stored, decode, stated_version, stated_versions},
    errors::{Failure, Outcome},
};
use crate::{StoreError, spill::Spill};

/// Documents in one reply of a server that does not limit replies to 16 MiB: two of the largest fit a message.
const SMALL_BATCH: u32 = 2;
/// Documents in the queue of the verifier.
const VERIFY_QUEUE: usize = 8;

/// A document of the collection: a verified entry, or its finding and the versions that it claims.
pub(super) enum Verified {
    Sound(Stored),
    Unsound { finding: Finding, versions: Vec<Version> },
}

impl Verified {
    fn new(raw: &RawDocument, spill: &Spill) -> Self {
        match decode(raw) {
            Ok(stored) => {
                spill.keep(&stored.sealed);
                Self::Sound(stored)
            }
            Err(finding) => Self::Unsound { finding, versions: stated_versions(raw) },
        }
    }
}

impl Database {
    /// Reads and verifies all documents that match, by version.
    pub(super) async fn read(&self, filter: Document, limit: usize) -> Outcome<Vec<Verified>> {
        loop {
            let batch = self.batch.load(Ordering::Relaxed);
            match self.read_in_batches(filter.clone(), limit, batch).await {
                Err(Failure::Oversize(_)) if batch > SMALL_BATCH => {
                    tracing::debug!(
                        "this server does not limit the size of its replies; reading in small batches from now on"
                    );
                    self.batch.store(SMALL_BATCH, Ordering::Relaxed);
                }
                result => return result,
            }
        }
    }

    async fn read_in_batches(&self, filter: Document, limit: usize, batch: u32) -> Outcome<Vec<Verified>> {
        let (documents, mut queue) = mpsc::channel::<RawDocumentBuf>(VERIFY_QUEUE);
        let spill = Arc::clone(&self.spill);
        let verifier = tokio::task::spawn_blocking(move || {
            std::iter::from_fn(|| queue.blocking_recv()).map(|raw| Verified::new(&raw, &spill)).collect()
        });
        let limit = i64::try_from(limit).ok();
        let find = self.entries.find(filter).sort(doc! { "version": 1 }).batch_size(batch);
        let mut cursor = self.bounded(find.optional(limit, Find::limit)).await?;
        while self.bounded(cursor.advance()).await? {
            // The verifier runs until the channel is closed, unless it panicked: the join below shows it.
            if documents.send(cursor.current().to_owned()).await.is_err() {
                break;
            }
        }
        drop(documents);
        Ok(verifier.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
    }

    /// Stored versions of blueprints.
    pub(super) async fn versions(
        &self,
        ids: impl IntoIterator<Item = &BlueprintId>,
    ) -> Outcome<BTreeMap<BlueprintId, Version>> {
        let ids: Vec<_> = ids.into_iter().map(BlueprintId::as_str).collect();
        let batch = u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1);
        let find = self
            .entries
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "version": 1 })
            .batch_size(batch);
        let mut cursor = self.bounded(find).await?;
        let mut versions = BTreeMap::new();
        while self.bounded(cursor.advance()).await? {
            let raw = cursor.current();
            match (raw.get_str("_id").ok().and_then(|id| BlueprintId::new(id).ok()), stated_version(raw)) {
                (Some(id), Some(version)) => _ = versions.insert(id, version),
                _ => {
                    return Err(
                        StoreError::Damaged(format!("an entry without a readable version: {raw:?}")).into()
                    );
                }
            }
        }
        Ok(versions)
    }
}
