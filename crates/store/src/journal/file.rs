//! The file of a journal: header, bytes, and replacement.
//!
//! ```text
//! file = magic (16 bytes) | how far it was fsynced (u64, little endian) | that once more, inverted | frames
//! ```

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sorcha_register::entry::Source;
use tokio::sync::{self, OwnedMutexGuard};

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

/// A journal's path on a file system.
#[derive(Clone, Debug)]
pub(super) struct Place {
    files: Arc<dyn Files>,
    pub(super) path: PathBuf,
    /// Held by the one file that is written beside the journal.
    beside: Arc<sync::Mutex<()>>,
}

/// The right to write a file beside a journal. Other processes are kept out by the file's lock.
pub(super) type Turn = OwnedMutexGuard<()>;

/// A locked journal. One that was begun beside another and has not replaced it is removed when it is dropped; entries that were
/// written to it are read as long as they are held.
#[derive(Debug)]
pub(super) struct JournalFile {
    medium: Box<dyn Medium>,
    files: Arc<dyn Files>,
    path: PathBuf,
    /// An fsync failed. The system reports that once, so that a later one may succeed though what was written is lost.
    sync_failed: Mutex<bool>,
    /// There while it is beside another journal. Dropped after the file is closed: the next one opens the same name.
    turn: Mutex<Option<Turn>>,
}

impl Drop for JournalFile {
    fn drop(&mut self) {
        if self.turn().is_some()
            && let Err(error) = self.files.remove(&self.path)
        {
            tracing::warn!(file = %self.path.display(), %error, "room for a register that is not used is not given back");
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
    pub(super) fn open(place: &Place) -> Result<Self, StoreError> {
        if place.exists(&place.path)? {
            let journal = Self::take(place, place.path.clone())?;
            if place.exists(&place.path_beside())? {
                // Left by a killed process: removed, unless another process has it open.
                drop(Self::beside(place, place.turn()?));
            }
            return Ok(journal);
        }
        let journal = Self::beside(place, place.turn()?)?;
        if place.exists(&place.path)? {
            // Another process made it meanwhile.
            drop(journal);
            return Self::take(place, place.path.clone());
        }
        journal.sync()?;
        journal.take_name_of(place)?;
        Ok(journal)
    }

    /// Creates an empty journal beside another one, to replace it by [`JournalFile::take_name_of`].
    pub(super) fn beside(place: &Place, turn: Turn) -> Result<Self, StoreError> {
        let mut journal = Self::take(place, place.path_beside())?;
        journal.turn = Mutex::new(Some(turn));
        journal.truncate(0)?;
        journal.begin()?;
        Ok(journal)
    }

    fn take(place: &Place, path: PathBuf) -> Result<Self, StoreError> {
        let files = Arc::clone(&place.files);
        let medium = files.open(&path).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => in_use(&path),
            _ => at_path(io_error(&error), "open", &path),
        })?;
        // Before it was locked, another process may have renamed it to the journal, or another file to its name.
        match medium.is_at(&path) {
            Ok(true) => {
                Ok(Self { medium, files, path, sync_failed: Mutex::default(), turn: Mutex::default() })
            }
            Ok(false) => Err(in_use(&path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(in_use(&path)),
            Err(error) => Err(at_path(io_error(&error), "look for", &path)),
        }
    }

    fn turn(&self) -> MutexGuard<'_, Option<Turn>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renames this journal, which must be durable, over another one. From then on it is the journal, whatever fails later; but
    /// a power cut before [`Place::sync_names`] may undo the rename.
    pub(super) fn take_name_of(&self, place: &Place) -> Result<(), StoreError> {
        match self.files.rename(&self.path, &place.path) {
            Ok(()) => {}
            // A network file system may report a failure for a rename that took place.
            Err(_) if self.is_at(place).is_ok_and(|is_there| is_there) => {}
            Err(error) => return Err(at_path(io_error(&error), "rename", &self.path)),
        }
        drop(self.turn().take());
        Ok(())
    }

    /// Whether this file still has the name.
    pub(super) fn is_at(&self, place: &Place) -> io::Result<bool> {
        self.medium.is_at(&place.path)
    }

    fn begin(&self) -> Result<(), StoreError> {
        let written = self.write(0, MAGIC).and_then(|()| self.note_durable(HEADER as u64));
        written.map_err(|error| at_path(error, "write", &self.path))
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
            let path = self.path.display();
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
            StoreError::Damaged(format!("{} is no register's journal", self.path.display()))
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
    pub(super) fn new(files: Arc<dyn Files>, path: PathBuf) -> Self {
        Self { files, path, beside: Arc::default() }
    }

    /// The right to write a file beside the journal.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while a full sync writes one.
    pub(super) fn turn(&self) -> Result<Turn, StoreError> {
        Arc::clone(&self.beside).try_lock_owned().map_err(|_taken| {
            StoreError::Unavailable(format!(
                "{} can't be written anew while a full sync is received",
                self.path.display()
            ))
        })
    }

    /// As [`Place::turn`]; waits for it on this thread, which must not be one of a runtime's tasks. A full sync that was given
    /// up closes its file a little later.
    pub(super) fn wait_for_turn(&self) -> Turn {
        Arc::clone(&self.beside).blocking_lock_owned()
    }

    /// The file in which a replacement is written.
    fn path_beside(&self) -> PathBuf {
        self.path.with_added_extension("new")
    }

    fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        self.files.exists(path).map_err(|error| at_path(io_error(&error), "look for", path))
    }

    /// Makes the name of the file durable.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        let synced = self.files.sync_names(&self.path);
        synced.map_err(|error| at_path(io_error(&error), "make durable the name of", &self.path))
    }
}
