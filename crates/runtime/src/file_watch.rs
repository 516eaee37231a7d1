//! Files that may change while a node runs, such as those of a mounted ConfigMap: Kubernetes swaps a symbolic link, people
//! write in place, tools keep times and lengths. So what counts is the content.
//!
//! All files that a running node follows are followed by this: those of TLS, tokens of publishers, lists of central nodes and
//! requests for a resync. When to look, and what a change means, is decided where the file is used.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use sorcha_os::read;

/// Of a larger file, this many bytes are compared; no file that is followed is as large.
const COMPARED: u64 = 2 * 1024 * 1024;

/// A file that is looked at again and again.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    /// What was seen last; `None` before the first look.
    seen: Option<Seen>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Missing,
    Unreadable(io::ErrorKind),
    Content([u8; 32]),
    /// More than is compared: what the system notes of it.
    Large {
        device: u64,
        inode: u64,
        length: u64,
        changed: (i64, i64),
        modified: (i64, i64),
    },
    /// A pipe or a device: reading it again would take away what is in it.
    Stream {
        device: u64,
        inode: u64,
    },
}

impl Seen {
    fn of(path: &Path) -> Self {
        Self::look(path).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            kind => Self::Unreadable(kind),
        })
    }

    fn look(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let (device, inode) = (found.dev(), found.ino());
        if !found.is_file() && !found.is_dir() {
            return Ok(Self::Stream { device, inode });
        }
        match read::bytes(path, COMPARED) {
            Ok(content) => Ok(Self::Content(Sha256::digest(content).into())),
            Err(read::Unreadable::Io(error)) => Err(error),
            Err(_) => Ok(Self::Large {
                device,
                inode,
                length: found.len(),
                changed: (found.ctime(), found.ctime_nsec()),
                modified: (found.mtime(), found.mtime_nsec()),
            }),
        }
    }
}

impl FileWatch {
    /// A file that was not looked at yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// A file of which only later changes count.
    #[must_use]
    pub fn from_now(path: PathBuf) -> Self {
        let seen = Some(Seen::of(&path));
        Self { path, seen }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file's content was changed, made or removed since the last look; true at the first look. Look before
    /// reading: a change in between is then seen at the next look.
    pub fn has_changed(&mut self) -> bool {
        let seen = Some(Seen::of(&self.path));
        std::mem::replace(&mut self.seen, seen) != seen
    }

    /// Whether there was no such file at the last look.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.seen == Some(Seen::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_does_to_a_mounted_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        let mut watch = FileWatch::new(inside("token"));
        assert!(watch.has_changed() && watch.is_missing() && !watch.has_changed());
        for (version, content) in [("1", "a"), ("2", "b")] {
            fs::create_dir(inside(version)).unwrap();
            fs::write(inside(version).join("token"), content).unwrap();
        }
        std::os::unix::fs::symlink("1", inside("..data")).unwrap();
        std::os::unix::fs::symlink("..data/token", inside("token")).unwrap();
        assert!(watch.has_changed() && !watch.is_missing() && !watch.has_changed());
        // The same length, and on a coarse clock the same time.
        std::os::unix::fs::symlink("2", inside("..data_tmp")).unwrap();
        fs::rename(inside("..data_tmp"), inside("..data")).unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        fs::remove_file(inside("token")).unwrap();
        assert!(watch.has_changed() && watch.is_missing());
    }

    #[test]
    fn a_change_that_keeps_length_time_and_inode_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "one").unwrap();
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        let mut watch = FileWatch::new(file.clone());
        assert!(watch.has_changed() && !watch.has_changed());
        let keep_time =
            |path: &Path| fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        // Written in place.
        fs::write(&file, "two").unwrap();
        keep_time(&file);
        assert!(watch.has_changed() && !watch.has_changed());
        // Replaced, as `cp -p` and `rsync -t` do it.
        let beside = folder.path().join("beside");
        fs::write(&beside, "six").unwrap();
        keep_time(&beside);
        fs::rename(&beside, &file).unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        // Written once more with what it had: nothing to do.
        fs::write(&file, "six").unwrap();
        assert!(!watch.has_changed());
    }

    #[test]
    fn a_pipe_is_not_read_by_looking_at_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        let mut watch = FileWatch::new(pipe);
        assert!(watch.has_changed() && !watch.has_changed() && !watch.is_missing());
    }
}
