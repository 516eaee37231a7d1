//! The two writes of publications: one inserts a document, one moves it to its next version. Both fail when another node has
//! taken the version.

use mongodb::bson::{Document, RawDocumentBuf, doc};
use sorcha_register::{entry::EntryHeader, names::Version};

use super::{
    super::{
        MongoStore, Outcome,
        entry_codec::{MAX_DOCUMENT_BYTES, Stored, binary, check_size, encode, entry_hash, stated_version},
        errors::Failure,
    },
    Tries,
};
use crate::{Draft, Publication, StateChange, disk::read_error};

/// What a change of state adds to a document beside its texts: the names of fields that were absent, one number
/// in `versions`.
const CHANGE_OVERHEAD_BYTES: usize = 128;

impl MongoStore {
    /// `None` when the id or the version is taken.
    pub(super) async fn insert(
        &self,
        draft: &Draft,
        json: &RawDocumentBuf,
        tries: &mut Tries,
    ) -> Outcome<Option<Publication>> {
        let sealed = draft.clone().at(self.next_version().await?).seal();
        let document = encode(&sealed, &[], json)?;
        tries.uncertain.push(sealed.leaf());
        match self.db.bounded(self.db.entries.insert_one(document)).await {
            Ok(_) => Ok(Some(Publication { entry: sealed, changed: true })),
            Err(failure) => self.raced(sealed.entry(), None, failure, tries).await.map(|()| None),
        }
    }

    /// Checks after a failed write whether another node won the race, which the stored state shows: it differs from `before`.
    /// Servers report it with different codes, or not at all.
    ///
    /// # Errors
    /// The failure, if it has another cause.
    async fn raced(
        &self,
        entry: &EntryHeader,
        before: Option<Version>,
        failure: Failure,
        tries: &mut Tries,
    ) -> Outcome<()> {
        match failure {
            Failure::Duplicate => {
                tries.uncertain.pop();
                Ok(())
            }
            Failure::Retry(error) => Err(Failure::Retry(error)),
            other => {
                let found = self.db.find(&entry.blueprint_id).await?;
                let stored = found.map(|raw| stated_version(&raw).unwrap_or_default());
                if stored == before && self.db.head().await? < entry.version {
                    return Err(other);
                }
                let (reason, version) = (other.into_error(), entry.version);
                tracing::debug!(%reason, %version, "a write failed; the version is taken");
                Ok(())
            }
        }
    }

    pub(super) async fn update(
        &self,
        change: &StateChange,
        stored: Stored,
        size: usize,
        tries: &mut Tries,
    ) -> Outcome<Option<Publication>> {
        let before = stored.sealed.entry();
        let version = self.next_version().await?;
        if version <= before.version {
            return Ok(None);
        }
        let grown = size + change.transaction_id.len() + change.trace_parent.len() + CHANGE_OVERHEAD_BYTES;
        check_size(&change.blueprint_id, grown, MAX_DOCUMENT_BYTES)?;
        let whole = stored.sealed.whole().map_err(|error| read_error(&error))?;
        let sealed = change.applied_to(whole, version).seal();
        let supersedes = [&stored.supersedes[..], &[before.version]].concat();
        let filter = doc! { "_id": change.blueprint_id.as_str(), "version": before.version.get() };
        tries.uncertain.push(sealed.leaf());
        let update = state_update(sealed.entry(), entry_hash(sealed.leaf(), &supersedes));
        match self.db.bounded(self.db.entries.update_one(filter, update)).await {
            Ok(result) if result.matched_count == 1 => Ok(Some(Publication { entry: sealed, changed: true })),
            Ok(_) => {
                tries.uncertain.pop();
                Ok(None)
            }
            Err(failure) => {
                self.raced(sealed.entry(), Some(before.version), failure, tries).await.map(|()| None)
            }
        }
    }
}

/// The one update that moves a blueprint to its next version.
fn state_update(entry: &EntryHeader, hash: [u8; 32]) -> Document {
    let mut set =
        doc! { "version": entry.version.get(), "isActive": entry.is_active, "entryHash": binary(&hash) };
    let mut unset = Document::new();
    for (key, text) in
        [("publicationTransactionId", entry.transaction_id()), ("traceParent", entry.trace_parent())]
    {
        if text.is_empty() {
            unset.insert(key, "");
        } else {
            set.insert(key, text);
        }
    }
    let mut update = doc! { "$set": set, "$push": { "versions": entry.version.get() } };
    // Servers before 5.0 refuse an empty one.
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    update
}
