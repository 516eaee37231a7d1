//! An entry without its document, in the form in which a register holds it in memory.

use std::collections::BTreeMap;

use super::{
    super::{
        canonical::{Document, Fingerprint},
        names::{BlueprintId, Version},
    },
    Entry,
    texts::Texts,
};
use crate::clock::Timestamp;

/// An entry without the bytes of its document. All its texts but the id are in one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// As [`Entry::blueprint_id`].
    pub blueprint_id: BlueprintId,
    /// As [`Entry::version`].
    pub version: Version,
    /// Identifies the document.
    pub document: Fingerprint,
    /// As [`Entry::published_at`].
    pub published_at: Timestamp,
    /// As [`Entry::is_active`].
    pub is_active: bool,
    /// Publisher, transaction id and trace parent; then keys and values of the metadata in turn.
    pub(super) texts: Texts,
}

/// Texts before those of the metadata.
const NAMED: usize = 3;

impl EntryHeader {
    pub(super) fn of(entry: &Entry) -> Self {
        let named = [&entry.published_by, &entry.transaction_id, &entry.trace_parent];
        let metadata = entry.metadata.iter().flat_map(|(key, value)| [key, value]);
        Self {
            blueprint_id: entry.blueprint_id.clone(),
            version: entry.version,
            document: entry.document.fingerprint(),
            published_at: entry.published_at,
            is_active: entry.is_active,
            texts: Texts::of(named.into_iter().chain(metadata).map(String::as_str)),
        }
    }

    /// The entry with its document.
    pub(super) fn with(&self, document: Document) -> Entry {
        Entry {
            blueprint_id: self.blueprint_id.clone(),
            version: self.version,
            document,
            published_at: self.published_at,
            published_by: self.published_by().to_owned(),
            is_active: self.is_active,
            transaction_id: self.transaction_id().to_owned(),
            metadata: self.metadata_map(),
            trace_parent: self.trace_parent().to_owned(),
        }
    }

    /// As [`Entry::published_by`].
    #[must_use]
    pub fn published_by(&self) -> &str {
        self.texts.at(0)
    }

    /// As [`Entry::transaction_id`].
    #[must_use]
    pub fn transaction_id(&self) -> &str {
        self.texts.at(1)
    }

    /// As [`Entry::trace_parent`].
    #[must_use]
    pub fn trace_parent(&self) -> &str {
        self.texts.at(2)
    }

    /// As [`Entry::metadata`].
    #[must_use]
    pub fn metadata_map(&self) -> BTreeMap<String, String> {
        self.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// As [`Entry::metadata`], in the order of the keys.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.texts.iter().skip(NAMED);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// Time of the publication, or of the deprecation or reactivation after it: from the UUIDv7 transaction id, or the
    /// publication instant where the id is no UUIDv7.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        let stamped = uuid::Uuid::parse_str(self.transaction_id()).ok().and_then(|id| id.get_timestamp());
        let millis = stamped.and_then(|stamp| {
            let (seconds, nanos) = stamp.to_unix();
            i64::try_from(seconds.checked_mul(1000)?.checked_add(u64::from(nanos / 1_000_000))?).ok()
        });
        millis.map_or(self.published_at, Timestamp::from_millis).max(self.published_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::testing::entry;

    proptest! {
        #[test]
        fn a_header_has_every_field_of_its_entry(
            texts in proptest::array::uniform3(".{0,300}"),
            metadata in proptest::collection::btree_map(".{0,20}", ".{0,200}", 0..6),
            is_active in any::<bool>(),
        ) {
            let mut whole = entry("a", 7);
            [whole.published_by, whole.transaction_id, whole.trace_parent] = texts;
            (whole.metadata, whole.is_active) = (metadata, is_active);
            let header = whole.header();
            prop_assert_eq!(header.published_by(), &whole.published_by);
            prop_assert_eq!(header.transaction_id(), &whole.transaction_id);
            prop_assert_eq!(header.trace_parent(), &whole.trace_parent);
            prop_assert!(header.metadata().eq(whole.metadata.iter().map(|(key, value)| (&**key, &**value))));
            prop_assert_eq!(header.with(whole.document.clone()), whole);
        }
    }
}
