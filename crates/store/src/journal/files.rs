//! Where journals lie: the file system, or a simulation of one.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use sorcha_os::{
    folder,
    replace::{Target, permit_as},
};

/// What a journal needs of a file system.
pub trait Files: fmt::Debug + Send + Sync {
    /// Whether there is a file.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The file that a path leads to through links, which stay when that file is replaced.
    ///
    /// # Errors
    /// When it is no file, or as the operating system gives them.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    /// Opens a file for reading and writing; makes it, and its folder durably, where there is none. Nobody else may have it
    /// open until it is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while another process has it open; others as the operating system gives them.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Medium>>;

    /// Gives a file another name, in the place of one that may have had it, whose mode and owner it gets. Not durable by
    /// itself.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes durable what the files beside this one are called.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn sync_names(&self, path: &Path) -> io::Result<()>;
}

/// An open file. All of its operations work at a place and may come from several threads.
///
/// # Errors
/// Each as the operating system gives them; a write that failed may have been done in part.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills a buffer from a place on.
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all bytes to a place.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file off, or lengthens it with zeros.
    fn resize(&self, length: u64) -> io::Result<()>;
    /// Makes durable what was written.
    fn sync(&self) -> io::Result<()>;
    /// Whether a path leads to this file still, and not to another one; [`io::ErrorKind::NotFound`] where it leads to none.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Target::file(path).map_err(|error| io::Error::other(error.to_string()))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Medium>> {
        if !path.try_exists()? {
            folder::make(folder::of(path))?;
        }
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::metadata(to) {
            Ok(there) => permit_as(&File::open(from)?, &there)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(from, to)
    }

    fn sync_names(&self, path: &Path) -> io::Result<()> {
        folder::sync(folder::of(path))
    }
}

impl Medium for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn resize(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let (own, there) = (self.metadata()?, fs::metadata(path)?);
        Ok((own.dev(), own.ino()) == (there.dev(), there.ino()))
    }
}
