//! One entry of the register, its encoded form, and the rules every entry keeps (protocol section 3.3).

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::{Message as _, encoding};
use sha2::{Digest as _, Sha256};
use sorcha_proto::{REGISTER_ID, v1::SystemRegisterEntry};

use super::{
    canonical::Document,
    header, limits,
    names::{BlueprintId, Checksum, InvalidField, Leaf, Version, check_length},
    preview,
};
use crate::clock::Timestamp;

/// Protobuf field number of `SystemRegisterEntry.blueprint_document`.
const DOCUMENT_FIELD: u32 = 3;

/// A published blueprint as the register holds it.
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
pub enum InvalidEntry {
    /// Not a protobuf `SystemRegisterEntry`.
    #[error("the entry is not decodable: {0}")]
    Encoding(#[from] prost::DecodeError),
    /// A field breaks its limit or pattern.
    #[error(transparent)]
    Field(#[from] InvalidField),
    /// It belongs to another register.
    #[error("register_id is {found:?}; expected {REGISTER_ID}")]
    Register {
        /// What was found.
        found: String,
    },
    /// The checksum does not fit the document.
    #[error("checksum {stated:?} does not fit the document, whose SHA-256 is {actual}")]
    Checksum {
        /// The checksum the entry states.
        stated: String,
        /// The checksum of the bytes.
        actual: Checksum,
    },
}

impl Entry {
    /// Checks every field against the contract's limits.
    ///
    /// # Errors
    /// [`InvalidField`] naming the first field that breaks its limit.
    pub fn validate(&self) -> Result<(), InvalidField> {
        if self.version == Version::ZERO {
            return Err(InvalidField::Range { field: "version", actual: "0".into(), expected: "1 or more" });
        }
        let document = self.document.bytes().len();
        if document == 0 {
            return Err(InvalidField::Empty { field: "blueprint_document", max: limits::DOCUMENT_BYTES });
        }
        if document > limits::DOCUMENT_BYTES {
            return Err(too_many_bytes("blueprint_document", document, limits::DOCUMENT_BYTES));
        }
        check_published_by(&self.published_by)?;
        check_length("publication_transaction_id", &self.transaction_id, limits::TRANSACTION_ID_CHARS)?;
        check_length("trace_parent", &self.trace_parent, limits::TRACE_PARENT_CHARS)?;
        check_metadata(&self.metadata)
    }

    /// When this state of the entry came to be: the publication, or the deprecation or reactivation after it, by
    /// the time in its UUIDv7 transaction id; the publication instant where that id is none of ours.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        let stamped = uuid::Uuid::parse_str(&self.transaction_id).ok().and_then(|id| id.get_timestamp());
        let millis = stamped.and_then(|stamp| {
            let (seconds, nanos) = stamp.to_unix();
            i64::try_from(seconds.checked_mul(1000)?.checked_add(u64::from(nanos / 1_000_000))?).ok()
        });
        millis.map_or(self.published_at, Timestamp::from_millis).max(self.published_at)
    }

    /// Encodes once, for every later use.
    #[must_use]
    pub fn seal(self) -> Arc<SealedEntry> {
        let header = self.header();
        let encoded = encode(&header, self.document.bytes());
        Arc::new(SealedEntry::of(self, encoded, leaf_of(&header)))
    }

    /// Everything but the document, in protobuf; the checksum stands for the document.
    fn header(&self) -> Vec<u8> {
        header::encode(self)
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
    check_metadata_bytes(metadata.iter().map(|(key, value)| key.len() + value.len()).sum())
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

/// Bytes that an entry takes beside its encoding: its fields, and its places in the maps and trees of a view.
const BESIDE: usize = 1536;
/// Bytes that a key of the metadata takes with its value, beside their text.
const BESIDE_METADATA: usize = 160;

/// An entry together with its encoded bytes and its leaf digest. Immutable, shared by reference.
#[derive(Debug)]
pub struct SealedEntry {
    entry: Entry,
    encoded: Bytes,
    leaf: Leaf,
    /// Whether the document is JSON, once that was asked.
    is_json: OnceLock<bool>,
    /// The preview of the document, once that was asked for.
    preview: OnceLock<Bytes>,
}

impl PartialEq for SealedEntry {
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry && self.encoded == other.encoded && self.leaf == other.leaf
    }
}

impl Eq for SealedEntry {}

impl SealedEntry {
    /// An entry with its encoding, which the document ends.
    fn of(entry: Entry, encoded: Bytes, leaf: Leaf) -> Self {
        let document = entry.document.at_the_end_of(&encoded);
        let entry = Entry { document, ..entry };
        Self { entry, encoded, leaf, is_json: OnceLock::new(), preview: OnceLock::new() }
    }

    /// Memory that it takes while it is held, bytes: at least what it really takes, so that limits hold.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let parts = self.encoded.len() + BESIDE + self.entry.metadata.len() * BESIDE_METADATA;
        u64::try_from(parts).unwrap_or(u64::MAX)
    }

    /// Decodes and checks an entry from the wire or a store.
    ///
    /// Bytes that this node would have encoded itself are kept as they are; others (unknown fields, another
    /// field order) are encoded anew, so that equal entries have equal bytes and leaves everywhere.
    ///
    /// # Errors
    /// [`InvalidEntry`] when undecodable, out of limits, of another register, or with a wrong checksum.
    pub fn decode(encoded: Bytes) -> Result<Arc<Self>, InvalidEntry> {
        let message = SystemRegisterEntry::decode(encoded.clone())?;
        if message.register_id != REGISTER_ID {
            return Err(InvalidEntry::Register { found: message.register_id });
        }
        let document = Document::from_received(message.blueprint_document);
        // The checksum may be left empty (protocol D11); a stated one must fit.
        if !message.checksum.is_empty() && message.checksum != document.checksum().text().as_str() {
            return Err(InvalidEntry::Checksum { stated: message.checksum, actual: document.checksum() });
        }
        let entry = Entry {
            blueprint_id: BlueprintId::new(message.blueprint_id)?,
            version: Version::new("version", message.version)?,
            document,
            published_at: Timestamp::from_millis(message.published_at),
            published_by: message.published_by,
            is_active: message.is_active,
            transaction_id: message.publication_transaction_id,
            metadata: message.metadata,
            trace_parent: message.trace_parent,
        };
        entry.validate()?;
        let header = entry.header();
        let leaf = leaf_of(&header);
        let encoded = if is_encoding_of(&encoded, &header, entry.document.bytes()) {
            encoded
        } else {
            encode(&header, entry.document.bytes())
        };
        Ok(Arc::new(Self::of(entry, encoded, leaf)))
    }

    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its `SystemRegisterEntry` in protobuf.
    #[must_use]
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Whether the document is JSON, where that is known.
    #[must_use]
    pub fn known_as_json(&self) -> Option<bool> {
        self.is_json.get().copied()
    }

    /// Whether the document is JSON: of a central node of another make it need not be. It is read through once.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let is_json = |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        *self.is_json.get_or_init(|| std::str::from_utf8(self.entry.document.bytes()).is_ok_and(is_json))
    }

    /// The preview of the document, where it was made already.
    #[must_use]
    pub fn known_preview(&self) -> Option<&Bytes> {
        self.preview.get()
    }

    /// The preview of the document that push notices carry: at most 4 KB. The document is read through once.
    #[must_use]
    pub fn preview(&self) -> &Bytes {
        self.preview.get_or_init(|| preview::of(self.entry.document.bytes()))
    }

    /// Its digest: covers every field and, through the checksum, every byte of the document.
    #[must_use]
    pub const fn leaf(&self) -> Leaf {
        self.leaf
    }
}

/// The encoding is the header with the document field appended: any field order is valid protobuf, and this one
/// needs no second pass over the document.
fn encode(header: &[u8], document: &Bytes) -> Bytes {
    let mut buffer = BytesMut::with_capacity(header.len() + document.len() + 16);
    buffer.put_slice(header);
    encoding::bytes::encode(DOCUMENT_FIELD, document, &mut buffer);
    buffer.freeze()
}

fn is_encoding_of(encoded: &Bytes, header: &[u8], document: &Bytes) -> bool {
    encoded.starts_with(header)
        && encoded.ends_with(document)
        && encoded.len() == header.len() + encoding::bytes::encoded_len(DOCUMENT_FIELD, document)
}

fn leaf_of(header: &[u8]) -> Leaf {
    let mut hasher = Sha256::new();
    hasher.update(b"sorcha-register-entry-v1\0");
    hasher.update(header);
    Leaf::from_bytes(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::entry;

    #[test]
    fn a_document_is_held_once_and_nothing_of_what_it_came_in() {
        let is_within = |sealed: &SealedEntry| {
            sealed.encoded().as_ptr_range().contains(&sealed.entry().document.bytes().as_ptr())
        };
        let sealed = entry("a", 1).seal();
        assert!(is_within(&sealed));
        // A field that nobody knows, 4 bytes: the entry is encoded anew without it.
        let received = [&[0xfa, 0x7f, 0x01, 0x00][..], sealed.encoded()].concat();
        let decoded = SealedEntry::decode(received.into()).unwrap();
        assert!(decoded == sealed && is_within(&decoded));
    }

    #[test]
    fn a_state_change_has_its_own_time() {
        let mut entry = entry("a", 1);
        assert_eq!(entry.changed_at(), entry.published_at);
        let later = entry.published_at.as_millis() + 86_400_000;
        let id = uuid::Builder::from_unix_timestamp_millis(later.unsigned_abs(), &[7; 10]).into_uuid();
        entry.transaction_id = id.to_string();
        assert_eq!(entry.changed_at(), Timestamp::from_millis(later));
    }

    #[test]
    fn sealed_and_decoded_are_the_same_without_a_copy() {
        let sealed = entry("a", 1).seal();
        let decoded = SealedEntry::decode(sealed.encoded().clone()).unwrap();
        assert_eq!(decoded, sealed);
        assert_eq!(decoded.encoded().as_ptr(), sealed.encoded().as_ptr());
    }

    #[test]
    fn another_encoder_gives_the_same_leaf() {
        let sealed = entry("a", 1).seal();
        let mut message = SystemRegisterEntry::decode(sealed.encoded().clone()).unwrap();
        message.checksum = String::new();
        let mut foreign = message.encode_to_vec();
        foreign.extend_from_slice(&[0xfa, 0x3e, 0x01, b'x']); // an unknown field, number 1007
        let decoded = SealedEntry::decode(foreign.into()).unwrap();
        assert_eq!(decoded.leaf(), sealed.leaf());
        assert_eq!(decoded.encoded(), sealed.encoded());
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let sealed = entry("a", 1).seal();
        for bit in 0..sealed.encoded().len() * 8 {
            let mut bytes = sealed.encoded().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bytes = Bytes::from(bytes);
            if let Ok(decoded) = SealedEntry::decode(bytes.clone()) {
                let noticed = decoded.leaf() != sealed.leaf() || decoded.encoded() != &bytes;
                assert!(noticed, "bit {bit} flipped unnoticed");
            }
        }
    }

    #[test]
    fn limits_are_enforced_with_the_field_named() {
        type Breaks = fn(&mut Entry);
        let broken: [(&str, Breaks); 5] = [
            ("published_by", |e| e.published_by = String::new()),
            ("published_by", |e| e.published_by = "x".repeat(256)),
            ("metadata", |e| _ = e.metadata.insert("k".into(), "v".repeat(4096))),
            ("version", |e| e.version = Version::ZERO),
            ("publication_transaction_id", |e| e.transaction_id = "x".repeat(256)),
        ];
        for (field, break_it) in broken {
            let mut entry = entry("a", 1);
            break_it(&mut entry);
            let message = SealedEntry::decode(entry.seal().encoded().clone()).unwrap_err().to_string();
            assert!(message.contains(field), "{field}: {message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_header_is_the_protobuf_of_all_fields_but_the_document(
            (text, published_by, trace_parent) in (".{0,300}", ".{0,40}", ".{0,60}"),
            metadata in proptest::collection::btree_map(".{0,20}", ".{0,40}", 0..4),
            (published_at, version, is_active) in (proptest::num::i64::ANY, 1i64..60_000_000, proptest::bool::ANY),
        ) {
            let mut entry = entry("a", version);
            (entry.transaction_id, entry.published_by, entry.trace_parent) = (text, published_by, trace_parent);
            (entry.metadata, entry.is_active) = (metadata, is_active);
            entry.published_at = Timestamp::from_millis(published_at);
            let message = SystemRegisterEntry {
                blueprint_id: entry.blueprint_id.to_string(),
                register_id: REGISTER_ID.to_owned(),
                blueprint_document: Bytes::new(),
                published_at,
                published_by: entry.published_by.clone(),
                version,
                is_active,
                publication_transaction_id: entry.transaction_id.clone(),
                checksum: entry.document.checksum().to_string(),
                metadata: entry.metadata.clone(),
                trace_parent: entry.trace_parent.clone(),
            };
            proptest::prop_assert_eq!(entry.header(), message.encode_to_vec());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            drop(SealedEntry::decode(bytes.into()));
        }
    }
}
