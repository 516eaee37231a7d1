//! A simulated disk under the embedded store: it loses what was not synced when the power goes, fills up, breaks in the
//! middle of a commit, and gets its bytes flipped.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use redb::StorageBackend;

/// What a power cut keeps or loses as one.
const SECTOR: usize = 512;

/// A disk; cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    rng: SmallRng,
    /// What a power cut leaves.
    synced: Vec<u8>,
    /// What programs read.
    current: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Write>,
    capacity: usize,
    full: bool,
    /// Writes until the disk fails for the process that uses it.
    writes_left: Option<u32>,
    /// Which process may use the disk; a dead one's handles are told apart by it.
    user: u64,
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
            synced: Vec::new(),
            current: Vec::new(),
            pending: Vec::new(),
            capacity: usize::MAX,
            full: false,
            writes_left: None,
            user: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the disk for a new process; the handles of earlier ones fail from now on.
    #[must_use]
    pub fn open(&self) -> File {
        let mut state = self.state();
        state.user += 1;
        state.writes_left = None;
        File { disk: self.clone(), user: state.user }
    }

    /// The process that uses it is dead; what it wrote stays.
    pub fn kill(&self) {
        self.state().user += 1;
    }

    /// The power goes: of what was not synced any part may be there, sector by sector.
    pub fn cut_power(&self) {
        let mut state = self.state();
        state.user += 1;
        let State { rng, synced, pending, .. } = &mut *state;
        for write in pending.drain(..) {
            match write {
                Write::Length(length) if rng.random() => synced.resize(length, 0),
                Write::Length(_) => {}
                Write::Bytes(at, bytes) => keep_some(rng, synced, at, &bytes),
            }
        }
        state.current = state.synced.clone();
    }

    /// Nothing more can be stored, or it can again.
    pub fn fill(&self, full: bool) {
        let mut state = self.state();
        state.full = full;
        state.capacity = if full { state.current.len() } else { usize::MAX };
    }

    /// After so many writes everything fails for the process that uses the disk, as if it had died there.
    pub fn fail_after(&self, writes: u32) {
        self.state().writes_left = Some(writes);
    }

    /// Flips a bit at so many places. Only while nobody uses the disk.
    pub fn corrupt(&self, places: usize) {
        let mut state = self.state();
        let mut content = state.current.clone();
        if content.is_empty() {
            return;
        }
        for _ in 0..places {
            let at = state.rng.random_range(0..content.len());
            content[at] ^= 1 << state.rng.random_range(0..8);
        }
        state.replace(content);
    }

    /// An unreadable file is set aside, as the node does it.
    pub fn set_aside(&self) {
        self.state().replace(Vec::new());
    }
}

/// Sectors of a write that made it.
fn keep_some(rng: &mut SmallRng, synced: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if synced.len() < at + bytes.len() {
        synced.resize(at + bytes.len(), 0);
    }
    let mut from = 0;
    while from < bytes.len() {
        let to = bytes.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
        if rng.random() {
            synced[at + from..at + to].copy_from_slice(&bytes[from..to]);
        }
        from = to;
    }
}

impl State {
    /// Everything written so far is what a power cut leaves.
    fn settle(&mut self) {
        let Self { synced, pending, .. } = self;
        for write in pending.drain(..) {
            match write {
                Write::Length(length) => synced.resize(length, 0),
                Write::Bytes(at, bytes) => {
                    if synced.len() < at + bytes.len() {
                        synced.resize(at + bytes.len(), 0);
                    }
                    synced[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
    }

    fn replace(&mut self, content: Vec<u8>) {
        self.pending.clear();
        self.synced.clone_from(&content);
        self.current = content;
    }
}

/// The disk as one process sees it.
pub struct File {
    disk: Disk,
    user: u64,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File of process {}", self.user)
    }
}

impl File {
    fn access(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.user == self.user && state.writes_left != Some(0) {
            return Ok(state);
        }
        Err(io::Error::other("this process is dead"))
    }

    fn changing(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.access()?;
        if let Some(left) = &mut state.writes_left {
            *left -= 1;
        }
        Ok(state)
    }
}

fn no_space() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on the simulated disk")
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.access()?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.access()?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = from.checked_add(out.len()).and_then(|to| state.current.get(from..to));
        let beyond = || io::Error::from(io::ErrorKind::UnexpectedEof);
        out.copy_from_slice(bytes.ok_or_else(beyond)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.changing()?;
        let length = usize::try_from(len).map_err(|_| no_space())?;
        if length > state.capacity {
            return Err(no_space());
        }
        state.current.resize(length, 0);
        state.pending.push(Write::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.changing()?.settle();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.changing()?;
        let at = usize::try_from(offset).map_err(|_| no_space())?;
        if state.full || at + data.len() > state.capacity {
            return Err(no_space());
        }
        if state.current.len() < at + data.len() {
            state.current.resize(at + data.len(), 0);
        }
        state.current[at..at + data.len()].copy_from_slice(data);
        state.pending.push(Write::Bytes(at, data.to_vec()));
        Ok(())
    }
}
