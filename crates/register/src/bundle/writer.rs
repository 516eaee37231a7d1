//! Writes a bundle entry by entry.

use std::io::Write;

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use super::{
    ENTRY_BYTES, Header, MAGIC, NODE_ID_BYTES, Problem, SIGNED, Scope, Sequence, UNSIGNED, WriteError,
    signed_bytes,
};
use crate::{
    entry::{Encoded, SealedEntry},
    limits,
    names::check_length,
};

/// A bundle that is being written, in small pieces: buffer the output.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    hash: Sha256,
    sequence: Sequence,
    key: Option<SigningKey>,
}

impl<W: Write> Writer<W> {
    /// Writes the header. The bundle is signed if the key is the one that signed the genesis.
    ///
    /// # Errors
    /// [`WriteError::Refused`] when a reader would refuse the header.
    pub fn new(out: W, header: &Header, key: Option<&SigningKey>) -> Result<Self, WriteError> {
        Self::checked_by(Sequence::new(header), out, header, key)
    }

    /// As [`Writer::new`], for the entries of one view. A view has each blueprint once, so that no ids are kept.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn of_view(out: W, header: &Header, key: Option<&SigningKey>) -> Result<Self, WriteError> {
        Self::checked_by(Sequence::of_view(header), out, header, key)
    }

    fn checked_by(
        sequence: Sequence,
        out: W,
        header: &Header,
        key: Option<&SigningKey>,
    ) -> Result<Self, WriteError> {
        check_length("created_by", &header.created_by, limits::NODE_ID_CHARS)
            .map_err(|error| WriteError::Refused(Problem::Field(error)))?;
        let key = key.filter(|key| header.genesis.is_signed_by(&key.verifying_key())).cloned();
        let format = if key.is_some() { SIGNED } else { UNSIGNED };
        let mut writer = Self { out, hash: Sha256::new(), sequence, key };
        writer.put(&MAGIC)?;
        writer.put(&format.to_be_bytes())?;
        writer.put(&[match header.scope {
            Scope::Whole => 0,
            Scope::ActiveOnly => 1,
        }])?;
        writer.put_sized("the genesis record", header.genesis.bytes(), super::GENESIS_BYTES)?;
        writer.put(&header.head.get().to_be_bytes())?;
        writer.put(header.digest.as_bytes())?;
        writer.put(&header.count.to_be_bytes())?;
        writer.put(&header.created_at.as_millis().to_be_bytes())?;
        writer.put_sized("created_by", header.created_by.as_bytes(), NODE_ID_BYTES)?;
        Ok(writer)
    }

    /// Writes the next entry.
    ///
    /// # Errors
    /// [`WriteError::Refused`] when it does not follow the one before, or is one too many.
    pub fn entry(&mut self, sealed: &SealedEntry) -> Result<(), WriteError> {
        self.sequence.take(sealed.entry()).map_err(WriteError::Refused)?;
        self.put_sized("the entry", &sealed.checked()?, ENTRY_BYTES)
    }

    /// Begins a large entry without copying it: the caller sends the returned bytes after the output and passes them to
    /// [`Writer::passed`].
    ///
    /// # Errors
    /// As [`Writer::entry`].
    pub fn begin(&mut self, sealed: &SealedEntry) -> Result<Encoded, WriteError> {
        self.sequence.take(sealed.entry()).map_err(WriteError::Refused)?;
        self.put_length("the entry", sealed.length(), ENTRY_BYTES)?;
        Ok(sealed.encoded())
    }

    /// Hashes bytes of an entry that the caller has sent.
    pub fn passed(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// Writes the end and returns the output.
    ///
    /// # Errors
    /// [`WriteError::Refused`] when entries are missing.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.sequence.end().map_err(WriteError::Refused)?;
        self.put(&0u32.to_be_bytes())?;
        let hash = self.hash.finalize();
        self.out.write_all(&hash)?;
        if let Some(key) = &self.key {
            self.out.write_all(&key.sign(&signed_bytes(&hash)).to_bytes())?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// The output so far, to be sent piece by piece.
    pub fn output(&mut self) -> &mut W {
        &mut self.out
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.hash.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }

    fn put_sized(&mut self, what: &'static str, bytes: &[u8], max: usize) -> Result<(), WriteError> {
        self.put_length(what, bytes.len(), max)?;
        self.put(bytes)
    }

    fn put_length(&mut self, what: &'static str, length: usize, max: usize) -> Result<(), WriteError> {
        let refuse = || WriteError::Refused(Problem::TooLong { what, length: length as u64, max });
        if length > max {
            return Err(refuse());
        }
        let length = u32::try_from(length).map_err(|_| refuse())?;
        self.put(&length.to_be_bytes())
    }
}
