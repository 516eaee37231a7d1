//! A register in one file: what `register export` writes and `register import` and `restore` read.
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
//! ```
//! Integers are big-endian. Nothing follows the hash. The hash finds damage, not forgery: what says whose register
//! it is, is the genesis signature.

mod reader;
mod writer;

use crate::{
    clock::Timestamp,
    register::{
        entry::InvalidEntry,
        limits,
        lineage::{Genesis, InvalidGenesis},
        names::{BlueprintId, InvalidField, RegisterDigest, Version},
        view::RegisterView,
    },
};

pub use reader::{Bundle, Reader, read};
pub use writer::{Writer, write};

/// First bytes of every bundle.
pub const MAGIC: [u8; 16] = *b"SORCHA-BUNDLE\r\n\x1a";
/// The one format version so far.
pub const FORMAT_VERSION: u32 = 1;

/// Largest genesis record.
const GENESIS_BYTES: usize = 64 * 1024;
/// Largest encoded entry: a document and what surrounds it.
const ENTRY_BYTES: usize = limits::DOCUMENT_BYTES + 64 * 1024;
/// Longest `created_by`, bytes: the contract counts characters.
const NODE_ID_BYTES: usize = limits::NODE_ID_CHARS * 4;
/// Highest head version: the register digest takes memory for each version up to it.
const MAX_HEAD: i64 = 1 << 26;

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

/// What a bundle says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which register it is.
    pub genesis: Genesis,
    /// Which entries it holds.
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

/// Why a bundle is not readable.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are not a sound bundle.
    #[error("the bundle is not sound at byte {offset}: {problem}")]
    Refused {
        /// Where the thing that is wrong begins.
        offset: u64,
        /// What is wrong.
        #[source]
        problem: Problem,
    },
    /// The bytes can't be had.
    #[error("read the bundle at byte {offset}: {source}")]
    Io {
        /// Where.
        offset: u64,
        /// Why.
        source: std::io::Error,
    },
}

/// Why a bundle can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It would not be readable.
    #[error("the bundle can't be written: {0}")]
    Refused(#[source] Problem),
    /// The bytes can't be stored.
    #[error("write the bundle: {0}")]
    Io(#[from] std::io::Error),
}

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Another kind of file.
    #[error("this is not a register bundle; a file that `register export` wrote begins with SORCHA-BUNDLE")]
    Magic,
    /// A format that this program does not know.
    #[error("the format version is {0}; this program reads version {FORMAT_VERSION}, use a newer one")]
    FormatVersion(u32),
    /// An unknown scope.
    #[error("the scope is {0}; 0 (whole) and 1 (active only) are known")]
    Scope(u8),
    /// The file ends too early.
    #[error("the file ends inside {0}; it was cut off")]
    CutOff(&'static str),
    /// A length is out of bounds.
    #[error("{what} has {length} bytes; the limit is {max}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length.
        length: u64,
        /// The limit.
        max: usize,
    },
    /// There is no genesis, so that nobody could tell which register it is.
    #[error("the register has no sound genesis record, and a bundle without one belongs to no register")]
    NoGenesis,
    /// The genesis does not verify.
    #[error(transparent)]
    Genesis(InvalidGenesis),
    /// A field of the header breaks its limit.
    #[error(transparent)]
    Field(InvalidField),
    /// The head version is beyond what a node could hold.
    #[error("the head version is {0}; the limit is {MAX_HEAD}")]
    Head(i64),
    /// `created_by` is not text.
    #[error("created_by is not UTF-8")]
    NotText,
    /// An entry does not verify.
    #[error("entry {number}: {source}")]
    Entry {
        /// Which one, from 1.
        number: u64,
        /// Why.
        source: InvalidEntry,
    },
    /// An entry is in another encoding than this program's.
    #[error("entry {number} is not in the encoding that nodes write")]
    Encoding {
        /// Which one, from 1.
        number: u64,
    },
    /// Versions don't ascend, or pass the head.
    #[error("entry {number} has version {version}; it must be above {above} and at most {head}")]
    Order {
        /// Which one, from 1.
        number: u64,
        /// Its version.
        version: Version,
        /// The version before it.
        above: Version,
        /// The head version.
        head: Version,
    },
    /// A blueprint twice.
    #[error("entry {number} is blueprint {id} for the second time")]
    Twice {
        /// Which one, from 1.
        number: u64,
        /// The blueprint.
        id: BlueprintId,
    },
    /// A deprecated entry in a bundle of active ones.
    #[error("entry {number} is deprecated, in a bundle of active entries")]
    Inactive {
        /// Which one, from 1.
        number: u64,
    },
    /// Too many or too few entries.
    #[error("the header states {stated} entries, there {}", found(*.actual, *.stated))]
    Count {
        /// What the header states.
        stated: u64,
        /// What is there, as far as was read.
        actual: u64,
    },
    /// The hash does not fit.
    #[error("the SHA-256 at the end does not fit what comes before it; the bundle was damaged or changed")]
    Hash,
    /// The digest does not fit the entries.
    #[error("the header states register digest {stated}, the entries give {actual}")]
    Digest {
        /// What the header states.
        stated: RegisterDigest,
        /// What the entries give.
        actual: RegisterDigest,
    },
    /// Something follows.
    #[error("there is more after the end of the bundle")]
    Trailing,
}

fn found(actual: u64, stated: u64) -> String {
    if actual > stated { "are more".to_owned() } else { format!("are {actual}") }
}

/// The rules that entries keep among each other; reader and writer share them.
#[derive(Debug)]
struct Sequence {
    scope: Scope,
    head: Version,
    stated: u64,
    number: u64,
    last: Version,
    seen: std::collections::HashSet<BlueprintId>,
}

impl Sequence {
    fn new(header: &Header) -> Self {
        let (scope, head, stated) = (header.scope, header.head, header.count);
        Self { scope, head, stated, number: 0, last: Version::ZERO, seen: std::collections::HashSet::new() }
    }

    /// Number of the entry that comes next, from 1.
    const fn next_number(&self) -> u64 {
        self.number + 1
    }

    fn take(&mut self, entry: &crate::register::entry::Entry) -> Result<(), Problem> {
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
        if !self.seen.insert(entry.blueprint_id.clone()) {
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
