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
        let place = Place::new(files, resolved);
        let opening = place.clone();
        let (journal, loaded) = options.run(move || open_file(&opening)).await?;
        Ok(Self::over(place, options, journal, loaded))
    }

    pub(super) fn over(place: Place, options: Options, journal: Appender, loaded: Loaded) -> Self {
        let (state, seen) = watch::channel(Arc::new(loaded));
        let writer = Arc::new(Mutex::new(Writer::new(place.clone(), journal, state, options.cache_bytes)));
        let (waiting, flush_due) = (sync::Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { place, options, writer, waiting, state: seen, flush_due }))
    }

    /// As [`JournalStore::open_on`], but a file that is no journal is renamed to `….damaged-<unix ms>` and logged, and a new one
    /// is made. The next sync fetches the content again.
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

/// Renames an unreadable file to a free name.
fn set_aside(files: &dyn Files, path: &Path, now_millis: i64) -> io::Result<PathBuf> {
    for aside in asides(path, now_millis) {
        if !files.exists(&aside)? {
            files.rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

pub(super) fn open_file(place: &Place) -> Result<(Appender, Loaded), StoreError> {
    let file = JournalFile::open(place)?;
    // The process that renamed it may have been killed before its name was durable.
    place.sync_names()?;
    let content = file.content()?;
    let (length, durable) = (content.length, content.durable);
    let Recovered { loaded, end, chain } = recover(&content)?;
    // A damaged file stays unchanged for examination, until the register is replaced.
    if loaded.findings.is_empty() {
        // An unfinished frame must not precede new ones.
        if end < length {
            file.truncate(end)?;
        }
        // Writes of a killed process may not be on disk yet.
        if durable != end {
            file.sync()?;
            file.note_durable(end)?;
        }
    }
    Ok((Appender::at(file, end, chain), loaded))
}

/// Opens the replica in a data directory. A file that is no journal is renamed to `….damaged-<unix ms>`, and the replica is
/// fetched again. `register import` does not know the role of the node: a register that it made is renamed to the replica.
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

/// Adds operation and file to an error of the system.
fn doing(what: &str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| at_path(io_error(&error), what, path)
}
