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
        embedded::{self, EmbeddedStore},
    },
    FILE_NAME, JournalStore, Options, Shared,
    appender::Appender,
    blocking,
    file::{JournalFile, sync_directory},
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
        let path = path.as_ref().to_owned();
        let opening = path.clone();
        let (journal, loaded) = blocking(move || open_file(&opening)).await?;
        let (state, seen) = watch::channel(Arc::new(loaded));
        let writer = Arc::new(Mutex::new(Writer::new(path.clone(), journal, state)));
        Ok(Self(Arc::new(Shared { path, options, writer, state: seen, flush_due: AtomicBool::new(false) })))
    }
}

fn open_file(path: &Path) -> Result<(Appender, Loaded), StoreError> {
    let file = JournalFile::open(path)?;
    let content = file.read()?;
    let Recovered { loaded, end, chain } = recover(&content);
    // What does not count must not follow what is added now.
    if end < content.bytes.len() as u64 {
        file.truncate(end)?;
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
    let options = Options { flush_within: embedded_options.flush_within };
    let old = directory.join(embedded::FILE_NAME);
    if !exists(&path)? && exists(&old)? {
        return move_from(&old, path, embedded_options, now_millis).await;
    }
    match JournalStore::open(&path, options).await {
        Err(StoreError::Damaged(why)) => {
            let aside = PathBuf::from(format!("{}.damaged-{now_millis}", path.display()));
            fs::rename(&path, &aside).map_err(internal)?;
            tracing::error!(file = %path.display(), aside = %aside.display(), reason = %why, "replica file set aside; fetching it again");
            Ok(Arc::new(JournalStore::open(&path, options).await?))
        }
        opened => Ok(Arc::new(opened?)),
    }
}

/// Moves a sound replica out of an embedded store. A damaged one is used as it is: once it is repaired, the next start
/// moves it.
async fn move_from(
    old: &Path,
    path: PathBuf,
    options: embedded::Options,
    now_millis: i64,
) -> Result<Arc<dyn Store>, StoreError> {
    let flush_within = options.flush_within;
    let embedded = EmbeddedStore::open_replica(old, options, now_millis).await?;
    let Loaded { view, checkpoint, findings } = embedded.load().await?;
    if !findings.is_empty() {
        return Ok(Arc::new(embedded));
    }
    // Under another name until it is whole: a crash in between begins anew.
    let begun = path.with_added_extension("moving");
    if exists(&begun)? {
        fs::remove_file(&begun).map_err(internal)?;
    }
    let journal = JournalStore::open(&begun, Options { flush_within }).await?;
    let genesis = view.genesis().map(|genesis| (**genesis).clone());
    journal.replace(genesis, view.iter().cloned().collect(), checkpoint).await?;
    drop(journal);
    fs::rename(&begun, &path).map_err(internal)?;
    sync_directory(&path)?;
    drop(embedded);
    embedded::remove(old).map_err(internal)?;
    tracing::info!(from = %old.display(), to = %path.display(), "the replica has moved into a journal");
    Ok(Arc::new(JournalStore::open(&path, Options { flush_within }).await?))
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(internal)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn internal(error: io::Error) -> StoreError {
    StoreError::Internal(error.to_string())
}
