//! File systems that hold journals: the real one, or a simulation.

use std::{
    fmt,
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use sorcha_os::{
    folder,
    replace::{Target, permit_as},
};
use sorcha_register::entry::Source;

use crate::reader::FileReader;

/// What a journal needs of a file system.
pub trait Files: fmt::Debug + Send + Sync {
    /// Whether there is a file.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The file that a path leads to through links, so that a replacement keeps the links.
    ///
    /// # Errors
    /// When it is no file, or as the operating system gives them.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    /// Opens a file for reading and writing, and locks it until it is dropped. Creates it, and its folder durably, if there is
    /// none.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while another process has it open; others as the operating system gives them.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Medium>>;

    /// Renames a file. It replaces one that has the name, and gets its mode and owner. Not durable by itself.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file. Who has it open still reads it. Not durable by itself.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in the folder of this file durable.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn sync_names(&self, path: &Path) -> io::Result<()>;
}

/// An open file. All operations state an offset and may come from several threads.
///
/// # Errors
/// Each as the operating system gives them; a write that failed may have been done in part.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// The file for reading, by a handle of its own: it stays readable when this one is dropped, and does not keep it locked.
    fn source(&self) -> Arc<dyn Source>;
    /// Writes all bytes at an offset.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Truncates the file, or extends it with zeros.
    fn resize(&self, length: u64) -> io::Result<()>;
    /// Makes all writes durable.
    fn sync(&self) -> io::Result<()>;
    /// Whether a path still leads to this file; [`io::ErrorKind::NotFound`] where it leads to none.
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
        let opened = OsFile { file, reader: Arc::new(FileReader(File::open(path)?)) };
        // Between both another process may have renamed a file to the path.
        if is_same(&opened.file.metadata()?, &opened.reader.0.metadata()?) {
            Ok(Box::new(opened))
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::metadata(to) {
            Ok(there) => permit_as(&File::open(from)?, &there)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_names(&self, path: &Path) -> io::Result<()> {
        folder::sync(folder::of(path))
    }
}

/// A file that is locked, and once more for reading: a lock belongs to what was opened.
#[derive(Debug)]
struct OsFile {
    file: File,
    reader: Arc<FileReader>,
}

impl Medium for OsFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.reader) as _
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn resize(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        Ok(is_same(&self.file.metadata()?, &fs::metadata(path)?))
    }
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
