//! Folders, and names in them that outlive a power cut.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::Path,
};

/// The folder that a file is in.
#[must_use]
pub fn of(file: &Path) -> &Path {
    or_current(file.parent().unwrap_or(Path::new(".")))
}

fn or_current(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Makes durable which files a folder has, and what they are called.
///
/// # Errors
/// As the operating system gives them.
pub fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(feature = "faults")]
    crate::faults::step(crate::faults::Step::SyncFolder)?;
    match File::open(or_current(folder))?.sync_all() {
        // A file system that has no such thing, as some over a network: nothing more can be done there.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// Makes a folder and those above it that are missing, and makes their names durable: in the first folder that was there,
/// too. A folder that a process left that was killed here may not have a durable name yet; that is made up for.
///
/// # Errors
/// As the operating system gives them.
pub fn make(folder: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut at = or_current(folder);
    while !at.try_exists()? {
        missing.push(at);
        at = of(at);
    }
    if missing.is_empty() {
        // The folder above may be one that this process must not look into; it made nothing there.
        drop(sync(of(at)));
        return Ok(());
    }
    for made in missing.iter().rev() {
        match fs::create_dir(made) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && made.is_dir() => {}
            other => other?,
        }
        sync(of(made))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, Step};

    #[test]
    fn every_folder_above_a_new_one_is_made_durable_up_to_the_first_that_was_there() {
        let above = tempfile::tempdir().unwrap();
        let deep = above.path().join("a/b/c");
        let synced = Fault::count(Step::SyncFolder, || make(&deep).unwrap());
        assert!(deep.is_dir());
        assert_eq!(synced, 3, "the names of a, b and c");
        let again = Fault::count(Step::SyncFolder, || make(&deep).unwrap());
        assert_eq!(again, 1, "one that was killed in between left it to the next");
    }

    #[test]
    fn a_folder_whose_name_is_not_durable_is_not_made() {
        for number in 0..3 {
            let above = tempfile::tempdir().unwrap();
            let made = Fault::at(Step::SyncFolder, number, || make(&above.path().join("a/b/c")));
            assert!(made.is_err(), "fsync {number} failed");
            make(&above.path().join("a/b/c")).unwrap();
        }
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let above = tempfile::tempdir().unwrap();
        fs::write(above.path().join("a"), "").unwrap();
        assert!(make(&above.path().join("a/b")).is_err());
    }
}
