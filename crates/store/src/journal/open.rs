//! Opening a journal.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{self, Arc, atomic::AtomicBool},
};

use tokio::sync::{Mutex, watch};

use super::{
    super::{
        Loaded, StoreError,
        disk::{asides, at_path, io_error},
    },
    Files, JournalStore, Options, OsFiles, REGISTER_FILE, REPLICA_FILE, Shared,
    appender::Appender,
    file::{JournalFile, Place},
    load::{Recovered, recover},
    memory::MemoryFiles,
    writer::Writer,
};

impl JournalStore {
    /// Opens or creates a journal and verifies what is in it. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when another process has the file open; [`StoreError::Damaged`] when it is no journal;
    /// [`StoreError::Internal`] for other faults.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(OsFiles), path, options).await
    }

    /// As [`JournalStore::open`], on another file system.
    ///
    /// # Errors
    /// As [`JournalStore::open`].
    pub async fn open_on(
        files: Arc<dyn Files>,
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let resolved = files.resolve(path).map_err(doing("open", path))?;
        let place = Place { files, path: resolved };
        let opening = place.clone();
        let (journal, loaded) = options.run(move || open_file(&opening)).await?;
        Ok(Self::over(place, options, journal, loaded))
    }

    /// A store that lives in memory and dies with the process.
    ///
    /// # Errors
    /// [`StoreError::Internal`], which memory has no reason to give.
    pub fn in_memory(options: Options) -> Result<Self, StoreError> {
        let place = Place { files: Arc::new(MemoryFiles::default()), path: REGISTER_FILE.into() };
        let (journal, loaded) = open_file(&place)?;
        Ok(Self::over(place, options, journal, loaded))
    }

    fn over(place: Place, options: Options, journal: Appender, loaded: Loaded) -> Self {
        let (state, seen) = watch::channel(Arc::new(loaded));
        let writer = Arc::new(Mutex::new(Writer::new(place.clone(), journal, state)));
        let (waiting, flush_due) = (sync::Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { place, options, writer, waiting, state: seen, flush_due }))
    }

    /// As [`JournalStore::open_on`], but a file that is no journal is set aside (renamed to `….damaged-<unix ms>`), logged,
    /// and a new one made. Its content is fetched again.
    ///
    /// # Errors
    /// As [`JournalStore::open`], but for a file that is no journal.
    pub async fn open_or_set_aside(
        files: Arc<dyn Files>,
        path: impl AsRef<Path>,
        options: Options,
        now_millis: i64,
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        match Self::open_on(Arc::clone(&files), path, options).await {
            Err(StoreError::Damaged(why)) => {
                let path = files.resolve(path).map_err(doing("set aside", path))?;
                let aside = set_aside(&*files, &path, now_millis).map_err(doing("set aside", &path))?;
                tracing::error!(file = %path.display(), aside = %aside.display(), reason = %why, "unreadable register file set aside");
                Self::open_on(files, &path, options).await
            }
            opened => opened,
        }
    }
}

/// Renames an unreadable file, but never to a name that another one has.
fn set_aside(files: &dyn Files, path: &Path, now_millis: i64) -> io::Result<PathBuf> {
    for aside in asides(path, now_millis) {
        if !files.exists(&aside)? {
            files.rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn open_file(place: &Place) -> Result<(Appender, Loaded), StoreError> {
    let file = JournalFile::open(place.clone())?;
    // Whoever put it there may have been killed before its name was durable.
    place.sync_names()?;
    let content = file.read()?;
    let Recovered { loaded, end, chain } = recover(&content);
    // Damage is left as it is for whoever looks into it, until the replica is replaced.
    if loaded.findings.is_empty() {
        // What does not count must not follow what is added now.
        if end < content.bytes.len() as u64 {
            file.truncate(end)?;
        }
        // What a killed process had written may still be on its way to the disk.
        if content.durable as u64 != end {
            file.sync()?;
            file.note_durable(end)?;
        }
    }
    Ok((Appender::at(file, end, chain), loaded))
}

/// Opens the replica in a data directory. A file that is no journal is set aside (renamed to `….damaged-<unix ms>`) and
/// fetched again. One that `register import` made before it was known whose it would be takes the replica's name.
///
/// # Errors
/// As [`JournalStore::open`], but for a file that is no journal.
pub async fn open_replica(
    directory: &Path,
    options: Options,
    now_millis: i64,
) -> Result<JournalStore, StoreError> {
    let (path, imported) = (directory.join(REPLICA_FILE), directory.join(REGISTER_FILE));
    if !exists(&path)? && exists(&imported)? {
        fs::rename(&imported, &path).map_err(doing("rename", &imported))?;
        OsFiles.sync_names(&path).map_err(doing("rename", &imported))?;
        tracing::info!(from = %imported.display(), to = %path.display(), "the imported register is this peer's replica");
    }
    JournalStore::open_or_set_aside(Arc::new(OsFiles), &path, options, now_millis).await
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    OsFiles.exists(path).map_err(doing("look for", path))
}

/// For what the system says about a file.
fn doing(what: &str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| at_path(io_error(&error), what, path)
}
