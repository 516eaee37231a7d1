//! Codec of an entry as a document of the collection (protocol section 7).
//!
//! Three fields are additions to the original contract: `traceParent`, `versions` and `entryHash`, which covers every other
//! field. Empty optional fields are absent.
//!
//! `versions` lists every version that the entry accounts for, ascending: those that the blueprint had before, and its own. A
//! unique index on it keeps superseded versions from being assigned again, and readers see from it that no version is missing.

use std::sync::Arc;

use mongodb::bson::{
    Binary, DateTime, RawArrayBuf, RawDocument, RawDocumentBuf, raw::cstr, spec::BinarySubtype,
};
use sha2::{Digest as _, Sha256};
use sorcha_proto::REGISTER_ID;
use sorcha_register::{
    canonical::Document,
    entry::{Entry, SealedEntry},
    integrity::{Fault, Finding},
    names::{BlueprintId, InvalidField, Leaf, Version},
};

use super::{
    document::{self, escape_key},
    fields::{Fields, damaged, decode_versions},
};
use crate::StoreError;

/// MongoDB's limit on one document, bytes.
pub(super) const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;
/// Part of it that a publication leaves free for later deprecations and reactivations, bytes: each adds a number to `versions`.
pub(super) const STATE_CHANGE_BYTES: usize = 64 * 1024;

/// An entry read from the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) sealed: Arc<SealedEntry>,
    /// Versions that its blueprint had before, ascending.
    pub(super) supersedes: Vec<Version>,
}

/// A blueprint's document in BSON, verified to decode to the exact bytes.
///
/// # Errors
/// [`StoreError::Unstorable`] when it does not.
pub(super) fn encode_document(id: &BlueprintId, json: &Document) -> Result<RawDocumentBuf, StoreError> {
    let unstorable = |why: String| {
        StoreError::Unstorable(format!("MongoDB can't keep the document of blueprint {id}: {why}"))
    };
    let bson = document::to_bson(json.bytes()).map_err(|error| unstorable(error.to_string()))?;
    let back = document::to_json(&bson).map_err(|error| unstorable(error.to_string()))?;
    if back != *json.bytes() {
        return Err(unstorable(
            "it is not canonical JSON (RFC 8785), so its exact bytes would be lost".to_owned(),
        ));
    }
    Ok(bson)
}

/// The document of the collection that holds an entry; `json` is its blueprint in BSON.
///
/// # Errors
/// [`StoreError::Unstorable`] when it is larger than MongoDB takes.
pub(super) fn encode(
    sealed: &SealedEntry,
    supersedes: &[Version],
    json: &RawDocument,
) -> Result<RawDocumentBuf, StoreError> {
    let entry = sealed.entry();
    let mut out = RawDocumentBuf::new();
    out.append(cstr!("_id"), entry.blueprint_id.as_str());
    out.append(cstr!("registerId"), REGISTER_ID);
    out.append(cstr!("document"), json);
    out.append(cstr!("publishedAt"), DateTime::from_millis(entry.published_at.as_millis()));
    out.append(cstr!("publishedBy"), entry.published_by());
    out.append(cstr!("version"), entry.version.get());
    out.append(cstr!("isActive"), entry.is_active);
    if !entry.transaction_id().is_empty() {
        out.append(cstr!("publicationTransactionId"), entry.transaction_id());
    }
    out.append(cstr!("checksum"), entry.document.checksum().to_string());
    if entry.metadata().next().is_some() {
        out.append(cstr!("metadata"), encode_metadata(entry.metadata())?);
    }
    if !entry.trace_parent().is_empty() {
        out.append(cstr!("traceParent"), entry.trace_parent());
    }
    let versions = supersedes.iter().chain([&entry.version]).map(|version| version.get());
    out.append(cstr!("versions"), versions.collect::<RawArrayBuf>());
    out.append(cstr!("entryHash"), binary(&entry_hash(sealed.leaf(), supersedes)));
    check_size(&entry.blueprint_id, out.as_bytes().len(), MAX_DOCUMENT_BYTES - STATE_CHANGE_BYTES)?;
    Ok(out)
}

fn encode_metadata<'m>(
    metadata: impl Iterator<Item = (&'m str, &'m str)>,
) -> Result<RawDocumentBuf, StoreError> {
    let mut out = RawDocumentBuf::new();
    for (key, value) in metadata {
        out.append(escape_key(key).map_err(|error| StoreError::Unstorable(error.to_string()))?, value);
    }
    Ok(out)
}

/// Checks the size of an entry's document in the database.
///
/// # Errors
/// [`StoreError::Unstorable`] naming the size and MongoDB's limit.
pub(super) fn check_size(id: &BlueprintId, actual: usize, max: usize) -> Result<(), StoreError> {
    if actual <= max {
        return Ok(());
    }
    Err(StoreError::Unstorable(format!(
        "blueprint {id} takes {actual} bytes in BSON; MongoDB's limit is {MAX_DOCUMENT_BYTES} bytes for one \
         document, of which {STATE_CHANGE_BYTES} are reserved for later changes of state"
    )))
}

/// Bytes as BSON of subtype Generic, the only one in use.
pub(super) fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// SHA-256 over the leaf, which covers every field of the entry, and the superseded versions.
pub(super) fn entry_hash(leaf: Leaf, supersedes: &[Version]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"sorcha-mongo-entry-v1\0");
    hasher.update(leaf.as_bytes());
    for version in supersedes {
        hasher.update(version.get().to_be_bytes());
    }
    hasher.finalize().into()
}

/// Reads and verifies a document of the collection.
///
/// # Errors
/// A [`Finding`] that names the fault, and version and id as far as they are readable.
pub(super) fn decode(raw: &RawDocument) -> Result<Stored, Finding> {
    decode_fields(raw).map_err(|fault| Finding {
        version: stated_version(raw),
        blueprint_id: stated_id(raw),
        fault,
    })
}

/// The version that a document states, whether it verifies or not.
pub(super) fn stated_version(raw: &RawDocument) -> Option<Version> {
    Version::new("version", raw.get_i64("version").ok()?).ok()
}

/// The versions that a document states to account for, whether it verifies or not.
pub(super) fn stated_versions(raw: &RawDocument) -> Vec<Version> {
    raw.get_array("versions").ok().and_then(|array| decode_versions(array).ok()).unwrap_or_default()
}

fn stated_id(raw: &RawDocument) -> Option<BlueprintId> {
    BlueprintId::new(raw.get_str("_id").ok()?).ok()
}

fn decode_fields(raw: &RawDocument) -> Result<Stored, Fault> {
    let mut fields = Fields::read(raw)?;
    let json = document::to_json(fields.object("document")?).map_err(|error| damaged("document", &error))?;
    let json = Document::from_received(json.into());
    if fields.text("registerId")? != REGISTER_ID {
        return Err(Fault::Damaged(format!("its registerId is not {REGISTER_ID}")));
    }
    if fields.text("checksum")? != json.checksum().to_string() {
        return Err(Fault::Damaged(format!(
            "its checksum does not fit its document, whose SHA-256 is {}",
            json.checksum()
        )));
    }
    let entry = Entry {
        blueprint_id: BlueprintId::new(fields.text("_id")?).map_err(|error| invalid(&error))?,
        version: Version::new("version", fields.int64("version")?).map_err(|error| invalid(&error))?,
        document: json,
        published_at: fields.date("publishedAt")?,
        published_by: fields.text("publishedBy")?.to_owned(),
        is_active: fields.boolean("isActive")?,
        transaction_id: fields.optional_text("publicationTransactionId")?,
        metadata: fields.metadata()?,
        trace_parent: fields.optional_text("traceParent")?,
    };
    let supersedes = fields.versions_before(entry.version)?;
    let hash = fields.bytes("entryHash")?;
    fields.expect_no_others()?;
    entry.validate().map_err(|error| invalid(&error))?;
    let sealed = entry.seal();
    if hash != entry_hash(sealed.leaf(), &supersedes) {
        Err(Fault::Altered)
    } else {
        Ok(Stored { sealed, supersedes })
    }
}

fn invalid(error: &InvalidField) -> Fault {
    Fault::Damaged(error.to_string())
}

#[cfg(test)]
mod tests;
