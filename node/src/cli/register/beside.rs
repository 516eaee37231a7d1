//! A file that appears when it is whole.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Begins the names of files in the making.
pub(super) const PREFIX: &str = ".sorcha-export-";

/// A file in the making, beside its place. Dropping it leaves nothing behind.
pub(super) struct Beside {
    file: tempfile::NamedTempFile,
    place: PathBuf,
}

impl Beside {
    /// Begins one that is to be at `place`.
    pub(super) fn of(place: &Path) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        readable_by_default(&mut builder);
        let file =
            builder.tempfile_in(directory_of(place)).with_context(|| format!("write {}", place.display()))?;
        Ok(Self { file, place: place.to_owned() })
    }

    pub(super) fn as_file(&self) -> &fs::File {
        self.file.as_file()
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// The same for another place in the same folder.
    pub(super) fn at(self, place: &Path) -> Self {
        Self { place: place.to_owned(), ..self }
    }

    /// Makes it durable and moves it to its place.
    pub(super) fn put_there(self, replace: bool) -> anyhow::Result<()> {
        let Self { file, place } = self;
        let writing = || format!("write {}", place.display());
        file.as_file().sync_all().with_context(writing)?;
        let moved = if replace { file.persist(&place) } else { file.persist_noclobber(&place) };
        match moved {
            Ok(_) => {}
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                return Err(already_there(&place));
            }
            Err(error) => return Err(error.error).with_context(writing),
        }
        fs::File::open(directory_of(&place)).and_then(|directory| directory.sync_all()).with_context(writing)
    }
}

pub(super) fn already_there(file: &Path) -> anyhow::Error {
    anyhow::anyhow!("{} is there already; name another file, or add --force to replace it", file.display())
}

fn directory_of(place: &Path) -> &Path {
    place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Temporary files are private; a bundle is a file like any other.
#[cfg(unix)]
fn readable_by_default(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt as _;
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn readable_by_default(_: &mut tempfile::Builder<'_, '_>) {}
