//! A disk that fails on demand.

use std::{
    io,
    path::Path,
    sync::{self, Arc, atomic::AtomicUsize, atomic::Ordering},
};

use sorcha_register::entry::Source;

use super::super::{Files, JournalStore, Medium, Options, testing::MemoryFiles};

/// The operation that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    Write,
    Sync,
    /// A file that is to take the journal's place.
    Beside,
}

/// A disk in memory that fails on demand and counts its syncs.
#[derive(Clone, Debug)]
pub(super) struct Disk(pub(super) Arc<DiskState>);

#[derive(Debug)]
pub(super) struct DiskState {
    pub(super) files: MemoryFiles,
    broken: sync::Mutex<Broken>,
    pub(super) syncs: AtomicUsize,
    /// Writes that there was no room for.
    pub(super) refused: AtomicUsize,
}

#[derive(Debug)]
struct DiskFile(Box<dyn Medium>, Disk, Broken);

impl Disk {
    pub(super) fn new() -> Self {
        Self::with(MemoryFiles::default())
    }

    fn with(files: MemoryFiles) -> Self {
        let (broken, syncs) = (sync::Mutex::new(Broken::Nothing), AtomicUsize::new(0));
        let refused = AtomicUsize::new(0);
        Self(Arc::new(DiskState { files, broken, syncs, refused }))
    }

    pub(super) fn after_a_crash(&self) -> Self {
        Self::with(self.0.files.after_a_crash())
    }

    pub(super) fn become_(&self, broken: Broken) {
        *self.0.broken.lock().unwrap() = broken;
    }

    fn fails_at(&self, what: Broken) -> io::Result<()> {
        if *self.0.broken.lock().unwrap() == what { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    pub(super) async fn open(&self) -> JournalStore {
        JournalStore::open_on(Arc::new(self.clone()), "register", Options::default()).await.unwrap()
    }
}

impl Files for Disk {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.files.exists(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Medium>> {
        let is_beside = path.extension().is_some_and(|extension| extension == "new");
        let write = if is_beside { Broken::Beside } else { Broken::Write };
        Ok(Box::new(DiskFile(self.0.files.open(path)?, self.clone(), write)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.files.remove(path)
    }

    fn sync_names(&self, path: &Path) -> io::Result<()> {
        self.0.files.sync_names(path)
    }
}

impl Medium for DiskFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn source(&self) -> Arc<dyn Source> {
        self.0.source()
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(full) = self.1.fails_at(Broken::Write).and_then(|()| self.1.fails_at(self.2)) {
            self.1.0.refused.fetch_add(1, Ordering::Relaxed);
            // Half of it arrives.
            self.0.write(&bytes[..bytes.len() / 2], offset)?;
            return Err(full);
        }
        self.0.write(bytes, offset)
    }

    fn resize(&self, length: u64) -> io::Result<()> {
        self.0.resize(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.fails_at(Broken::Sync)?;
        self.1.0.syncs.fetch_add(1, Ordering::Relaxed);
        self.0.sync()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.0.is_at(path)
    }
}
