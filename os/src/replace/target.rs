//! Which file a name leads to, and whether it can be replaced.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use super::ReplaceError;
use crate::folder;

/// As many links are followed as Linux does.
const MAX_LINKS: usize = 40;

/// What a name given by a user stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `-`, `/dev/stdout` and its other names.
    StandardOutput,
    /// A device, a pipe, a descriptor of this process: written to as it is.
    Stream(PathBuf),
    /// A regular file, or nothing yet; links are followed.
    File(PathBuf),
}

impl Target {
    /// Finds out.
    ///
    /// # Errors
    /// [`ReplaceError::NotAFile`] for folders, sockets and block devices; [`ReplaceError::NotWritten`] where it can't be
    /// found out.
    pub fn of(path: &Path) -> Result<Self, ReplaceError> {
        if path == Path::new("-") {
            return Ok(Self::StandardOutput);
        }
        let failed = |source| ReplaceError::NotWritten { path: path.to_owned(), source };
        let mut at = path.to_owned();
        for _ in 0..MAX_LINKS {
            if let Some(descriptor) = descriptor(&at) {
                let is_output = descriptor == "1";
                return Ok(if is_output { Self::StandardOutput } else { Self::Stream(at) });
            }
            match fs::symlink_metadata(&at) {
                Ok(found) if found.is_symlink() => {
                    let to = fs::read_link(&at).map_err(failed)?;
                    at = folder::of(&at).join(to);
                }
                Ok(found) => return Self::found(path, at, &found),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::File(at)),
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::Error::other("too many levels of symbolic links")))
    }

    fn found(path: &Path, at: PathBuf, found: &Metadata) -> Result<Self, ReplaceError> {
        let kind = found.file_type();
        let what = match () {
            () if kind.is_file() => return Ok(Self::File(at)),
            () if kind.is_char_device() || kind.is_fifo() => return Ok(Self::Stream(at)),
            () if kind.is_dir() => "a folder",
            () if kind.is_socket() => "a socket",
            () if kind.is_block_device() => "a block device",
            () => "no file",
        };
        Err(ReplaceError::NotAFile { path: path.to_owned(), what })
    }

    /// The place of a file that can be replaced.
    ///
    /// # Errors
    /// As [`Target::of`], and [`ReplaceError::NotAFile`] for what can only be written to.
    pub fn file(path: &Path) -> Result<PathBuf, ReplaceError> {
        match Self::of(path)? {
            Self::File(place) => Ok(place),
            Self::StandardOutput | Self::Stream(_) => {
                Err(ReplaceError::NotAFile { path: path.to_owned(), what: "a device or a pipe" })
            }
        }
    }
}

/// The number of a descriptor of this process that a path stands for, such as `/dev/fd/3`.
fn descriptor(path: &Path) -> Option<OsString> {
    let folder = path.parent()?.canonicalize().ok()?;
    let own = Path::new("/proc").join(std::process::id().to_string()).join("fd");
    (folder == own).then(|| path.file_name().map(OsString::from))?
}
