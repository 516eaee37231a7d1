//! Opening a journal; a replica that lies in an embedded store, such as one filled from a bundle, moves into one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use tokio::sync::{Mutex, watch};

use super::{
    super::{
        Loaded, Store, StoreError,
        disk::{aside, at_path, io_error},
        embedded::{self, EmbeddedStore},
    },
    FILE_NAME, Files, JournalStore, Options, OsFiles, Shared,
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
        let place = Place { files, path: path.as_ref().to_owned() };
        let opening = place.clone();
        let (journal, loaded) = options.run(move || open_file(opening)).await?;
        let (state, seen) = watch::channel(Arc::new(loaded));
        let writer = Arc::new(Mutex::new(Writer::new(place.clone(), journal, state)));
        Ok(Self(Arc::new(Shared { place, options, writer, state: seen, flush_due: AtomicBool::new(false) })))
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
                let aside = aside(path, now_millis);
                files.rename(path, &aside).map_err(doing("set aside", path))?;
                tracing::error!(file = %path.display(), aside = %aside.display(), reason = %why, "replica file set aside; fetching it again");
                Self::open_on(files, path, options).await
            }
            opened => opened,
        }
    }
}

fn open_file(place: Place) -> Result<(Appender, Loaded), StoreError> {
    let file = JournalFile::open(place)?;
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
/// fetched again.
///
/// # Errors
/// As [`JournalStore::open`], but for a file that is no journal.
pub async fn open_replica(
    directory: &Path,
    embedded_options: embedded::Options,
    now_millis: i64,
) -> Result<Arc<dyn Store>, StoreError> {
    let path = directory.join(FILE_NAME);
    let options = Options::from(&embedded_options);
    let old = directory.join(embedded::FILE_NAME);
    if !exists(&path)? && exists(&old)? {
        return move_from(&old, path, embedded_options, now_millis).await;
    }
    let opened = JournalStore::open_or_set_aside(Arc::new(OsFiles), &path, options, now_millis).await?;
    Ok(Arc::new(opened))
}

/// Moves a sound replica out of an embedded store. A damaged one is used as it is: once it is repaired, the next start
/// moves it.
async fn move_from(
    old: &Path,
    path: PathBuf,
    options: embedded::Options,
    now_millis: i64,
) -> Result<Arc<dyn Store>, StoreError> {
    let own = Options::from(&options);
    let embedded = EmbeddedStore::open_replica(old, options, now_millis).await?;
    let Loaded { view, checkpoint, findings } = embedded.load().await?;
    if !findings.is_empty() {
        return Ok(Arc::new(embedded));
    }
    // Under another name until it is whole: a crash in between begins anew.
    let begun = path.with_added_extension("moving");
    if exists(&begun)? {
        fs::remove_file(&begun).map_err(doing("remove", &begun))?;
    }
    let journal = JournalStore::open(&begun, own).await?;
    let genesis = view.genesis().map(|genesis| (**genesis).clone());
    journal.replace(genesis, view.iter().cloned().collect(), checkpoint).await?;
    drop(journal);
    fs::rename(&begun, &path).map_err(doing("rename", &begun))?;
    OsFiles.sync_names(&path).map_err(doing("rename", &begun))?;
    drop(embedded);
    embedded::remove(old).map_err(doing("remove", old))?;
    tracing::info!(from = %old.display(), to = %path.display(), "the replica has moved into a journal");
    Ok(Arc::new(JournalStore::open(&path, own).await?))
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(doing("look for", path))
}

/// For what the system says about a file.
fn doing(what: &str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| at_path(io_error(&error), what, path)
}
