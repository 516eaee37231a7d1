//! Files that may change while a node runs, such as those of a mounted ConfigMap: Kubernetes swaps a symbolic link.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A file that is looked at again and again.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    /// What was seen last; `None` before the first look.
    seen: Option<Stamp>,
}

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Missing,
    Unreadable(io::ErrorKind),
    File { modified: Option<SystemTime>, length: u64, inode: u64 },
}

impl Stamp {
    fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(metadata) => {
                let (modified, length) = (metadata.modified().ok(), metadata.len());
                Self::File { modified, length, inode: inode(&metadata) }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unreadable(error.kind()),
        }
    }
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

impl FileWatch {
    /// A file that was not looked at yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file was changed, made or removed since the last look; true at the first look. Look before
    /// reading: a change in between is then seen at the next look.
    pub fn has_changed(&mut self) -> bool {
        let stamp = Some(Stamp::of(&self.path));
        std::mem::replace(&mut self.seen, stamp) != stamp
    }

    /// Whether there was no such file at the last look.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.seen == Some(Stamp::Missing)
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
}
