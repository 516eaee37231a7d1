//! One entry of the register, its encoded form, and the rules every entry keeps (protocol section 3.3).

mod body;
mod encoded;
mod header;
mod own;
mod sealed;
mod texts;

use std::collections::BTreeMap;

use sorcha_proto::REGISTER_ID;

pub use self::{
    encoded::{Encoded, Source},
    header::EntryHeader,
    sealed::SealedEntry,
};
use super::{
    canonical::Document,
    limits,
    names::{BlueprintId, Checksum, InvalidField, Version, check_length},
};
use crate::clock::Timestamp;

/// Protobuf field number of `SystemRegisterEntry.blueprint_document`.
const DOCUMENT_FIELD: u32 = 3;

/// A published blueprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key; one entry per blueprint.
    pub blueprint_id: BlueprintId,
    /// Register-wide version of this entry's newest state; deprecation and reactivation take a new one (protocol D20).
    pub version: Version,
    /// The document; never changes once published.
    pub document: Document,
    /// Publication instant.
    pub published_at: Timestamp,
    /// Who published: user id or `system`.
    pub published_by: String,
    /// False once deprecated.
    pub is_active: bool,
    /// Audit link of the publication; may be empty.
    pub transaction_id: String,
    /// Extra pairs such as category, tags, author, licence.
    pub metadata: BTreeMap<String, String>,
    /// W3C `traceparent` of the publication; empty when it was not traced.
    pub trace_parent: String,
}

/// Why an entry is refused or found damaged.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum InvalidEntry {
    /// Not a protobuf `SystemRegisterEntry`.
    #[error("the entry is not decodable: {0}")]
    Encoding(#[from] prost::DecodeError),
    /// A field breaks its limit or pattern.
    #[error(transparent)]
    Field(#[from] InvalidField),
    /// It belongs to another register.
    #[error("register_id is {found:?}; expected {REGISTER_ID}")]
    Register { found: String },
    /// The checksum does not fit the document.
    #[error("checksum {stated:?} does not fit the document, whose SHA-256 is {actual}")]
    Checksum { stated: String, actual: Checksum },
}

impl Entry {
    /// Checks every field against the contract's limits.
    ///
    /// # Errors
    /// [`InvalidField`] naming the first field that breaks its limit.
    pub fn validate(&self) -> Result<(), InvalidField> {
        let limited = Limited {
            version: self.version,
            document: self.document.bytes().len(),
            published_by: &self.published_by,
            transaction_id: &self.transaction_id,
            trace_parent: &self.trace_parent,
            metadata: size_of_metadata(&self.metadata),
        };
        limited.check()
    }

    /// The entry without the bytes of its document.
    #[must_use]
    pub fn header(&self) -> EntryHeader {
        EntryHeader::of(self)
    }
}

/// What the contract limits of an entry: numbers are sizes in bytes.
struct Limited<'e> {
    version: Version,
    document: usize,
    published_by: &'e str,
    transaction_id: &'e str,
    trace_parent: &'e str,
    metadata: usize,
}

impl Limited<'_> {
    fn check(&self) -> Result<(), InvalidField> {
        if self.version == Version::ZERO {
            return Err(InvalidField::Range { field: "version", actual: "0".into(), expected: "1 or more" });
        }
        if self.document == 0 {
            return Err(InvalidField::Empty { field: "blueprint_document", max: limits::DOCUMENT_BYTES });
        }
        if self.document > limits::DOCUMENT_BYTES {
            return Err(too_many_bytes("blueprint_document", self.document, limits::DOCUMENT_BYTES));
        }
        check_published_by(self.published_by)?;
        check_length("publication_transaction_id", self.transaction_id, limits::TRANSACTION_ID_CHARS)?;
        check_length("trace_parent", self.trace_parent, limits::TRACE_PARENT_CHARS)?;
        check_metadata_bytes(self.metadata)
    }
}

/// Checks `published_by`: required, at most 255 characters.
///
/// # Errors
/// [`InvalidField`] when empty or too long.
pub fn check_published_by(value: &str) -> Result<(), InvalidField> {
    if value.is_empty() {
        return Err(InvalidField::Empty { field: "published_by", max: limits::PUBLISHED_BY_CHARS });
    }
    check_length("published_by", value, limits::PUBLISHED_BY_CHARS)
}

/// Checks a metadata map: less than 4 KB of keys and values in all (protocol D28).
///
/// # Errors
/// [`InvalidField::TooLong`] with the size found.
pub fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), InvalidField> {
    check_metadata_bytes(size_of_metadata(metadata))
}

fn size_of_metadata(metadata: &BTreeMap<String, String>) -> usize {
    metadata.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Checks the size of a metadata map.
///
/// # Errors
/// [`InvalidField::TooLong`] with the size found.
pub const fn check_metadata_bytes(size: usize) -> Result<(), InvalidField> {
    if size > limits::METADATA_BYTES {
        return Err(too_many_bytes("metadata", size, limits::METADATA_BYTES));
    }
    Ok(())
}

const fn too_many_bytes(field: &'static str, actual: usize, max: usize) -> InvalidField {
    InvalidField::TooLong { field, actual, max, unit: "bytes" }
}

#[cfg(test)]
mod tests;
