//! An entry with its encoding and its leaf: encoded once, then shared.

use std::{
    io,
    sync::{Arc, OnceLock},
};

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
    DOCUMENT_FIELD, Encoded, Entry, EntryHeader, InvalidEntry, Source,
    body::Body,
    own,
};
use crate::clock::Timestamp;

impl Entry {
    /// Encodes once, for every later use.
    #[must_use]
    pub fn seal(self) -> Arc<SealedEntry> {
        let header = header::encode(&self);
        let encoded = encode(&header, self.document.bytes());
        Arc::new(SealedEntry::of(self.header(), encoded, leaf_of(&header)))
    }
}

/// Memory of an entry beside its texts, bytes: its other fields, and its places in the maps and trees of a view.
const BESIDE: usize = 512;

/// An entry together with its leaf digest and its encoding. Shared by reference; its content never changes.
///
/// Its fields stay in memory. The bytes of its encoding, document included, are in memory until a store has written them
/// ([`SealedEntry::stored_at`]) and needs the room ([`SealedEntry::evict`]); from then on they are read from the store's file.
#[derive(Debug)]
pub struct SealedEntry {
    entry: EntryHeader,
    leaf: Leaf,
    /// Length of the encoding, bytes.
    length: usize,
    body: Body,
    /// Whether the document is JSON; computed on demand.
    is_json: OnceLock<bool>,
}

impl PartialEq for SealedEntry {
    fn eq(&self, other: &Self) -> bool {
        // The leaf covers every byte of the encoding.
        self.entry == other.entry && self.leaf == other.leaf
    }
}

impl Eq for SealedEntry {}

impl SealedEntry {
    fn of(entry: EntryHeader, encoded: Bytes, leaf: Leaf) -> Self {
        let length = encoded.len();
        Self { entry, leaf, length, body: Body::of(encoded), is_json: OnceLock::new() }
    }

    /// Memory of the entry once its encoding is stored, bytes: an upper bound, so that limits hold.
    #[must_use]
    pub fn memory(&self) -> u64 {
        // The encoding has every text, and more.
        (self.length - self.entry.document.length() + BESIDE) as u64
    }

    /// Memory of the entry while its document is in memory, bytes: an upper bound.
    #[must_use]
    pub fn memory_with_document(&self) -> u64 {
        self.memory().saturating_add(self.entry.document.length() as u64)
    }

    /// Notes where a store has written the encoding.
    pub fn stored_at(&self, source: Arc<dyn Source>, offset: u64) {
        self.body.stored_at(source, offset);
    }

    /// Forgets the bytes in memory, if the encoding is stored.
    pub fn evict(&self) {
        self.body.evict();
    }

    /// Whether a store has written the encoding.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.body.is_stored()
    }

    /// Whether the bytes are in memory.
    #[must_use]
    pub fn is_recent(&self) -> bool {
        self.body.recent().is_some()
    }

    /// Decodes and checks an entry from the wire or a store.
    ///
    /// Bytes that equal this node's own encoding are kept; others (unknown fields, another field order) are encoded again, so
    /// that equal entries have equal bytes and leaves everywhere.
    ///
    /// # Errors
    /// [`InvalidEntry`] when undecodable, out of limits, of another register, or with a wrong checksum.
    pub fn decode(encoded: Bytes) -> Result<Arc<Self>, InvalidEntry> {
        if let Some((entry, header)) = own::read(&encoded) {
            let leaf = leaf_of(&encoded[..header]);
            return Ok(Arc::new(Self::of(entry, encoded, leaf)));
        }
        Self::decode_any(encoded)
    }

    /// As [`SealedEntry::decode`], of any encoding.
    pub(super) fn decode_any(encoded: Bytes) -> Result<Arc<Self>, InvalidEntry> {
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
        Ok(Arc::new(Self::of(entry.header(), encoded, leaf)))
    }

    /// The entry without its document.
    #[must_use]
    pub const fn entry(&self) -> &EntryHeader {
        &self.entry
    }

    /// Length of [`SealedEntry::encoded`], bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Its `SystemRegisterEntry` in protobuf.
    #[must_use]
    pub fn encoded(&self) -> Encoded {
        self.body.encoded(self.length)
    }

    /// Its document.
    #[must_use]
    pub fn document(&self) -> Encoded {
        self.encoded().last(self.entry.document.length())
    }

    /// The entry with its document. It may wait for a disk.
    ///
    /// # Errors
    /// As [`Encoded::read`]; [`io::ErrorKind::InvalidData`] where the stored document is not the one that was sealed.
    pub fn whole(&self) -> io::Result<Entry> {
        let document = Document::from_received(self.document().read()?);
        if document.fingerprint() != self.entry.document {
            return Err(self.damaged());
        }
        Ok(self.entry.with(document))
    }

    /// The encoding, read and checked byte for byte. It may wait for a disk.
    ///
    /// # Errors
    /// As [`SealedEntry::whole`].
    pub fn checked(&self) -> io::Result<Bytes> {
        let encoded = match self.encoded() {
            Encoded::Held(encoded) => return Ok(encoded),
            stored @ Encoded::Stored { .. } => stored.read()?,
        };
        match Self::decode(encoded.clone()) {
            Ok(sealed) if sealed.leaf == self.leaf && sealed.encoded().len() == encoded.len() => Ok(encoded),
            _ => Err(self.damaged()),
        }
    }

    /// The error of an entry whose stored bytes are not those that were sealed.
    #[must_use]
    pub fn damaged(&self) -> io::Error {
        let EntryHeader { blueprint_id, version, .. } = &self.entry;
        let why = format!(
            "what is stored of blueprint {blueprint_id} at version {version} was changed since this node has read it; restart \
             the node: it checks everything when it starts"
        );
        io::Error::new(io::ErrorKind::InvalidData, why)
    }

    /// As [`SealedEntry::is_json`], if that was called before.
    #[must_use]
    pub fn known_as_json(&self) -> Option<bool> {
        self.is_json.get().copied()
    }

    /// Whether the document is JSON; a foreign central node may send others. The first call parses it, and may wait for a disk.
    ///
    /// # Errors
    /// As [`Encoded::read`].
    pub fn is_json(&self) -> io::Result<bool> {
        if let Some(known) = self.known_as_json() {
            return Ok(known);
        }
        let document = self.whole()?.document;
        let is_json = |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        Ok(*self.is_json.get_or_init(|| std::str::from_utf8(document.bytes()).is_ok_and(is_json)))
    }

    /// As [`SealedEntry::preview`], if that was called before and the bytes are still in memory.
    #[must_use]
    pub fn known_preview(&self) -> Option<Bytes> {
        self.body.recent()?.preview.get().cloned()
    }

    /// The preview of the document for push notices, at most 4 KB. The first call parses the document, and may wait for a disk.
    ///
    /// # Errors
    /// As [`Encoded::read`].
    pub fn preview(&self) -> io::Result<Bytes> {
        let of = |document: Encoded| document.read().map(|document| preview::of(&document));
        match self.body.recent() {
            None => of(self.document()),
            Some(recent) => match recent.preview.get() {
                Some(known) => Ok(known.clone()),
                None => of(self.document()).map(|made| recent.preview.get_or_init(|| made).clone()),
            },
        }
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
