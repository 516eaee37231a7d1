//! What a file on a simulated disk holds: for programs, and after a power cut.

use rand::{RngExt as _, rngs::SmallRng};

/// What a power cut keeps or loses as one.
pub(super) const SECTOR: usize = 512;

#[derive(Default)]
pub(super) struct Content {
    /// What a power cut leaves.
    pub(super) synced: Vec<u8>,
    /// What programs read.
    pub(super) current: Vec<u8>,
    /// Since the last sync, in order.
    pub(super) pending: Vec<Write>,
    /// A sync failed: some of what was written before it is not on the disk, though programs read it, and no later sync
    /// changes that.
    pub(super) lost: bool,
    /// The process that has it open.
    pub(super) user: Option<u64>,
}

pub(super) enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Content {
    /// Everything written so far is what a power cut leaves.
    pub(super) fn settle(&mut self) {
        if self.lost {
            self.pending.drain(..).for_each(|write| write.apply(&mut self.synced));
            return;
        }
        self.pending.clear();
        self.synced.clone_from(&self.current);
    }

    /// A sync that fails: what was to be written is taken for written, and is on the disk in part.
    pub(super) fn fail_to_settle(&mut self, rng: &mut SmallRng) {
        self.lost = true;
        for write in self.pending.drain(..) {
            if rng.random() {
                write.apply(&mut self.synced);
            }
        }
    }

    pub(super) fn cut_power(&mut self, rng: &mut SmallRng) {
        for write in self.pending.drain(..) {
            match write {
                Write::Length(length) if rng.random() => self.synced.resize(length, 0),
                Write::Length(_) => {}
                Write::Bytes(at, bytes) => keep_some(&mut self.synced, at, &bytes, || rng.random()),
            }
        }
        self.lost = false;
        self.current.clone_from(&self.synced);
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.current, at, bytes);
        self.pending.push(Write::Bytes(at, bytes.to_vec()));
    }
}

impl Write {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Bytes(at, bytes) => put(content, at, &bytes),
            Self::Length(length) => content.resize(length, 0),
        }
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
