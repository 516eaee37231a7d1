//! One entry as a document of the contract's collection (protocol section 7), and back.
//!
//! Beside the contract's fields there are three of ours: `traceParent`, `versions` and `entryHash`, which covers
//! every other field. Optional fields are absent when empty, never present and empty.
//!
//! `versions` lists every version that the entry accounts for, ascending: those that the blueprint had before, and
//! its own. Under a unique index it keeps a number from being given again after a deprecation has taken the
//! blueprint on to another, and it lets a reader see that no version is missing.

use std::{collections::BTreeMap, sync::Arc};

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
/// Part of it that a publication leaves free, so that the blueprint can be deprecated and reactivated later:
/// each change adds a number to `versions`.
pub(super) const STATE_CHANGE_BYTES: usize = 64 * 1024;

/// An entry read from the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The entry.
    pub(super) sealed: Arc<SealedEntry>,
    /// Versions that its blueprint had before, ascending.
    pub(super) supersedes: Vec<Version>,
}

/// A blueprint's document in BSON, known to give the exact bytes back.
///
/// # Errors
/// [`StoreError::Unstorable`] when it would not.
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
    out.append(cstr!("publishedBy"), entry.published_by.as_str());
    out.append(cstr!("version"), entry.version.get());
    out.append(cstr!("isActive"), entry.is_active);
    if !entry.transaction_id.is_empty() {
        out.append(cstr!("publicationTransactionId"), entry.transaction_id.as_str());
    }
    out.append(cstr!("checksum"), entry.document.checksum().to_string());
    if !entry.metadata.is_empty() {
        out.append(cstr!("metadata"), encode_metadata(&entry.metadata)?);
    }
    if !entry.trace_parent.is_empty() {
        out.append(cstr!("traceParent"), entry.trace_parent.as_str());
    }
    let versions = supersedes.iter().chain([&entry.version]).map(|version| version.get());
    out.append(cstr!("versions"), versions.collect::<RawArrayBuf>());
    out.append(cstr!("entryHash"), binary(&entry_hash(sealed.leaf(), supersedes)));
    check_size(&entry.blueprint_id, out.as_bytes().len(), MAX_DOCUMENT_BYTES - STATE_CHANGE_BYTES)?;
    Ok(out)
}

fn encode_metadata(metadata: &BTreeMap<String, String>) -> Result<RawDocumentBuf, StoreError> {
    let mut out = RawDocumentBuf::new();
    for (key, value) in metadata {
        out.append(
            escape_key(key).map_err(|error| StoreError::Unstorable(error.to_string()))?,
            value.as_str(),
        );
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
         document, of which {STATE_CHANGE_BYTES} are kept for later changes of state"
    )))
}

/// Bytes as BSON; no other subtype than Generic is used.
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
/// A [`Finding`] that names version and id, as far as they can be read, and what is wrong.
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
mod tests {
    use mongodb::bson::{Bson, Document as Bdoc, doc};

    use super::*;
    use crate::contract::{draft, id, version};
    use sorcha_register::testing::entry;

    fn raw(entry: Entry, supersedes: &[Version]) -> RawDocumentBuf {
        let json = encode_document(&entry.blueprint_id, &entry.document).unwrap();
        encode(&entry.seal(), supersedes, &json).unwrap()
    }

    fn full() -> Bdoc {
        let entry = draft("a", r#"{"$id":"a","n":1,"list":[1,{"x":null}]}"#).at(version(3));
        Bdoc::try_from(raw(entry, &[version(1), version(2)])).unwrap()
    }

    fn fault(document: Bdoc) -> Finding {
        decode(&RawDocumentBuf::try_from(document).unwrap()).unwrap_err()
    }

    #[test]
    fn has_the_contracts_keys_and_types() {
        let document = full();
        let keys: Vec<_> = document.keys().map(String::as_str).collect();
        let contract = [
            "_id",
            "registerId",
            "document",
            "publishedAt",
            "publishedBy",
            "version",
            "isActive",
            "publicationTransactionId",
            "checksum",
            "metadata",
        ];
        assert_eq!(keys[..10], contract);
        assert_eq!(keys[10..], ["traceParent", "versions", "entryHash"]);
        assert_eq!(document.get_i64("version").unwrap(), 3);
        assert_eq!(document.get_datetime("publishedAt").unwrap().timestamp_millis(), 1_700_000_000_123);
        assert_eq!(document.get_document("metadata").unwrap(), &doc! {"a．b$c": "é", "category": "test"});
        let mut bare = entry("a", 1);
        bare.transaction_id = String::new();
        bare.metadata.clear();
        let bare = Bdoc::try_from(raw(bare, &[])).unwrap();
        for absent in ["publicationTransactionId", "metadata", "traceParent"] {
            assert!(!bare.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn comes_back_the_same_in_any_order_of_fields() {
        let original = draft("a", r#"{"x":1}"#).at(version(2));
        let bytes = raw(original.clone(), &[version(1)]);
        let stored = decode(&bytes).unwrap();
        assert_eq!(stored, Stored { sealed: original.seal(), supersedes: vec![version(1)] });
        // Fields that an update adds come last.
        let mut fields: Vec<_> = Bdoc::try_from(bytes).unwrap().into_iter().collect();
        fields.reverse();
        let backwards: Bdoc = fields.into_iter().collect();
        assert_eq!(decode(&RawDocumentBuf::try_from(backwards).unwrap()).unwrap(), stored);
    }

    #[test]
    fn no_changed_field_goes_unnoticed() {
        let changes: Vec<(&str, Bson)> = vec![
            ("_id", "b".into()),
            ("registerId", "00000000-0000-0000-0000-000000000001".into()),
            ("document", doc! {"n": 1}.into()),
            ("document", doc! {"\u{ff04}id": "a", "n": 1_i64, "list": [1, {"x": null}]}.into()),
            ("document", doc! {"\u{ff04}id": "a", "list": [1, {"x": null}], "n": 2}.into()),
            ("publishedAt", DateTime::from_millis(1_700_000_000_124).into()),
            ("publishedAt", 1_700_000_000_123_i64.into()),
            ("publishedBy", "mallory".into()),
            ("version", 4_i64.into()),
            ("version", 3_i32.into()),
            ("isActive", false.into()),
            ("publicationTransactionId", "tx-b".into()),
            ("checksum", "sha256:00".into()),
            ("metadata", doc! {"category": "test", "a．b$c": "é"}.into()),
            ("metadata", doc! {"category": "test"}.into()),
            ("traceParent", "".into()),
            ("versions", vec![1_i64, 3].into()),
            ("versions", vec![2_i64, 1, 3].into()),
            ("versions", vec![1_i64, 2].into()),
            ("versions", Bson::Array(vec![])),
            ("entryHash", binary(&[0; 32]).into()),
            ("extra", 1.into()),
        ];
        for (key, value) in changes {
            let mut document = full();
            document.insert(key, value.clone());
            let finding = fault(document);
            assert_eq!(finding.version.is_some(), value != Bson::Int32(3), "{key}");
            assert_eq!(finding.blueprint_id, Some(id(if key == "_id" { "b" } else { "a" })));
        }
        for key in full().keys() {
            let mut document = full();
            document.remove(key);
            fault(document);
        }
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let good = raw(draft("a", r#"{"n":1,"list":[1.5,{"x":null}]}"#).at(version(3)), &[version(1)]);
        let stored = decode(&good).unwrap();
        for bit in 0..good.as_bytes().len() * 8 {
            let mut bytes = good.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(flipped) = RawDocumentBuf::from_bytes(bytes) else { continue };
            assert_ne!(decode(&flipped).ok(), Some(stored.clone()), "bit {bit} flipped unnoticed");
            assert!(decode(&flipped).is_err(), "bit {bit} gives another valid entry");
        }
    }

    #[test]
    fn what_mongodb_cannot_keep_is_refused_with_the_reason() {
        let not_canonical = Document::from_received(bytes::Bytes::from_static(b"{ }"));
        let refused = encode_document(&id("a"), &not_canonical).unwrap_err().to_string();
        assert!(refused.contains("blueprint a") && refused.contains("not canonical"), "{refused}");
        let json = format!(r#"{{"x":"{}"}}"#, "x".repeat(MAX_DOCUMENT_BYTES - STATE_CHANGE_BYTES));
        let large = draft("a", &json).at(version(1));
        let bson = encode_document(&large.blueprint_id, &large.document).unwrap();
        let refused = encode(&large.seal(), &[], &bson).unwrap_err().to_string();
        assert!(refused.contains("limit is 16777216 bytes"), "{refused}");
    }
}
