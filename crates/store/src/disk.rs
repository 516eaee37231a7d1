//! Errors and names of files, and work that waits for a disk.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::StoreError;

/// Separates a full disk from other errors.
pub(super) fn io_error(error: &io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::Full(error.to_string())
        }
        _ => StoreError::Internal(error.to_string()),
    }
}

/// An error of reading a stored entry.
pub(super) fn read_error(error: &io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => StoreError::Damaged(error.to_string()),
        _ => io_error(error),
    }
}

/// Adds the operation and the file to an error.
pub(super) fn at_path(error: StoreError, doing: &str, path: &Path) -> StoreError {
    match error {
        StoreError::Internal(why) => StoreError::Internal(format!(
            "{doing} {}: {why}; the data directory must be writable by this process's user",
            path.display()
        )),
        StoreError::Full(why) => StoreError::Full(format!("{doing} {}: {why}", path.display())),
        other => other,
    }
}

/// Another process has the file open.
pub(super) fn in_use(path: &Path) -> StoreError {
    StoreError::Unavailable(format!("{} is in use by another process (a running node?)", path.display()))
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the store has been closed".to_owned())
}

/// Names for an unreadable file: the first one that is free. A clock may show the same instant twice.
pub(super) fn asides(path: &Path, now_millis: i64) -> impl Iterator<Item = PathBuf> {
    let first = format!("{}.damaged-{now_millis}", path.display());
    let others = (2..1000).map({
        let first = first.clone();
        move |number| PathBuf::from(format!("{first}-{number}"))
    });
    std::iter::once(PathBuf::from(first)).chain(others)
}

/// Runs work on the blocking pool; `None` when the runtime ends before it could begin.
pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Some(value),
        Err(error) if error.is_cancelled() => None,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
