//! The file of an embedded store: opened without trust, opened again after a failure, made anew when it is damaged.

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Builder, Database, DatabaseError};

use super::{
    super::disk::{aside, at_path, in_use, io_error, sync_names},
    Loaded, StoreError, tables,
    witness::Witness,
};

/// A register's place on disk.
#[derive(Clone, Debug)]
pub(super) struct RegisterFile {
    path: PathBuf,
    cache_bytes: usize,
    pub(super) witness: Witness,
}

impl RegisterFile {
    pub(super) fn new(path: &Path, cache_bytes: usize) -> Self {
        Self { path: path.to_owned(), cache_bytes, witness: Witness::beside(path) }
    }

    /// Opens or creates the file and verifies all of it: every page by the database's own checksums, every entry by its
    /// leaf, the whole by its seal and by the witness beside the file.
    pub(super) fn open(&self) -> Result<(Database, Loaded), StoreError> {
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|error| at_path(io_error(&error), "create", directory))?;
        }
        let (db, mut loaded) = guarded(|| {
            let (mut db, is_verified) = self.database(&self.path)?;
            let loaded = tables::load(&db)?;
            // Entries come first, since findings name them. Where they are sound, the pages must be too: a changed one
            // that no entry lies in would damage what is written later.
            if loaded.findings.is_empty() && !is_verified {
                self.check_pages(&mut db)?;
            }
            Ok((db, loaded))
        })?;
        if loaded.findings.is_empty() {
            loaded.findings.extend(self.witness.contradicts(&loaded));
        }
        Ok((db, loaded))
    }

    fn check_pages(&self, db: &mut Database) -> Result<(), StoreError> {
        if !db.check_integrity().map_err(opening)? {
            tracing::warn!(file = %self.path.display(), "the file's list of free pages was wrong; it has been made anew");
        }
        Ok(())
    }

    /// Opens the database; true when it has checked every page, since it was not closed cleanly.
    fn database(&self, path: &Path) -> Result<(Database, bool), StoreError> {
        let is_verified = Arc::new(AtomicBool::new(false));
        let repairs = Arc::clone(&is_verified);
        let mut builder = Builder::new();
        builder
            .set_cache_size(self.cache_bytes)
            .set_repair_callback(move |_| repairs.store(true, Ordering::Relaxed));
        let db = builder.create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => in_use(path),
            other => at_path(opening(other), "open", path),
        })?;
        Ok((db, is_verified.load(Ordering::Relaxed)))
    }

    /// Begins an empty file that is to take the place of this one.
    pub(super) fn begin_anew(&self) -> Result<Database, StoreError> {
        let path = self.anew();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(at_path(io_error(&error), "remove", &path));
            }
            _ => {}
        }
        self.database(&path).map(|(db, _)| db)
    }

    /// Puts the file that was begun in the place of this one; a crash leaves the one or the other.
    pub(super) fn finish_anew(&self) -> Result<(), StoreError> {
        let moved = std::fs::rename(self.anew(), &self.path).and_then(|()| sync_names(&self.path));
        moved.map_err(|error| at_path(io_error(&error), "replace", &self.path))
    }

    /// Moves an unreadable file out of the way and returns where it is.
    pub(super) fn set_aside(&self, now_millis: i64) -> Result<PathBuf, StoreError> {
        let aside = aside(&self.path, now_millis);
        let moved = std::fs::rename(&self.path, &aside);
        moved.map_err(|error| at_path(io_error(&error), "set aside", &self.path))?;
        self.witness.forget();
        Ok(aside)
    }

    fn anew(&self) -> PathBuf {
        PathBuf::from(format!("{}.new", self.path.display()))
    }
}

/// An unreadable file is damage; a file that can't be accessed is not.
pub(super) fn opening(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::Storage(redb::StorageError::Io(io))
            if !matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            io_error(&io)
        }
        other => StoreError::Damaged(format!("the file is not readable: {other}")),
    }
}

/// Runs database code so that a panic on a damaged page is an error like any other.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Damaged("the file's structure is damaged".to_owned())))
}
