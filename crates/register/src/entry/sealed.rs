//! An entry with its encoding and its leaf: encoded once, then shared.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::{Message as _, encoding};
use sha2::{Digest as _, Sha256};
use sorcha_proto::{REGISTER_ID, v1::SystemRegisterEntry};

use super::{
    super::{
        canonical::Document,
        header,
        names::{BlueprintId, Leaf, Version},
        preview,
    },
    Entry, InvalidEntry,
};
use crate::clock::Timestamp;

/// Protobuf field number of `SystemRegisterEntry.blueprint_document`.
const DOCUMENT_FIELD: u32 = 3;
impl Entry {
    /// Encodes once, for every later use.
    #[must_use]
    pub fn seal(self) -> Arc<SealedEntry> {
        let header = header::encode(&self);
        let encoded = encode(&header, self.document.bytes());
        Arc::new(SealedEntry::of(self, encoded, leaf_of(&header)))
    }
}

/// Memory of an entry beside its encoding, bytes: its fields, and its places in the maps and trees of a view.
const BESIDE: usize = 1536;
/// Memory of a key of the metadata and its value beside their text, bytes.
const BESIDE_METADATA: usize = 160;

/// An entry together with its encoded bytes and its leaf digest. Immutable, shared by reference.
#[derive(Debug)]
pub struct SealedEntry {
    entry: Entry,
    encoded: Bytes,
    leaf: Leaf,
    /// Whether the document is JSON; computed on demand.
    is_json: OnceLock<bool>,
    /// The preview of the document; computed on demand.
    preview: OnceLock<Bytes>,
}

impl PartialEq for SealedEntry {
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry && self.encoded == other.encoded && self.leaf == other.leaf
    }
}

impl Eq for SealedEntry {}

impl SealedEntry {
    /// An entry with its encoding, whose last bytes are the document.
    fn of(entry: Entry, encoded: Bytes, leaf: Leaf) -> Self {
        let document = entry.document.at_the_end_of(&encoded);
        let entry = Entry { document, ..entry };
        Self { entry, encoded, leaf, is_json: OnceLock::new(), preview: OnceLock::new() }
    }

    /// Memory of the entry, bytes: an upper bound, so that limits hold.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let parts = self.encoded.len() + BESIDE + self.entry.metadata.len() * BESIDE_METADATA;
        u64::try_from(parts).unwrap_or(u64::MAX)
    }

    /// Decodes and checks an entry from the wire or a store.
    ///
    /// Bytes that equal this node's own encoding are kept; others (unknown fields, another field order) are encoded again, so
    /// that equal entries have equal bytes and leaves everywhere.
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
        let header = header::encode(&entry);
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

    /// As [`SealedEntry::is_json`], if that was called before.
    #[must_use]
    pub fn known_as_json(&self) -> Option<bool> {
        self.is_json.get().copied()
    }

    /// Whether the document is JSON; a foreign central node may send others. The first call parses it.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let is_json = |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        *self.is_json.get_or_init(|| std::str::from_utf8(self.entry.document.bytes()).is_ok_and(is_json))
    }

    /// As [`SealedEntry::preview`], if that was called before.
    #[must_use]
    pub fn known_preview(&self) -> Option<&Bytes> {
        self.preview.get()
    }

    /// The preview of the document for push notices, at most 4 KB. The first call parses the document.
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
