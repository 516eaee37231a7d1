//! Records about a register in the collection `<collection>_meta`:
//!
//! | `_id` | holds |
//! |---|---|
//! | `genesis` | the exact signed bytes, the lineage, and a readable copy |
//! | `head` | the newest published version; shows that the end of a register is missing |
//! | `checkpoint` | replica: its position and the seal over its entries |
//! | `applying` | replica: target version of a batch that replaces entries |
//! | `restored` | after a restore: the version up to which versions may be missing, and the number of entries |
//! | `replacing` | the records above of a register that is about to replace this one |
//! | `owner` | kind of the database, register or replica, and the peer that owns the replica |

use mongodb::bson::{DateTime, RawBsonRef, RawDocument, RawDocumentBuf, raw::cstr, spec::BinarySubtype};
use sha2::{Digest as _, Sha256};
use sorcha_register::{
    clock::Timestamp,
    lineage::Genesis,
    names::{Lineage, RegisterDigest, Version},
    view::Seal,
};

use super::{document, entry_codec::binary};
use crate::{Checkpoint, StoreError};

pub(super) const GENESIS: &str = "genesis";
pub(super) const HEAD: &str = "head";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const APPLYING: &str = "applying";
pub(super) const RESTORED: &str = "restored";
pub(super) const REPLACING: &str = "replacing";
pub(super) const OWNER: &str = "owner";

/// The document that holds a genesis.
pub(super) fn encode_genesis(genesis: &Genesis) -> Result<RawDocumentBuf, StoreError> {
    let readable =
        document::to_bson(genesis.bytes()).map_err(|error| StoreError::Internal(error.to_string()))?;
    let mut out = with_id(GENESIS);
    out.append(cstr!("bytes"), binary(genesis.bytes()));
    out.append(cstr!("lineage"), genesis.lineage().to_string());
    out.append(cstr!("record"), readable);
    Ok(out)
}

/// Reads and verifies a genesis.
///
/// # Errors
/// The fault, as text.
pub(super) fn decode_genesis(raw: &RawDocument) -> Result<Genesis, String> {
    let bytes = generic(raw, "bytes").ok_or("its signed bytes are missing")?;
    let genesis = Genesis::verify(bytes.to_vec().into()).map_err(|error| error.to_string())?;
    match encode_genesis(&genesis) {
        Ok(expected) if expected.as_bytes() == raw.as_bytes() => Ok(genesis),
        _ => Err("its readable copy differs from the signed bytes".to_owned()),
    }
}

/// A document that holds a version: the head, or the version that is being applied.
pub(super) fn encode_version(id: &str, version: Version) -> RawDocumentBuf {
    let mut out = with_id(id);
    out.append(cstr!("version"), version.get());
    out
}

/// The range of a restore: up to `version` only restored entries are accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Restored {
    pub(super) version: Version,
    /// Versions of this range that entries have, or have had since.
    pub(super) entries: u64,
}

pub(super) fn encode_restored(restored: &Restored) -> RawDocumentBuf {
    let mut out = encode_version(RESTORED, restored.version);
    out.append(cstr!("entries"), i64::try_from(restored.entries).unwrap_or(i64::MAX));
    append_hash(&mut out, b"sorcha-mongo-restored-v1\0");
    out
}

/// Reads it; `None` when any byte differs from what was written.
pub(super) fn decode_restored(raw: &RawDocument) -> Option<Restored> {
    let restored = Restored {
        version: Version::new("version", raw.get_i64("version").ok()?).ok()?,
        entries: u64::try_from(raw.get_i64("entries").ok()?).ok()?,
    };
    (encode_restored(&restored).as_bytes() == raw.as_bytes()).then_some(restored)
}

/// A replica's position, with the seal over its entries there unless it has findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) checkpoint: Checkpoint,
    pub(super) seal: Option<Seal>,
}

/// The document that holds a replica's position.
pub(super) fn encode_position(position: &Position) -> RawDocumentBuf {
    let Position { checkpoint, seal } = position;
    let mut out = with_id(CHECKPOINT);
    out.append(cstr!("version"), checkpoint.version.get());
    out.append(cstr!("lastSyncTime"), DateTime::from_millis(checkpoint.last_sync_time.as_millis()));
    out.append(cstr!("nextSyncDue"), DateTime::from_millis(checkpoint.next_sync_due.as_millis()));
    out.append(cstr!("centralNodeId"), checkpoint.central_node_id.as_str());
    if let Some(lineage) = checkpoint.adopt {
        out.append(cstr!("adopt"), lineage.to_string());
    }
    if let Some(seal) = seal {
        out.append(cstr!("head"), seal.head.get());
        out.append(cstr!("totalBlueprints"), i64::try_from(seal.count).unwrap_or(i64::MAX));
        out.append(cstr!("digest"), binary(seal.held.as_bytes()));
    }
    append_hash(&mut out, b"sorcha-mongo-checkpoint-v1\0");
    out
}

/// Appends the hash over the whole record.
fn append_hash(out: &mut RawDocumentBuf, kind: &[u8]) {
    let hash: [u8; 32] = Sha256::new().chain_update(kind).chain_update(out.as_bytes()).finalize().into();
    out.append(cstr!("hash"), binary(&hash));
}

/// Reads a replica's position; `None` when any byte differs from what was written.
pub(super) fn decode_position(raw: &RawDocument) -> Option<Position> {
    let date = |key| raw.get_datetime(key).ok().map(|date| Timestamp::from_millis(date.timestamp_millis()));
    let version = |key| Version::new("version", raw.get_i64(key).ok()?).ok();
    let checkpoint = Checkpoint {
        version: version("version")?,
        last_sync_time: date("lastSyncTime")?,
        next_sync_due: date("nextSyncDue")?,
        central_node_id: raw.get_str("centralNodeId").ok()?.to_owned(),
        adopt: raw.get_str("adopt").ok().and_then(Lineage::from_hex),
    };
    let seal = || {
        let count = u64::try_from(raw.get_i64("totalBlueprints").ok()?).ok()?;
        Some(Seal {
            head: version("head")?,
            count,
            held: RegisterDigest::from_slice(generic(raw, "digest")?)?,
        })
    };
    let position = Position { checkpoint, seal: seal() };
    // Includes the hash, so that no field can have another value, type or place.
    (encode_position(&position).as_bytes() == raw.as_bytes()).then_some(position)
}

/// A register that is about to replace the present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replacement {
    pub(super) genesis: Option<Genesis>,
    pub(super) position: Option<Position>,
    pub(super) restored: Option<Restored>,
    pub(super) head: Version,
}

/// The document that holds a replacement.
pub(super) fn encode_replacement(replacement: &Replacement) -> Result<RawDocumentBuf, StoreError> {
    let mut out = encode_version(REPLACING, replacement.head);
    if let Some(genesis) = &replacement.genesis {
        out.append(cstr!("genesis"), encode_genesis(genesis)?);
    }
    if let Some(position) = &replacement.position {
        out.append(cstr!("checkpoint"), encode_position(position));
    }
    if let Some(restored) = &replacement.restored {
        out.append(cstr!("restored"), encode_restored(restored));
    }
    append_hash(&mut out, b"sorcha-mongo-replacement-v1\0");
    Ok(out)
}

/// Reads a replacement.
///
/// # Errors
/// [`StoreError::Damaged`] when any byte differs from what was written.
pub(super) fn decode_replacement(raw: &RawDocument) -> Result<Replacement, StoreError> {
    let damaged = |why: String| {
        StoreError::Damaged(format!("the record of an unfinished replacement of the register: {why}"))
    };
    let head = raw.get_i64("version").ok().and_then(|number| Version::new("version", number).ok());
    let replacement = Replacement {
        genesis: raw.get_document("genesis").ok().map(decode_genesis).transpose().map_err(damaged)?,
        position: match raw.get_document("checkpoint") {
            Ok(found) => Some(decode_position(found).ok_or_else(|| damaged("its checkpoint".to_owned()))?),
            Err(_) => None,
        },
        restored: raw.get_document("restored").ok().and_then(decode_restored),
        head: head.ok_or_else(|| damaged("its head".to_owned()))?,
    };
    // Includes the hash, so that no field can have another name, value, type or place.
    if encode_replacement(&replacement)?.as_bytes() == raw.as_bytes() {
        Ok(replacement)
    } else {
        Err(damaged("it is not as it was written".to_owned()))
    }
}

pub(super) fn with_id(id: &str) -> RawDocumentBuf {
    let mut out = RawDocumentBuf::new();
    out.append(cstr!("_id"), id);
    out
}

fn generic<'a>(raw: &'a RawDocument, key: &str) -> Option<&'a [u8]> {
    match raw.get(key) {
        Ok(Some(RawBsonRef::Binary(found))) if found.subtype == BinarySubtype::Generic => Some(found.bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
