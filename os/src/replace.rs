//! The one way in which files are put in their places: whoever looks finds the old content or the new one, whole, whatever
//! fails.
//!
//! A file is written beside its place, made durable, and moved there; then its name is made durable. Only regular files are
//! replaced. A symbolic link stays, and what it leads to is replaced. Mode and owner of what is replaced are kept.

mod target;

use std::{
    fs::{self, File, Metadata, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

pub use target::Target;

use crate::folder;

/// Begins the names of files in the making. One that a killed process left is not needed.
pub const IN_THE_MAKING: &str = ".sorcha-new-";

/// Why a file is not, or not durably, in its place.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Something is there that must not be replaced.
    #[error("{} is there already", .0.display())]
    AlreadyThere(PathBuf),
    /// Something is there that is no file.
    #[error("{} is {what}: only regular files are replaced", .path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Nothing has changed.
    #[error("write {}: {source}", .path.display())]
    NotWritten {
        /// The place.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The new file is in its place, but a power cut may bring back what was there before.
    #[error("{} is written, but may not outlive a power cut: make its folder durable: {source}", .path.display())]
    NotDurable {
        /// The place.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Who may read a file that is new at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its owner.
    Private,
    /// Whom the process's umask lets.
    Usual,
}

/// What becomes of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new one is refused.
    Stays,
    /// The new one takes its place.
    Goes,
}

/// A file in the making, beside its place. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Replacement {
    file: NamedTempFile,
    place: PathBuf,
}

impl Replacement {
    /// Begins one that is to be at `place`, with the mode and the owner of what is there.
    ///
    /// # Errors
    /// [`ReplaceError`] naming the place; nothing has changed.
    pub fn begin(place: &Path, mode: Mode) -> Result<Self, ReplaceError> {
        let place = Target::file(place)?;
        let failed = |source| ReplaceError::NotWritten { path: place.clone(), source };
        let there = match fs::metadata(&place) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let file = create(folder::of(&place), mode, there.is_some()).map_err(failed)?;
        // Who tidies up leaves alone what another process is still making. Not all file systems have locks.
        drop(file.as_file().try_lock());
        if let Some(there) = &there {
            permit_as(file.as_file(), there).map_err(failed)?;
        }
        Ok(Self { file, place })
    }

    /// Begins one whose place in a folder is named later, by [`Replacement::at`], or never.
    ///
    /// # Errors
    /// [`ReplaceError`] naming the folder.
    pub fn in_folder(folder: &Path, mode: Mode) -> Result<Self, ReplaceError> {
        let failed = |source| ReplaceError::NotWritten { path: folder.to_owned(), source };
        let file = create(folder, mode, false).map_err(failed)?;
        drop(file.as_file().try_lock());
        Ok(Self { file, place: folder.to_owned() })
    }

    /// Where it lies while it is made.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its bytes so far.
    ///
    /// # Errors
    /// As the operating system gives them.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.file.as_file().metadata()?.len())
    }

    /// The same for another place in the same folder, where nothing is.
    #[must_use]
    pub fn at(self, place: &Path) -> Self {
        Self { place: place.to_owned(), ..self }
    }

    /// Makes it durable and moves it to its place.
    ///
    /// # Errors
    /// [`ReplaceError::NotDurable`] when it is there, but may not stay; any other one when nothing has changed.
    pub fn put(self, existing: Existing) -> Result<(), ReplaceError> {
        let Self { file, place } = self;
        let failed = |source| ReplaceError::NotWritten { path: place.clone(), source };
        sync(file.as_file()).map_err(failed)?;
        match move_there(file, &place, existing) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(ReplaceError::AlreadyThere(place));
            }
            Err(error) => return Err(failed(error)),
        }
        folder::sync(folder::of(&place)).map_err(|source| ReplaceError::NotDurable { path: place, source })
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "faults")]
        crate::faults::step(crate::faults::Step::Write)?;
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

fn create(folder: &Path, mode: Mode, is_replacement: bool) -> io::Result<NamedTempFile> {
    #[cfg(feature = "faults")]
    crate::faults::step(crate::faults::Step::Create)?;
    let mut builder = Builder::new();
    builder.prefix(IN_THE_MAKING);
    // One that replaces another is private until it has that one's mode.
    if mode == Mode::Usual && !is_replacement {
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Whoever could read and write what was there can read and write this, and nobody else.
///
/// # Errors
/// As the operating system gives them.
pub fn permit_as(file: &File, there: &Metadata) -> io::Result<()> {
    #[cfg(feature = "faults")]
    crate::faults::step(crate::faults::Step::Permit)?;
    let (own, mut mode) = (file.metadata()?, there.mode() & 0o7777);
    if own.gid() != there.gid() && std::os::unix::fs::fchown(file, None, Some(there.gid())).is_err() {
        // Its rights were another group's.
        mode &= !0o070;
    }
    if own.uid() != there.uid() {
        // Only root gives files away; others may replace them all the same where the folder is theirs.
        drop(std::os::unix::fs::fchown(file, Some(there.uid()), None));
    }
    file.set_permissions(Permissions::from_mode(mode))
}

fn sync(file: &File) -> io::Result<()> {
    #[cfg(feature = "faults")]
    crate::faults::step(crate::faults::Step::Sync)?;
    file.sync_all()
}

fn move_there(file: NamedTempFile, place: &Path, existing: Existing) -> io::Result<()> {
    #[cfg(feature = "faults")]
    crate::faults::step(crate::faults::Step::Move)?;
    let moved = match existing {
        Existing::Goes => file.persist(place),
        Existing::Stays => file.persist_noclobber(place),
    };
    moved.map(drop).map_err(|error| error.error)
}

/// Puts a file with this content in its place.
///
/// # Errors
/// As [`Replacement::put`].
pub fn replace_file(
    place: &Path,
    content: &[u8],
    mode: Mode,
    existing: Existing,
) -> Result<(), ReplaceError> {
    let mut file = Replacement::begin(place, mode)?;
    let path = || place.to_owned();
    file.write_all(content).map_err(|source| ReplaceError::NotWritten { path: path(), source })?;
    file.put(existing)
}

#[cfg(test)]
mod tests;
