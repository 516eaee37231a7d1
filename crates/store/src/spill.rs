//! Documents of a register that a database stores: in a file of this node, so that they take no memory.
//!
//! The file has no name and ends with the process. It is never a truth: what is in it was read from the database by this process,
//! and is checked whenever it is read.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use sorcha_register::entry::SealedEntry;

use crate::{reader::FileReader, recent::RecentEntries};

/// The file is written anew when it is this many times as large as what is still used of it, and larger than `SMALL`.
const GROWTH: u64 = 3;
const SMALL: u64 = 64 << 20;

/// A file for entries.
#[derive(Debug)]
pub(crate) struct Spill {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: Option<Arc<FileReader>>,
    end: u64,
    /// Bytes in use when the file was written anew.
    live: u64,
    entries: Vec<Weak<SealedEntry>>,
    recent: RecentEntries,
    /// The file can't be written: reported once.
    is_failing: bool,
}

impl Spill {
    /// A file in a directory, made with the first entry. `cache_bytes` of the newest entries stay in memory.
    pub(crate) fn new(directory: &Path, cache_bytes: u64) -> Self {
        let state = State {
            file: None,
            end: 0,
            live: 0,
            entries: Vec::new(),
            recent: RecentEntries::new(cache_bytes),
            is_failing: false,
        };
        Self { directory: directory.to_owned(), state: Mutex::new(state) }
    }

    /// Takes an entry of the database. One that can't be written stays in memory. It may wait for a disk.
    pub(crate) fn keep(&self, sealed: &Arc<SealedEntry>) {
        if sealed.is_stored() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = state.add(&self.directory, sealed).and_then(|()| state.renew_if_large(&self.directory));
        match kept {
            Ok(()) => state.is_failing = false,
            Err(error) if state.is_failing => tracing::debug!(%error, "a document stays in memory"),
            Err(error) => {
                state.is_failing = true;
                tracing::warn!(directory = %self.directory.display(), %error, "documents can't be written to a file and stay in memory; give this node a writable store.data_dir with room for the register");
            }
        }
    }
}

impl State {
    fn add(&mut self, directory: &Path, sealed: &Arc<SealedEntry>) -> io::Result<()> {
        let encoded = sealed.checked()?;
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.file.insert(Arc::new(FileReader(create(directory)?)))),
        };
        file.0.write_all_at(&encoded, self.end)?;
        sealed.stored_at(file, self.end);
        self.end += encoded.len() as u64;
        self.entries.push(Arc::downgrade(sealed));
        self.recent.extend([Arc::clone(sealed)]);
        Ok(())
    }

    fn renew_if_large(&mut self, directory: &Path) -> io::Result<()> {
        if self.end <= SMALL + GROWTH * self.live {
            return Ok(());
        }
        let entries: Vec<_> = self.entries.iter().filter_map(Weak::upgrade).collect();
        self.entries = entries.iter().map(Arc::downgrade).collect();
        // If it fails, it is tried again when the file has grown by as much once more.
        self.live = entries.iter().map(|sealed| sealed.length() as u64).sum();
        if self.end <= SMALL + GROWTH * self.live {
            return Ok(());
        }
        let live = std::mem::replace(&mut self.live, self.end);
        let (file, mut end) = (Arc::new(FileReader(create(directory)?)), 0);
        // Until all are written, they are read from the file before.
        for sealed in &entries {
            let encoded = sealed.checked()?;
            file.0.write_all_at(&encoded, end)?;
            end += encoded.len() as u64;
        }
        let mut offset = 0;
        for sealed in &entries {
            sealed.stored_at(Arc::clone(&file) as _, offset);
            offset += sealed.length() as u64;
        }
        (self.file, self.end, self.live) = (Some(file), end, live);
        Ok(())
    }
}

/// Where there is no directory yet, or none that can be written, one of the system's for temporary files is taken.
fn create(directory: &Path) -> io::Result<File> {
    tempfile::tempfile_in(directory).or_else(|_| tempfile::tempfile())
}

#[cfg(test)]
mod tests {
    use sorcha_register::{canonical::Document, entry::Entry, testing::entry};

    use super::*;

    fn large(number: i64) -> Arc<SealedEntry> {
        let text = format!(r#"{{"id":"{}"}}"#, "x".repeat(8 << 20));
        let document = Document::canonicalize(text.as_bytes()).unwrap();
        Entry { document, ..entry("a", number) }.seal()
    }

    #[test]
    fn entries_leave_memory_and_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path(), 0);
        let entries: Vec<_> = (1..=20).map(|number| entry("a", number).seal()).collect();
        let before: Vec<_> = entries.iter().map(|sealed| sealed.checked().unwrap()).collect();
        entries.iter().for_each(|sealed| spill.keep(sealed));
        assert!(!entries.iter().any(|sealed| sealed.is_recent()));
        assert!(entries.iter().map(|sealed| sealed.checked().unwrap()).eq(before));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn a_file_of_mostly_superseded_entries_is_written_anew() {
        let spill = Spill::new(&std::env::temp_dir(), 0);
        let stays = entry("b", 1).seal();
        spill.keep(&stays);
        let mut newest = large(2);
        for number in 3..30 {
            spill.keep(&newest);
            newest = large(number);
        }
        let end = spill.state.lock().unwrap().end;
        assert!(end < SMALL + 32 * (8 << 20) / 3, "{end}");
        assert_eq!(stays.whole().unwrap(), entry("b", 1));
    }
}
