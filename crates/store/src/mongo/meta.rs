//! What a register has beside its entries, in the collection `<collection>_meta`:
//!
//! | `_id` | holds |
//! |---|---|
//! | `genesis` | the exact signed bytes, the lineage, and a readable copy |
//! | `head` | the newest version that some node has published; finds a register whose end was cut off |
//! | `checkpoint` | replica: its position and the seal over its entries |
//! | `applying` | replica: the version that entries are being replaced on the way to |
//! | `restored` | where a restore left versions out: up to which one, and how many entries there were |
//! | `replacing` | those above of a register that is about to take this one's place |
//! | `owner` | whether a register or a replica lies here, and whose the replica is |

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
/// What is wrong with it, in words.
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

/// Up to which version nothing but the entries of a restore is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Restored {
    pub(super) version: Version,
    /// Versions up to there that entries have, or have had since.
    pub(super) entries: u64,
}

/// The document that says what was restored.
pub(super) fn encode_restored(restored: &Restored) -> RawDocumentBuf {
    let mut out = encode_version(RESTORED, restored.version);
    out.append(cstr!("entries"), i64::try_from(restored.entries).unwrap_or(i64::MAX));
    append_hash(&mut out, b"sorcha-mongo-restored-v1\0");
    out
}

/// Reads what was restored; `None` when any byte of it is not as it was written.
pub(super) fn decode_restored(raw: &RawDocument) -> Option<Restored> {
    let restored = Restored {
        version: Version::new("version", raw.get_i64("version").ok()?).ok()?,
        entries: u64::try_from(raw.get_i64("entries").ok()?).ok()?,
    };
    (encode_restored(&restored).as_bytes() == raw.as_bytes()).then_some(restored)
}

/// A replica's position with the seal over what it holds there; no seal over a register that has findings.
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

/// Ends a record with the hash over everything in it.
fn append_hash(out: &mut RawDocumentBuf, kind: &[u8]) {
    let hash: [u8; 32] = Sha256::new().chain_update(kind).chain_update(out.as_bytes()).finalize().into();
    out.append(cstr!("hash"), binary(&hash));
}

/// Reads a replica's position; `None` when any byte of it is not as it was written.
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

/// A register that is about to take the place of the present one.
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
/// [`StoreError::Damaged`] when it is not as it was written.
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
mod tests {
    use super::*;
    use crate::contract::{checkpoint, version};
    use sorcha_register::{
        testing::{entry, genesis},
        view::RegisterView,
    };

    fn position() -> Position {
        let view = RegisterView::with_entries(None, vec![entry("a", 1).seal()], version(4));
        let checkpoint = Checkpoint { adopt: Some(genesis(1).lineage()), ..checkpoint(4) };
        Position { checkpoint, seal: Some(view.seal()) }
    }

    fn flips(good: &RawDocument) -> impl Iterator<Item = RawDocumentBuf> {
        (0..good.as_bytes().len() * 8).filter_map(|bit| {
            let mut bytes = good.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            RawDocumentBuf::from_bytes(bytes).ok()
        })
    }

    #[test]
    fn a_position_comes_back_and_no_flipped_bit_goes_unnoticed() {
        for position in [
            position(),
            Position { seal: None, ..position() },
            Position { checkpoint: checkpoint(0), ..position() },
        ] {
            let good = encode_position(&position);
            assert_eq!(decode_position(&good), Some(position));
            assert!(flips(&good).all(|bad| decode_position(&bad).is_none()));
        }
    }

    #[test]
    fn what_was_restored_comes_back_and_no_flipped_bit_goes_unnoticed() {
        let restored = Restored { version: version(1_000_000_004), entries: 3 };
        let good = encode_restored(&restored);
        assert_eq!(decode_restored(&good), Some(restored));
        assert!(flips(&good).all(|bad| decode_restored(&bad).is_none()));
    }

    #[test]
    fn a_genesis_comes_back_and_no_flipped_bit_goes_unnoticed() {
        let good = encode_genesis(&genesis(1)).unwrap();
        assert_eq!(decode_genesis(&good).unwrap(), genesis(1));
        let administrators = good
            .get_document("record")
            .unwrap()
            .get_document("record")
            .unwrap()
            .get_document("controlRecord");
        assert!(administrators.unwrap().get_array("administrators").is_ok(), "people can read it");
        assert!(flips(&good).step_by(7).all(|bad| decode_genesis(&bad).is_err()));
    }

    #[test]
    fn a_replacement_comes_back_and_no_flipped_bit_goes_unnoticed() {
        for replacement in [
            Replacement {
                genesis: Some(genesis(1)),
                position: Some(position()),
                restored: None,
                head: version(4),
            },
            Replacement {
                genesis: Some(genesis(1)),
                position: None,
                restored: Some(Restored { version: version(9), entries: 3 }),
                head: version(9),
            },
            Replacement { genesis: None, position: None, restored: None, head: Version::ZERO },
        ] {
            let good = encode_replacement(&replacement).unwrap();
            assert_eq!(decode_replacement(&good).unwrap(), replacement);
            assert!(flips(&good).step_by(3).all(|bad| decode_replacement(&bad).is_err()));
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_documents_are_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            // The length and the end that every document has; what lies between may be anything.
            let length = i32::try_from(bytes.len() + 5).unwrap().to_le_bytes();
            let document = [&length[..], &bytes, &[0]].concat();
            if let Ok(raw) = RawDocumentBuf::from_bytes(document) {
                proptest::prop_assert!(decode_position(&raw).is_none() && decode_restored(&raw).is_none());
                proptest::prop_assert!(decode_genesis(&raw).is_err() && decode_replacement(&raw).is_err());
                proptest::prop_assert!(crate::mongo::entry_codec::decode(&raw).is_err());
            }
        }
    }
}
