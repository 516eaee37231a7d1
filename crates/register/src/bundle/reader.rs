//! Reads a bundle entry by entry and verifies all of it.

use std::{io::Read, sync::Arc};

use ed25519_dalek::Signature;
use sha2::{Digest as _, Sha256};

use super::{
    ENTRY_BYTES, GENESIS_BYTES, Header, MAGIC, NODE_ID_BYTES, Problem, ReadError, SIGNATURE_BYTES, SIGNED,
    Scope, Sequence, UNSIGNED, signed_bytes,
};
use crate::{
    clock::Timestamp,
    entry::SealedEntry,
    limits,
    lineage::Genesis,
    names::{RegisterDigest, Version, check_length},
    view::RegisterView,
};

/// First allocation for a length, bytes: more only once the bytes have arrived.
const FIRST_ALLOCATION: usize = 64 * 1024;

/// A bundle that has verified from the first byte to the last.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What it says about itself.
    pub header: Header,
    /// Its entries, ascending by version.
    pub entries: Vec<Arc<SealedEntry>>,
    /// It is signed by the key that signed the genesis.
    pub is_signed: bool,
}

/// Reads and verifies a whole bundle, the register digest included. `input` should be buffered.
///
/// # Errors
/// [`ReadError`] naming the byte and what is wrong there.
pub fn read(input: impl Read) -> Result<Bundle, ReadError> {
    let mut reader = Reader::new(input)?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        entries.push(entry);
    }
    // After the hash: a damaged bundle is not worth the memory that the digest takes.
    let Reader { header, digest_offset, is_signed, .. } = reader;
    let view =
        RegisterView::with_entries(Some(Arc::new(header.genesis.clone())), entries.clone(), header.head);
    if view.digest() != header.digest {
        let problem = Problem::Digest { stated: header.digest, actual: view.digest() };
        return Err(ReadError::Refused { offset: digest_offset, problem });
    }
    Ok(Bundle { header, entries, is_signed })
}

/// A bundle being read.
#[derive(Debug)]
pub struct Reader<R> {
    input: Input<R>,
    header: Header,
    digest_offset: u64,
    is_signed: bool,
    sequence: Sequence,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads and verifies the header.
    ///
    /// # Errors
    /// [`ReadError`] naming the byte and what is wrong there.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut input = Input { input, offset: 0, hash: Sha256::new() };
        let (header, digest_offset, is_signed) = read_header(&mut input)?;
        let sequence = Sequence::new(&header);
        Ok(Self { input, header, digest_offset, is_signed, sequence, ended: false })
    }

    /// The header; the register digest is not verified yet.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the bundle states a signature; it is verified at the end.
    #[must_use]
    pub const fn states_signature(&self) -> bool {
        self.is_signed
    }

    /// The next entry; `None` after the last, when the end and the hash have verified too.
    ///
    /// # Errors
    /// [`ReadError`] naming the byte and what is wrong there. Reading on after an error is not sensible.
    pub fn next_entry(&mut self) -> Result<Option<Arc<SealedEntry>>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        let start = self.input.offset;
        let refuse = |problem| ReadError::Refused { offset: start, problem };
        let encoded = self.input.sized("an entry", ENTRY_BYTES)?;
        if encoded.is_empty() {
            self.sequence.end().map_err(refuse)?;
            self.input.end(self.is_signed.then_some(&self.header.genesis))?;
            self.ended = true;
            return Ok(None);
        }
        let number = self.sequence.next_number();
        let encoded = bytes::Bytes::from(encoded);
        let sealed = SealedEntry::decode(encoded.clone())
            .map_err(|source| refuse(Problem::Entry { number, source }))?;
        if sealed.encoded().held() != Some(&encoded) {
            return Err(refuse(Problem::Encoding { number }));
        }
        self.sequence.take(sealed.entry()).map_err(refuse)?;
        Ok(Some(sealed))
    }
}

fn read_header<R: Read>(input: &mut Input<R>) -> Result<(Header, u64, bool), ReadError> {
    // A short file of another kind is not a truncated bundle.
    if input.upto(MAGIC.len())? != MAGIC {
        return Err(ReadError::Refused { offset: 0, problem: Problem::Magic });
    }
    let format = u32::from_be_bytes(input.array("the format version")?);
    let is_signed = match format {
        UNSIGNED => false,
        SIGNED => true,
        _ => return Err(input.refused(4, Problem::FormatVersion(format))),
    };
    let scope = match input.array("the scope")? {
        [0] => Scope::Whole,
        [1] => Scope::ActiveOnly,
        [other] => return Err(input.refused(1, Problem::Scope(other))),
    };
    let start = input.offset;
    let genesis = Genesis::verify(input.sized("the genesis record", GENESIS_BYTES)?.into())
        .map_err(|error| ReadError::Refused { offset: start, problem: Problem::Genesis(error) })?;
    let head = i64::from_be_bytes(input.array("the head version")?);
    let head = Version::new("head version", head).map_err(|error| input.refused(8, Problem::Field(error)))?;
    let digest_offset = input.offset;
    let digest = RegisterDigest::from_bytes(input.array("the register digest")?);
    let count = u64::from_be_bytes(input.array("the entry count")?);
    let created_at = Timestamp::from_millis(i64::from_be_bytes(input.array("created_at")?));
    let created_by = read_created_by(input)?;
    Ok((Header { genesis, scope, head, digest, count, created_at, created_by }, digest_offset, is_signed))
}

fn read_created_by<R: Read>(input: &mut Input<R>) -> Result<String, ReadError> {
    let start = input.offset;
    let refuse = |problem| ReadError::Refused { offset: start, problem };
    let created_by =
        String::from_utf8(input.sized("created_by", NODE_ID_BYTES)?).map_err(|_| refuse(Problem::NotText))?;
    check_length("created_by", &created_by, limits::NODE_ID_CHARS)
        .map_err(|error| refuse(Problem::Field(error)))?;
    Ok(created_by)
}

/// The bytes, with their offset and their hash so far.
#[derive(Debug)]
struct Input<R> {
    input: R,
    offset: u64,
    hash: Sha256,
}

impl<R: Read> Input<R> {
    const fn refused(&self, bytes_back: u64, problem: Problem) -> ReadError {
        ReadError::Refused { offset: self.offset - bytes_back, problem }
    }

    /// Reads `length` bytes, or fewer when the input ends.
    fn upto(&mut self, length: usize) -> Result<Vec<u8>, ReadError> {
        let bytes = self.raw(length)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    fn raw(&mut self, length: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::with_capacity(length.min(FIRST_ALLOCATION));
        let read = self.input.by_ref().take(length as u64).read_to_end(&mut bytes);
        self.offset += bytes.len() as u64;
        read.map_err(|source| ReadError::Io { offset: self.offset, source })?;
        Ok(bytes)
    }

    fn exactly(&mut self, what: &'static str, length: usize) -> Result<Vec<u8>, ReadError> {
        let bytes = self.upto(length)?;
        if bytes.len() < length {
            return Err(self.refused(0, Problem::CutOff(what)));
        }
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ReadError> {
        self.exactly(what, N)?.try_into().map_err(|_| self.refused(0, Problem::CutOff(what)))
    }

    /// Reads a length, checks it, and then reads as many bytes.
    fn sized(&mut self, what: &'static str, max: usize) -> Result<Vec<u8>, ReadError> {
        let length = u32::from_be_bytes(self.array(what)?);
        match usize::try_from(length) {
            Ok(length) if length <= max => self.exactly(what, length),
            _ => Err(self.refused(4, Problem::TooLong { what, length: length.into(), max })),
        }
    }

    /// Verifies the hash, the signature by a genesis's key where there is one, and that nothing follows.
    fn end(&mut self, signer: Option<&Genesis>) -> Result<(), ReadError> {
        let expected = self.hash.clone().finalize();
        let start = self.offset;
        let stated = self.raw(expected.len())?;
        if stated.len() < expected.len() {
            return Err(self.refused(0, Problem::CutOff("the SHA-256 at the end")));
        }
        if stated[..] != expected[..] {
            return Err(ReadError::Refused { offset: start, problem: Problem::Hash });
        }
        if let Some(genesis) = signer {
            self.signature(genesis, &expected)?;
        }
        match self.raw(1)?.len() {
            0 => Ok(()),
            _ => Err(self.refused(1, Problem::Trailing)),
        }
    }

    fn signature(&mut self, genesis: &Genesis, hash: &[u8]) -> Result<(), ReadError> {
        let start = self.offset;
        let Ok(stated) = <[u8; SIGNATURE_BYTES]>::try_from(self.raw(SIGNATURE_BYTES)?) else {
            return Err(self.refused(0, Problem::CutOff("the signature at the end")));
        };
        if genesis.has_signed(&signed_bytes(hash), &Signature::from_bytes(&stated)) {
            return Ok(());
        }
        Err(ReadError::Refused { offset: start, problem: Problem::Signature })
    }
}
