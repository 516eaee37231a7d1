//! The file of a journal: header, bytes, and replacement.
//!
//! ```text
//! file = magic (16 bytes) | how far it was fsynced (u64, little endian) | that once more, inverted | frames
//! ```

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sorcha_register::entry::Source;

use super::{
    super::{
        StoreError,
        disk::{at_path, in_use, io_error},
    },
    files::{Files, Medium},
};

const MAGIC: &[u8; 16] = b"SORCHA-JOURNAL\0\x01";
/// Where the first frame begins.
pub(super) const HEADER: usize = MAGIC.len() + 16;

/// A path on a file system.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) files: Arc<dyn Files>,
    pub(super) path: PathBuf,
}

/// A locked journal. One that was begun beside another and has not replaced it is removed when it is dropped; entries that were
/// written to it are read as long as they are held.
#[derive(Debug)]
pub(super) struct JournalFile {
    medium: Box<dyn Medium>,
    place: Place,
    is_beside: AtomicBool,
    /// An fsync failed. The system reports that once, so that a later one may succeed though what was written is lost.
    sync_failed: Mutex<bool>,
}

impl Drop for JournalFile {
    fn drop(&mut self) {
        if *self.is_beside.get_mut()
            && let Err(error) = self.place.files.remove(&self.place.path)
        {
            tracing::warn!(file = %self.place.path.display(), %error, "room for a register that is not used is not given back");
        }
    }
}

/// A journal as it is found at start.
pub(super) struct Content<'f> {
    pub(super) file: &'f JournalFile,
    pub(super) length: u64,
    /// Damage below this offset is lost data; above it an unfinished write.
    pub(super) durable: u64,
}

impl JournalFile {
    /// Opens or creates a journal. A new one gets its name after its header: an empty file is damage.
    pub(super) fn open(place: Place) -> Result<Self, StoreError> {
        if place.exists()? {
            let journal = Self::take(place.clone())?;
            let beside = place.beside();
            if beside.exists()? {
                // Left by a killed process: removed, unless another process has it open.
                drop(Self::beside(&place));
            }
            return Ok(journal);
        }
        let journal = Self::beside(&place)?;
        if place.exists()? {
            // Another process made it meanwhile.
            drop(journal);
            return Self::take(place);
        }
        journal.sync()?;
        journal.take_name_of(&place)?;
        Ok(journal)
    }

    /// Creates an empty journal beside another one, to replace it by [`JournalFile::take_name_of`].
    pub(super) fn beside(place: &Place) -> Result<Self, StoreError> {
        let mut journal = Self::take(place.beside())?;
        *journal.is_beside.get_mut() = true;
        journal.truncate(0)?;
        journal.begin()?;
        Ok(journal)
    }

    fn take(place: Place) -> Result<Self, StoreError> {
        let medium = place.files.open(&place.path).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => in_use(&place.path),
            _ => at_path(io_error(&error), "open", &place.path),
        })?;
        // Before it was locked, another process may have renamed it to the journal, or another file to its name.
        match medium.is_at(&place.path) {
            Ok(true) => {
                Ok(Self { medium, place, is_beside: AtomicBool::new(false), sync_failed: Mutex::new(false) })
            }
            Ok(false) => Err(in_use(&place.path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(in_use(&place.path)),
            Err(error) => Err(at_path(io_error(&error), "look for", &place.path)),
        }
    }

    /// Renames this journal, which must be durable, over another one. From then on it is the journal, whatever fails later; but
    /// a power cut before [`Place::sync_names`] may undo the rename.
    pub(super) fn take_name_of(&self, place: &Place) -> Result<(), StoreError> {
        match place.files.rename(&self.place.path, &place.path) {
            Ok(()) => {}
            // A network file system may report a failure for a rename that took place.
            Err(_) if self.is_at(place).is_ok_and(|is_there| is_there) => {}
            Err(error) => return Err(at_path(io_error(&error), "rename", &self.place.path)),
        }
        self.is_beside.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Whether this file still has the name.
    pub(super) fn is_at(&self, place: &Place) -> io::Result<bool> {
        self.medium.is_at(&place.path)
    }

    fn begin(&self) -> Result<(), StoreError> {
        let written = self.write(0, MAGIC).and_then(|()| self.note_durable(HEADER as u64));
        written.map_err(|error| at_path(error, "write", &self.place.path))
    }

    /// Records how far the file is durable, for the next start; the record needs no fsync itself.
    pub(super) fn note_durable(&self, end: u64) -> Result<(), StoreError> {
        let mut note = [0; 16];
        note[..8].copy_from_slice(&end.to_le_bytes());
        note[8..].copy_from_slice(&(!end).to_le_bytes());
        self.write(MAGIC.len() as u64, &note)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.medium.write(bytes, offset).map_err(|error| io_error(&error))
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let mut has_failed = self.sync_failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_failed {
            let path = self.place.path.display();
            return Err(StoreError::Internal(format!(
                "an earlier fsync of {path} failed; it is written anew"
            )));
        }
        let synced = self.medium.sync();
        *has_failed = synced.is_err();
        synced.map_err(|error| io_error(&error))
    }

    pub(super) fn truncate(&self, end: u64) -> Result<(), StoreError> {
        self.medium.resize(end).map_err(|error| io_error(&error))
    }

    /// The file for reading. It does not keep the file locked.
    pub(super) fn source(&self) -> Arc<dyn Source> {
        self.medium.source()
    }

    /// Looks at what is there.
    pub(super) fn content(&self) -> Result<Content<'_>, StoreError> {
        let length = self.medium.length().map_err(|error| io_error(&error))?;
        // A file that ends before leaves zeros, which are no journal's.
        let mut header = [0; HEADER];
        if length >= HEADER as u64 {
            self.source().read(&mut header, 0).map_err(|error| io_error(&error))?;
        }
        let durable = durable(&header).ok_or_else(|| {
            StoreError::Damaged(format!("{} is no register's journal", self.place.path.display()))
        })?;
        Ok(Content { file: self, length, durable })
    }
}

/// How far the file was durable, by its record; `None` where it is no journal. An unreadable record counts as none.
fn durable(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (note, rest) = rest.split_first_chunk::<8>()?;
    let (inverted, _) = rest.split_first_chunk::<8>()?;
    let (note, inverted) = (u64::from_le_bytes(*note), u64::from_le_bytes(*inverted));
    if note != !inverted {
        tracing::warn!("a register's journal has lost the note of how far it is durable");
        return Some(HEADER as u64);
    }
    Some(note)
}

impl Place {
    /// The file in which a replacement is written.
    fn beside(&self) -> Self {
        Self { path: self.path.with_added_extension("new"), files: Arc::clone(&self.files) }
    }

    fn exists(&self) -> Result<bool, StoreError> {
        let exists = self.files.exists(&self.path);
        exists.map_err(|error| at_path(io_error(&error), "look for", &self.path))
    }

    /// Makes the name of the file durable.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        let synced = self.files.sync_names(&self.path);
        synced.map_err(|error| at_path(io_error(&error), "make durable the name of", &self.path))
    }
}
