//! The file of a journal: its beginning, its bytes, and how another one takes its place.
//!
//! ```text
//! file = magic (16 bytes) | how far it was fsynced (u64, little endian) | that once more, inverted | frames
//! ```

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    num::NonZero,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
};

use bytes::Bytes;

use super::super::StoreError;

const MAGIC: &[u8; 16] = b"SORCHA-REPLICA\0\x01";
/// Where the first frame begins.
pub(super) const HEADER: usize = MAGIC.len() + 16;
/// Below this many bytes a second reading thread costs more than it saves.
const PER_READER: usize = 4 * 1024 * 1024;

/// An open journal that no other process has open.
#[derive(Debug)]
pub(super) struct JournalFile {
    file: File,
    path: PathBuf,
}

/// What lies in the file.
pub(super) struct Content {
    pub(super) bytes: Bytes,
    /// What is cut off or damaged below this was there once; above it a write may just not have been finished.
    pub(super) durable: usize,
}

impl JournalFile {
    /// Opens or creates a journal.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|error| at(&error, "create", directory))?;
        }
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let journal = Self { file: file.map_err(|error| at(&error, "open", path))?, path: path.to_owned() };
        journal.lock()?;
        // A new one, or one that was cut off before its first byte.
        if journal.len()? == 0 {
            journal.begin()?;
            journal.sync()?;
            sync_directory(path)?;
        }
        Ok(journal)
    }

    /// Creates an empty journal beside another one, to take its place by [`JournalFile::take_place_of`].
    pub(super) fn beside(path: &Path) -> Result<Self, StoreError> {
        let path = path.with_added_extension("new");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let journal = Self { file: file.map_err(|error| at(&error, "create", &path))?, path };
        journal.lock()?;
        journal.begin()?;
        Ok(journal)
    }

    /// Puts this journal, which must be durable, in another one's place.
    pub(super) fn take_place_of(&self, path: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, path).map_err(|error| at(&error, "rename", &self.path))?;
        sync_directory(path)
    }

    fn lock(&self) -> Result<(), StoreError> {
        match self.file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "{} is in use by another process (a running node?)",
                self.path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(at(&error, "lock", &self.path)),
        }
    }

    fn begin(&self) -> Result<(), StoreError> {
        self.write(0, MAGIC)?;
        self.note_durable(HEADER as u64)
    }

    /// Notes how far the file is known to be on disk; it is a note for the next start, and needs no fsync itself.
    pub(super) fn note_durable(&self, end: u64) -> Result<(), StoreError> {
        let mut note = [0; 16];
        note[..8].copy_from_slice(&end.to_le_bytes());
        note[8..].copy_from_slice(&(!end).to_le_bytes());
        self.write(MAGIC.len() as u64, &note)
    }

    /// Writes bytes at a place.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all_at(bytes, offset).map_err(|error| failed(&error))
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| failed(&error))
    }

    /// Cuts the file off.
    pub(super) fn truncate(&self, end: u64) -> Result<(), StoreError> {
        self.file.set_len(end).map_err(|error| failed(&error))
    }

    fn len(&self) -> Result<usize, StoreError> {
        let length = self.file.metadata().map_err(|error| failed(&error))?.len();
        usize::try_from(length).map_err(|error| StoreError::Internal(error.to_string()))
    }

    /// Reads everything, on several threads when it is much.
    pub(super) fn read(&self) -> Result<Content, StoreError> {
        let length = self.len()?;
        let mut bytes = vec![0; length];
        let readers = thread::available_parallelism().map_or(1, NonZero::get).min(length / PER_READER).max(1);
        let size = length.div_ceil(readers).max(1);
        thread::scope(|scope| {
            let parts = bytes.chunks_mut(size).zip((0..).step_by(size));
            let readers: Vec<_> = parts
                .map(|(part, offset)| scope.spawn(move || self.file.read_exact_at(part, offset)))
                .collect();
            let join = |reader: thread::ScopedJoinHandle<'_, io::Result<()>>| {
                reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            readers.into_iter().try_for_each(join)
        })
        .map_err(|error| failed(&error))?;
        let durable = durable(&bytes)
            .ok_or_else(|| StoreError::Damaged(format!("{} is no replica's journal", self.path.display())))?;
        Ok(Content { bytes: bytes.into(), durable })
    }
}

/// How far the file was durable; none where it is no journal. A note that can't be read vouches for nothing.
fn durable(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (note, rest) = rest.split_first_chunk::<8>()?;
    let (inverted, _) = rest.split_first_chunk::<8>()?;
    let (note, inverted) = (u64::from_le_bytes(*note), u64::from_le_bytes(*inverted));
    if note != !inverted {
        tracing::warn!("a replica's journal has lost the note of how far it is durable");
        return Some(HEADER);
    }
    usize::try_from(note).ok()
}

/// Makes durable what a file is called.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| failed(&error))
}

/// A full disk is told from other faults.
fn failed(error: &io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::Full(error.to_string())
        }
        _ => StoreError::Internal(error.to_string()),
    }
}

fn at(error: &io::Error, doing: &str, path: &Path) -> StoreError {
    match failed(error) {
        StoreError::Internal(why) => StoreError::Internal(format!(
            "{doing} {}: {why}; the data directory must be writable by this process's user",
            path.display()
        )),
        other => other,
    }
}
