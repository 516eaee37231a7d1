//! A journal in memory, for tests.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sorcha_register::entry::Source;

use super::{
    JournalStore, Options, REGISTER_FILE, StoreError,
    file::Place,
    files::{Files, Medium},
    open::open_file,
};

/// A file's bytes, and whether a journal has it open.
#[derive(Debug, Default)]
struct Content {
    bytes: Mutex<Vec<u8>>,
    is_locked: AtomicBool,
}

impl JournalStore {
    /// A store in memory.
    ///
    /// # Errors
    /// None: files in memory do not fail.
    pub fn in_memory(options: Options) -> Result<Self, StoreError> {
        let place = Place::new(Arc::new(MemoryFiles::default()), REGISTER_FILE.into());
        let (journal, loaded) = open_file(&place)?;
        Ok(Self::over(place, options, journal, loaded))
    }
}

#[derive(Debug, Default)]
pub(super) struct MemoryFiles(Mutex<HashMap<PathBuf, Arc<Content>>>);

#[cfg(test)]
impl MemoryFiles {
    /// What a process finds that is started after this one was killed.
    pub(super) fn after_a_crash(&self) -> Self {
        let copy = |(path, content): (&PathBuf, &Arc<Content>)| {
            let bytes = Mutex::new(locked(&content.bytes).clone());
            (path.clone(), Arc::new(Content { bytes, is_locked: AtomicBool::new(false) }))
        };
        Self(Mutex::new(locked(&self.0).iter().map(copy).collect()))
    }
}

#[derive(Debug)]
struct MemoryFile(Arc<Content>);

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.0.is_locked.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct MemoryReader(Arc<Content>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl Files for MemoryFiles {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(locked(&self.0).contains_key(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Medium>> {
        let content = Arc::clone(locked(&self.0).entry(path.to_owned()).or_default());
        if content.is_locked.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryFile(content)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = locked(&self.0);
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        locked(&self.0).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Source for MemoryReader {
    fn read_now(&self, bytes: &mut [u8], offset: u64) -> Option<io::Result<()>> {
        Some(self.read(bytes, offset))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let (content, at) = (locked(&self.0.bytes), position(offset)?);
        let found = content.get(at..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Medium for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(locked(&self.0.bytes).len() as u64)
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(MemoryReader(Arc::clone(&self.0)))
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut content, at) = (locked(&self.0.bytes), position(offset)?);
        if content.len() < at + bytes.len() {
            content.resize(at + bytes.len(), 0);
        }
        content[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn resize(&self, length: u64) -> io::Result<()> {
        locked(&self.0.bytes).resize(position(length)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_at(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }
}
