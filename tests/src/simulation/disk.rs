//! A simulated disk under a peer's journal: it loses what was not synced when the power goes, fills up, breaks in the middle
//! of a write, and gets its bytes flipped.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use sorcha_node::store::journal::{Files, Medium};

/// What a power cut keeps or loses as one.
const SECTOR: usize = 512;

/// A disk; cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    rng: SmallRng,
    /// Every content there ever was; names come and go.
    contents: Vec<Content>,
    /// What programs see.
    names: Names,
    /// Since names were synced last, in order; before that, what a power cut leaves.
    renamings: Vec<Naming>,
    synced_names: Names,
    full: bool,
    /// Changes until the disk fails for the process that uses it.
    changes_left: Option<u32>,
    /// Which process may use the disk; a dead one's handles are told apart by it.
    user: u64,
}

type Names = BTreeMap<PathBuf, usize>;

#[derive(Clone)]
enum Naming {
    Made(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
}

impl Naming {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Made(path, content) => drop(names.insert(path.clone(), *content)),
            Self::Renamed(from, to) => {
                if let Some(content) = names.remove(from) {
                    names.insert(to.clone(), content);
                }
            }
        }
    }
}

#[derive(Default)]
struct Content {
    /// What a power cut leaves.
    synced: Vec<u8>,
    /// What programs read.
    current: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Write>,
    /// The process that has it open.
    user: Option<u64>,
}

enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: SmallRng::seed_from_u64(seed),
            contents: Vec::new(),
            names: Names::new(),
            renamings: Vec::new(),
            synced_names: Names::new(),
            full: false,
            changes_left: None,
            user: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk's files for a new process; the handles of earlier ones fail from now on.
    #[must_use]
    pub fn mount(&self) -> Mounted {
        let mut state = self.state();
        state.user += 1;
        state.changes_left = None;
        Mounted { disk: self.clone(), user: state.user }
    }

    /// The process that uses it is dead; what it wrote stays.
    pub fn kill(&self) {
        self.state().user += 1;
    }

    /// The power goes: of what was not synced any part may be there, sector by sector, and the latest changes of names are
    /// undone.
    pub fn cut_power(&self) {
        let mut state = self.state();
        state.user += 1;
        let State { rng, contents, names, renamings, synced_names, .. } = &mut *state;
        let kept = rng.random_range(0..=renamings.len());
        renamings.drain(..).take(kept).for_each(|naming| naming.apply(synced_names));
        names.clone_from(synced_names);
        for content in contents {
            content.cut_power(rng);
        }
    }

    /// Nothing more can be stored, or it can again.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// After so many changes everything fails for the process that uses the disk, as if it had died there: the last one may
    /// be done in part.
    pub fn fail_after(&self, changes: u32) {
        self.state().changes_left = Some(changes);
    }

    /// Flips a bit of a file at so many places. Only while nobody uses the disk.
    pub fn corrupt(&self, path: &Path, places: usize) {
        let mut state = self.state();
        let State { rng, contents, names, .. } = &mut *state;
        let Some(content) = names.get(path).map(|content| &mut contents[*content]) else { return };
        content.settle();
        for _ in 0..places.min(content.current.len()) {
            let at = rng.random_range(0..content.current.len());
            content.current[at] ^= 1 << rng.random_range(0..8);
        }
        content.synced.clone_from(&content.current);
    }
}

impl Content {
    /// Everything written so far is what a power cut leaves.
    fn settle(&mut self) {
        self.pending.clear();
        self.synced.clone_from(&self.current);
    }

    fn cut_power(&mut self, rng: &mut SmallRng) {
        for write in self.pending.drain(..) {
            match write {
                Write::Length(length) if rng.random() => self.synced.resize(length, 0),
                Write::Length(_) => {}
                Write::Bytes(at, bytes) => keep_some(&mut self.synced, at, &bytes, || rng.random()),
            }
        }
        self.current.clone_from(&self.synced);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.current, at, bytes);
        self.pending.push(Write::Bytes(at, bytes.to_vec()));
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Sectors of a write that made it.
fn keep_some(synced: &mut Vec<u8>, at: usize, bytes: &[u8], mut keeps: impl FnMut() -> bool) {
    let mut from = 0;
    while from < bytes.len() {
        let sector = (at + from) / SECTOR;
        let to = bytes.len().min((sector + 1) * SECTOR - at);
        if keeps() {
            put(synced, at + from, &bytes[from..to]);
        }
        from = to;
    }
}

/// The disk as one process sees it.
pub struct Mounted {
    disk: Disk,
    user: u64,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk of process {}", self.user)
    }
}

fn dead() -> io::Error {
    io::Error::other("this process is dead")
}

fn no_space() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on the simulated disk")
}

impl Mounted {
    fn access(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.user == self.user && state.changes_left != Some(0) { Ok(state) } else { Err(dead()) }
    }

    /// For a change; whether it is the last one.
    fn change(&self) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.access()?;
        let mut is_last = false;
        if let Some(left) = &mut state.changes_left {
            *left -= 1;
            is_last = *left == 0;
        }
        Ok((state, is_last))
    }
}

impl Files for Mounted {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.access()?.names.contains_key(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Medium>> {
        let mut state = self.access()?;
        let content = match state.names.get(path) {
            Some(content) => *content,
            None => {
                drop(state);
                state = self.change()?.0;
                state.contents.push(Content::default());
                let made = Naming::Made(path.to_owned(), state.contents.len() - 1);
                state.rename(made);
                state.contents.len() - 1
            }
        };
        let user = &mut state.contents[content].user;
        if *user == Some(self.user) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *user = Some(self.user);
        Ok(Box::new(File { mounted: Self { disk: self.disk.clone(), user: self.user }, content }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?.0.rename(Naming::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_names(&self, _: &Path) -> io::Result<()> {
        let mut state = self.change()?.0;
        let State { renamings, synced_names, .. } = &mut *state;
        renamings.drain(..).for_each(|naming| naming.apply(synced_names));
        Ok(())
    }
}

impl State {
    fn rename(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.renamings.push(naming);
    }
}

/// An open file.
#[derive(Debug)]
struct File {
    mounted: Mounted,
    content: usize,
}

impl Drop for File {
    fn drop(&mut self) {
        let mut state = self.mounted.disk.state();
        let user = &mut state.contents[self.content].user;
        if *user == Some(self.mounted.user) {
            *user = None;
        }
    }
}

impl Medium for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.mounted.access()?.contents[self.content].current.len() as u64)
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.mounted.access()?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = from.checked_add(bytes.len()).map(|to| from..to);
        let content = range.and_then(|range| state.contents[self.content].current.get(range));
        bytes.copy_from_slice(content.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    /// A full disk takes what there was space for; so does one that fails.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, is_last) = self.mounted.change()?;
        let at = usize::try_from(offset).map_err(|_| no_space())?;
        let full = state.full;
        let part = if is_last { state.rng.random_range(0..=bytes.len()) } else { bytes.len() };
        let content = &mut state.contents[self.content];
        let space = if full { content.current.len().saturating_sub(at) } else { usize::MAX };
        content.write(at, &bytes[..part.min(space)]);
        match (is_last, space < bytes.len()) {
            (true, _) => Err(dead()),
            (_, true) => Err(no_space()),
            _ => Ok(()),
        }
    }

    fn resize(&self, length: u64) -> io::Result<()> {
        let (mut state, _) = self.mounted.change()?;
        let length = usize::try_from(length).map_err(|_| no_space())?;
        let full = state.full;
        let content = &mut state.contents[self.content];
        if full && length > content.current.len() {
            return Err(no_space());
        }
        content.current.resize(length, 0);
        content.pending.push(Write::Length(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.mounted.change()?.0.contents[self.content].settle();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(file: &dyn Medium, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        file.read(&mut bytes, 0).unwrap();
        bytes
    }

    fn path(name: &str) -> &Path {
        Path::new(name)
    }

    #[test]
    fn a_killed_process_leaves_what_it_wrote_and_a_power_cut_what_was_synced() {
        let disk = Disk::new(1);
        let mounted = disk.mount();
        let file = mounted.open(path("a")).unwrap();
        mounted.sync_names(path("a")).unwrap();
        file.write(&[1; 4096], 0).unwrap();
        file.sync().unwrap();
        file.write(&[2; 4096], 0).unwrap();
        disk.kill();
        assert!(file.write(&[3], 0).is_err(), "a dead process writes nothing more");
        let file = disk.mount().open(path("a")).unwrap();
        assert_eq!(bytes(&*file, 4096), [2; 4096]);
        disk.cut_power();
        let left = bytes(&*disk.mount().open(path("a")).unwrap(), 4096);
        assert!(left.contains(&1) && left.contains(&2), "some sectors of what was not synced");
        let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert!(left.chunks(SECTOR).all(whole), "sectors are not torn");
    }

    #[test]
    fn names_are_lost_from_the_last_one_on_until_they_are_synced() {
        let mut left = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = Disk::new(seed);
            let mounted = disk.mount();
            drop(mounted.open(path("old")).unwrap());
            mounted.sync_names(path("old")).unwrap();
            drop(mounted.open(path("new")).unwrap());
            mounted.rename(path("new"), path("old")).unwrap();
            disk.cut_power();
            let state = disk.state();
            left.insert(state.names.clone());
        }
        let old = |content: usize| (PathBuf::from("old"), content);
        let expected =
            [Names::from([old(0)]), Names::from([old(0), (PathBuf::from("new"), 1)]), Names::from([old(1)])];
        assert_eq!(left, expected.into());
    }

    #[test]
    fn a_file_is_open_once() {
        let disk = Disk::new(1);
        let mounted = disk.mount();
        let first = mounted.open(path("a")).unwrap();
        assert_eq!(mounted.open(path("a")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        let old = mounted.open(path("a")).unwrap();
        let next = disk.mount();
        let new = next.open(path("a")).expect("the process that had it open is dead");
        drop(old);
        assert!(next.open(path("a")).is_err());
        drop(new);
    }

    #[test]
    fn a_full_disk_keeps_what_it_has() {
        let disk = Disk::new(1);
        let file = disk.mount().open(path("a")).unwrap();
        file.write(&[1; 16], 0).unwrap();
        disk.fill(true);
        assert_eq!(file.resize(32).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.write(&[2; 4], 14).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(bytes(&*file, 16)[..14], [1; 14]);
        file.write(&[3], 0).unwrap();
        disk.fill(false);
        file.write(&[2; 4], 14).unwrap();
        assert_eq!(file.length().unwrap(), 18);
    }

    #[test]
    fn a_process_dies_in_the_middle_of_its_writes() {
        let disk = Disk::new(1);
        let file = disk.mount().open(path("a")).unwrap();
        disk.fail_after(2);
        file.write(&[1], 0).unwrap();
        assert!(file.write(&[2; 100], 1).is_err() && file.sync().is_err());
        assert!(disk.mount().open(path("a")).unwrap().length().unwrap() <= 101);
    }
}
