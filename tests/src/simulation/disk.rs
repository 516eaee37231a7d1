//! A simulated disk under a peer's journal: it loses what was not synced when the power goes, fills up, breaks in the middle
//! of a write, and gets its bytes flipped.

mod content;
mod file;
mod names;

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use sorcha_store::journal::{Files, Medium};

use self::{
    content::Content,
    file::File,
    names::{Names, Naming},
};

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
    names_broken: bool,
    /// Changes until the disk fails for the process that uses it.
    changes_left: Option<u32>,
    /// Changes until a single one fails, and how.
    fails_once: Option<(u32, Failure)>,
    /// Which process may use the disk; a dead one's handles are told apart by it.
    user: u64,
}

/// How a single change fails; those after it don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is not done, or in part.
    NotDone,
    /// It is done, and reported as failed.
    Done,
}

/// How a change ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    /// It is the last one of its process, which does not live to see how it ends.
    Dies,
    Fails(Failure),
}

impl End {
    /// Whether the change is done, whole.
    fn is_done(self) -> bool {
        matches!(self, Self::Well | Self::Fails(Failure::Done))
    }

    fn result(self) -> io::Result<()> {
        match self {
            Self::Well => Ok(()),
            Self::Dies => Err(dead()),
            Self::Fails(_) => Err(io::Error::other("the simulated disk failed once")),
        }
    }
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
            names_broken: false,
            changes_left: None,
            fails_once: None,
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
        state.fails_once = None;
        Mounted { disk: self.clone(), user: state.user }
    }

    /// As [`Disk::mount`], for a process that is started again; faults that were asked for are still to come.
    #[must_use]
    pub fn mount_again(&self) -> Mounted {
        let mut state = self.state();
        state.user += 1;
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

    /// After so many changes a single one fails; whether one has is told by [`Disk::has_failed`].
    pub fn fail_once_after(&self, changes: u32, how: Failure) {
        self.state().fails_once = Some((changes, how));
    }

    /// Whether the change that was to fail has come.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state().fails_once.is_none()
    }

    /// What files are called can't be made durable, or it can again.
    pub fn break_names(&self, broken: bool) {
        self.state().names_broken = broken;
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

/// The disk as one process sees it.
#[derive(Clone)]
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

    /// For a change, and how it ends.
    fn change(&self) -> io::Result<(MutexGuard<'_, State>, End)> {
        let mut state = self.access()?;
        let mut end = End::Well;
        if let Some(left) = &mut state.changes_left {
            *left -= 1;
            if *left == 0 {
                end = End::Dies;
            }
        }
        match state.fails_once {
            Some((0, how)) => (state.fails_once, end) = (None, End::Fails(how)),
            Some((left, how)) => state.fails_once = Some((left - 1, how)),
            None => {}
        }
        Ok((state, end))
    }

    /// For a change that is done whole or not at all.
    fn change_whole(&self) -> io::Result<(Option<MutexGuard<'_, State>>, io::Result<()>)> {
        let (state, end) = self.change()?;
        // A process that dies with its change does not come back to notice.
        let (is_done, result) = if end == End::Dies { (true, Ok(())) } else { (end.is_done(), end.result()) };
        Ok((is_done.then_some(state), result))
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
                let (changed, result) = self.change_whole()?;
                if let Some(mut changed) = changed {
                    changed.contents.push(Content::default());
                    let made = Naming::Made(path.to_owned(), changed.contents.len() - 1);
                    changed.rename(made);
                }
                result?;
                state = self.disk.state();
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
        let (state, result) = self.change_whole()?;
        if let Some(mut state) = state {
            state.rename(Naming::Renamed(from.to_owned(), to.to_owned()));
        }
        result
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (state, result) = self.change_whole()?;
        if let Some(mut state) = state {
            state.rename(Naming::Removed(path.to_owned()));
        }
        result
    }

    fn sync_names(&self, _: &Path) -> io::Result<()> {
        let (state, result) = self.change_whole()?;
        if state.as_ref().is_some_and(|state| state.names_broken) {
            return Err(io::Error::other("the simulated disk makes no name durable"));
        }
        if let Some(mut state) = state {
            let State { renamings, synced_names, .. } = &mut *state;
            renamings.drain(..).for_each(|naming| naming.apply(synced_names));
        }
        result
    }
}

impl State {
    fn rename(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.renamings.push(naming);
    }
}

#[cfg(test)]
mod tests;
