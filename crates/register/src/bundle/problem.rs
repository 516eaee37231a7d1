//! Errors of bundles.

use super::SIGNED;
use crate::{
    entry::InvalidEntry,
    lineage::InvalidGenesis,
    names::{BlueprintId, InvalidField, RegisterDigest, Version},
};

/// Why a bundle is not readable.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum ReadError {
    /// The bytes are not a sound bundle.
    #[error("the bundle is not sound at byte {offset}: {problem}")]
    Refused {
        offset: u64,
        #[source]
        problem: Problem,
    },
    /// The input fails.
    #[error("read the bundle at byte {offset}: {source}")]
    Io { offset: u64, source: std::io::Error },
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

/// What is wrong with a bundle. Entries are numbered from 1.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum Problem {
    /// Another kind of file.
    #[error("this is not a register bundle; a file that `register export` wrote begins with SORCHA-BUNDLE")]
    Magic,
    /// A format that this program does not know.
    #[error("the format version is {0}; this program reads versions up to {SIGNED}, use a newer one")]
    FormatVersion(u32),
    /// An unknown scope.
    #[error("the scope is {0}; 0 (whole) and 1 (active only) are known")]
    Scope(u8),
    /// The file ends too early.
    #[error("the file ends inside {0}; it was cut off")]
    CutOff(&'static str),
    /// A length is out of bounds.
    #[error("{what} has {length} bytes; the limit is {max}")]
    TooLong { what: &'static str, length: u64, max: usize },
    /// There is no genesis, so that the register cannot be identified.
    #[error("the register has no sound genesis record, and a bundle without one belongs to no register")]
    NoGenesis,
    /// The genesis does not verify.
    #[error(transparent)]
    Genesis(InvalidGenesis),
    /// A field of the header breaks its limit.
    #[error(transparent)]
    Field(InvalidField),
    /// `created_by` is not text.
    #[error("created_by is not UTF-8")]
    NotText,
    /// An entry does not verify.
    #[error("entry {number}: {source}")]
    Entry { number: u64, source: InvalidEntry },
    /// An entry is in another encoding than this program's.
    #[error("entry {number} is not in the encoding that nodes write")]
    Encoding { number: u64 },
    /// Versions don't ascend, or pass the head.
    #[error("entry {number} has version {version}; it must be above {above} and at most {head}")]
    Order { number: u64, version: Version, above: Version, head: Version },
    /// A blueprint twice.
    #[error("entry {number} is blueprint {id} for the second time")]
    Twice { number: u64, id: BlueprintId },
    /// A deprecated entry in a bundle of active ones.
    #[error("entry {number} is deprecated, in a bundle of active entries")]
    Inactive { number: u64 },
    /// Too many or too few entries.
    #[error("the header states {stated} entries, there {}", found(*.actual, *.stated))]
    Count { stated: u64, actual: u64 },
    /// The hash does not fit.
    #[error("the SHA-256 at the end does not fit what comes before it; the bundle was damaged or changed")]
    Hash,
    /// The signature is not of the genesis's key.
    #[error(
        "the signature at the end is not by the key that signed the genesis; the bundle was changed or made up"
    )]
    Signature,
    /// The digest does not fit the entries.
    #[error("the header states register digest {stated}, the entries give {actual}")]
    Digest { stated: RegisterDigest, actual: RegisterDigest },
    /// Something follows.
    #[error("there is more after the end of the bundle")]
    Trailing,
}

fn found(actual: u64, stated: u64) -> String {
    if actual > stated { "are more".to_owned() } else { format!("are {actual}") }
}
