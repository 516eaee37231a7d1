//! Bundles: a register in one file, written by `register export`, read by `register import` and `restore`.
//!
//! ```text
//! magic            16 bytes, with line ends and a control character that text conversion would damage
//! format version   u32
//! scope            u8: 0 whole, 1 active entries only
//! genesis          u32 length, bytes (canonical JSON of the signed record)
//! head version     i64
//! register digest  32 bytes, over head version and active entries
//! entry count      u64
//! created_at       i64, Unix milliseconds
//! created_by       u32 length, UTF-8
//! entries          each u32 length (never 0), an encoded SystemRegisterEntry; ascending by version
//! end of entries   u32 0
//! SHA-256          32 bytes, over everything before
//! signature        64 bytes, in format version 2: Ed25519 over "sorcha-bundle-2" and the hash, by the key that signed the genesis
//! ```
//! Integers are big-endian. Nothing follows. The hash detects damage, not forgery. Only the key that signed the genesis can sign
//! a bundle; nodes without it, such as peers, write format version 1.

mod problem;
mod reader;
mod writer;

use std::collections::HashSet;

use crate::{
    clock::Timestamp,
    entry::EntryHeader,
    limits,
    lineage::Genesis,
    names::{BlueprintId, RegisterDigest, Version},
    view::RegisterView,
};

pub use problem::{Problem, ReadError, WriteError};
pub use reader::{Bundle, Reader, read};
pub use writer::Writer;

/// First bytes of every bundle.
pub const MAGIC: [u8; 16] = *b"SORCHA-BUNDLE\r\n\x1a";
/// Format version of a bundle without a signature.
pub const UNSIGNED: u32 = 1;
/// Format version of a bundle with one.
pub(crate) const SIGNED: u32 = 2;

/// Prefix of the signed bytes, before the hash.
const DOMAIN: &[u8] = b"sorcha-bundle-2";
const SIGNATURE_BYTES: usize = 64;

/// Largest genesis record.
const GENESIS_BYTES: usize = 64 * 1024;
/// Largest encoded entry: a document and its header.
const ENTRY_BYTES: usize = limits::DOCUMENT_BYTES + 64 * 1024;
/// Longest `created_by`, bytes: the contract counts characters.
const NODE_ID_BYTES: usize = limits::NODE_ID_CHARS * 4;

/// Which entries a bundle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that the exporter held, deprecated entries included.
    Whole,
    /// Active entries only, as a full sync carries them.
    ActiveOnly,
}

impl Scope {
    /// Whether a bundle of this scope holds an entry in this state.
    #[must_use]
    pub const fn holds(self, is_active: bool) -> bool {
        matches!(self, Self::Whole) || is_active
    }
}

/// The header of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Genesis of the register.
    pub genesis: Genesis,
    /// Entries included.
    pub scope: Scope,
    /// Head version of the register.
    pub head: Version,
    /// Digest of the register at that version; the same for both scopes.
    pub digest: RegisterDigest,
    /// Entries in the bundle.
    pub count: u64,
    /// When it was written.
    pub created_at: Timestamp,
    /// Node id of the exporter.
    pub created_by: String,
}

impl Header {
    /// The header of a bundle of `view`.
    ///
    /// # Errors
    /// [`WriteError::Refused`] when the view has no genesis.
    pub fn of(
        view: &RegisterView,
        scope: Scope,
        created_by: &str,
        now: Timestamp,
    ) -> Result<Self, WriteError> {
        let genesis = view.genesis().ok_or(WriteError::Refused(Problem::NoGenesis))?;
        let count = match scope {
            Scope::Whole => view.len(),
            Scope::ActiveOnly => view.active(),
        };
        Ok(Self {
            genesis: Genesis::clone(genesis),
            scope,
            head: view.head(),
            digest: view.digest(),
            count: count as u64,
            created_at: now,
            created_by: created_by.to_owned(),
        })
    }
}

fn signed_bytes(hash: &[u8]) -> Vec<u8> {
    [DOMAIN, hash].concat()
}

/// Rules for the sequence of entries; reader and writer share them.
#[derive(Debug)]
struct Sequence {
    scope: Scope,
    head: Version,
    stated: u64,
    number: u64,
    last: Version,
    /// Ids so far; `None` where no id can occur twice.
    seen: Option<HashSet<BlueprintId>>,
}

impl Sequence {
    fn new(header: &Header) -> Self {
        let (scope, head, stated) = (header.scope, header.head, header.count);
        Self { scope, head, stated, number: 0, last: Version::ZERO, seen: Some(HashSet::new()) }
    }

    fn of_view(header: &Header) -> Self {
        Self { seen: None, ..Self::new(header) }
    }

    /// Number of the entry that comes next, from 1.
    const fn next_number(&self) -> u64 {
        self.number + 1
    }

    fn take(&mut self, entry: &EntryHeader) -> Result<(), Problem> {
        let number = self.next_number();
        if number > self.stated {
            return Err(Problem::Count { stated: self.stated, actual: number });
        }
        let version = entry.version;
        if version <= self.last || version > self.head {
            return Err(Problem::Order { number, version, above: self.last, head: self.head });
        }
        if !self.scope.holds(entry.is_active) {
            return Err(Problem::Inactive { number });
        }
        if self.seen.as_mut().is_some_and(|seen| !seen.insert(entry.blueprint_id.clone())) {
            return Err(Problem::Twice { number, id: entry.blueprint_id.clone() });
        }
        (self.number, self.last) = (number, version);
        Ok(())
    }

    const fn end(&self) -> Result<(), Problem> {
        if self.number == self.stated {
            return Ok(());
        }
        Err(Problem::Count { stated: self.stated, actual: self.number })
    }
}

#[cfg(test)]
mod tests;
