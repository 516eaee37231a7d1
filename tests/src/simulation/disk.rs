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

    /// The power goes: of what was not synced any part may be there, sector by sector. Which ones follows from their place
    /// and not from the order of the writes, which is the database's own affair.
    pub fn cut_power(&self) {
        let mut state = self.state();
        state.user += 1;
        let draw: u64 = state.rng.random();
        let keeps = |place: usize| SmallRng::seed_from_u64(draw ^ place as u64).random::<bool>();
        let State { synced, pending, .. } = &mut *state;
        for write in pending.drain(..) {
            match write {
                Write::Length(length) if length > synced.len() || keeps(usize::MAX) => {
                    synced.resize(length, 0)
                }
                Write::Length(_) => {}
                Write::Bytes(at, bytes) => keep_some(synced, at, &bytes, keeps),
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
fn keep_some(synced: &mut Vec<u8>, at: usize, bytes: &[u8], keeps: impl Fn(usize) -> bool) {
    if synced.len() < at + bytes.len() {
        synced.resize(at + bytes.len(), 0);
    }
    let mut from = 0;
    while from < bytes.len() {
        let sector = (at + from) / SECTOR;
        let to = bytes.len().min((sector + 1) * SECTOR - at);
        if keeps(sector) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(file: &File, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        file.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_killed_process_leaves_what_it_wrote_and_a_power_cut_what_was_synced() {
        let disk = Disk::new(1);
        let file = disk.open();
        file.set_len(4096).unwrap();
        file.write(0, &[1; 4096]).unwrap();
        file.sync_data().unwrap();
        file.write(0, &[2; 4096]).unwrap();
        disk.kill();
        assert!(file.write(0, &[3]).is_err(), "a dead process writes nothing more");
        let file = disk.open();
        assert_eq!(bytes(&file, 4096), [2; 4096]);
        disk.cut_power();
        let left = bytes(&disk.open(), 4096);
        assert!(left.contains(&1) && left.contains(&2), "some sectors of what was not synced");
        let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert!(left.chunks(SECTOR).all(whole), "sectors are not torn");
    }

    #[test]
    fn a_full_disk_keeps_what_it_has() {
        let disk = Disk::new(1);
        let file = disk.open();
        file.set_len(16).unwrap();
        disk.fill(true);
        assert_eq!(file.set_len(32).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.write(0, &[1]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(bytes(&file, 16), [0; 16]);
        disk.fill(false);
        file.write(0, &[1]).unwrap();
    }

    #[test]
    fn a_process_dies_in_the_middle_of_its_writes() {
        let disk = Disk::new(1);
        let file = disk.open();
        disk.fail_after(2);
        file.set_len(8).unwrap();
        file.write(0, &[1]).unwrap();
        assert!(file.write(1, &[2]).is_err() && file.sync_data().is_err());
    }
}
