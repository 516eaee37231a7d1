//! Publications and changes of state, as publishers submit them and as stores answer.

use std::{collections::BTreeMap, sync::Arc};

use sorcha_register::{
    canonical::Document,
    clock::Timestamp,
    entry::{Entry, SealedEntry, check_metadata, check_published_by},
    limits,
    names::{BlueprintId, InvalidField, Version, check_length},
};

use super::StoreError;

/// A blueprint to publish; the store allocates its version.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Key of the new entry.
    pub blueprint_id: BlueprintId,
    /// Its document.
    pub document: Document,
    /// Publication instant.
    pub published_at: Timestamp,
    /// Publisher: user id or `system`.
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
    /// The blueprint.
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
    pub(crate) fn applied_to(&self, entry: Entry, version: Version) -> Entry {
        Entry {
            version,
            is_active: self.is_active,
            transaction_id: self.transaction_id.clone(),
            trace_parent: self.trace_parent.clone(),
            ..entry
        }
    }
}

/// Result of a publication or state change.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The entry as it is stored now.
    pub entry: Arc<SealedEntry>,
    /// False when nothing changed: the same bytes were published before, or the state is the same (ADR 28).
    pub changed: bool,
}

/// The version that the next publication takes.
///
/// # Errors
/// [`StoreError::Unstorable`] when the head is the greatest version that there can be.
pub(crate) fn next_version(head: Version) -> Result<Version, StoreError> {
    head.next().ok_or_else(|| {
        let why = format!(
            "the register is at version {head}, the greatest that there is, and takes no more publications; begin a new one"
        );
        StoreError::Unstorable(why)
    })
}
