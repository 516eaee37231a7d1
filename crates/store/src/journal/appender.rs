//! Appends frames to a journal.

use std::sync::Arc;

use sorcha_register::{entry::SealedEntry, lineage::Genesis, view::RegisterView};

use super::{
    super::{Checkpoint, StoreError, disk::read_error},
    file::{HEADER, JournalFile, Place, Turn},
    frame::{self, Chain, EntryMeta, Meta, START},
};

/// Entries in one frame of a whole register.
pub(super) const PER_FRAME: usize = 512;
/// Bytes that are buffered before a write.
const BUFFER: usize = 1024 * 1024;

/// A file and the place where the next frame goes.
pub(super) struct Appender {
    file: Arc<JournalFile>,
    end: u64,
    chain: Chain,
}

/// A position in a journal, for rollback.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    end: u64,
    chain: Chain,
}

/// Entries that were appended one behind the other, and where the first one begins.
pub(super) struct Appended {
    pub(super) entries: Vec<Arc<SealedEntry>>,
    pub(super) offset: u64,
}

impl Appended {
    /// From now on they are read from this file.
    pub(super) fn place(&self, file: &JournalFile) {
        let source = file.source();
        self.placed().for_each(|(sealed, offset)| sealed.stored_at(Arc::clone(&source), offset));
    }

    /// As [`Appended::place`], but for some entries. Nothing of the others stays in memory but their fields.
    pub(super) fn move_unless(&self, file: &JournalFile, stays: impl Fn(&Arc<SealedEntry>) -> bool) {
        let source = file.source();
        for (sealed, offset) in self.placed().filter(|(sealed, _)| !stays(sealed)) {
            sealed.stored_at(Arc::clone(&source), offset);
            sealed.evict();
        }
    }

    /// The entries, and where each begins.
    fn placed(&self) -> impl Iterator<Item = (&Arc<SealedEntry>, u64)> {
        let mut next = self.offset;
        self.entries.iter().map(move |sealed| {
            let offset = next;
            next += sealed.length() as u64;
            (sealed, offset)
        })
    }
}

impl Appender {
    pub(super) fn at(file: JournalFile, end: u64, chain: Chain) -> Self {
        Self { file: Arc::new(file), end, chain }
    }

    /// An empty journal that is to replace another one.
    pub(super) fn beside(place: &Place, turn: Turn) -> Result<Self, StoreError> {
        Ok(Self::at(JournalFile::beside(place, turn)?, HEADER as u64, START))
    }

    pub(super) const fn file(&self) -> &Arc<JournalFile> {
        &self.file
    }

    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Appends a frame; entries that are in another file are copied from there. After an error nothing is appended: the next
    /// frame overwrites the partial one.
    fn append(&mut self, meta: &Meta, entries: Vec<Arc<SealedEntry>>) -> Result<Appended, StoreError> {
        let (mut buffer, chain) = frame::encode(&self.chain, meta);
        let offset = self.end + buffer.len() as u64;
        let mut end = self.end;
        for sealed in &entries {
            if buffer.len() + sealed.length() > BUFFER {
                self.file.write(end, &buffer)?;
                end += buffer.len() as u64;
                buffer.clear();
            }
            let encoded = sealed.checked().map_err(|error| read_error(&error))?;
            if encoded.len() > BUFFER {
                self.file.write(end, &encoded)?;
                end += encoded.len() as u64;
            } else {
                buffer.extend_from_slice(&encoded);
            }
        }
        self.file.write(end, &buffer)?;
        (self.end, self.chain) = (end + buffer.len() as u64, chain);
        Ok(Appended { entries, offset })
    }

    /// Appends a transaction.
    pub(super) fn commit(
        &mut self,
        genesis: Option<&Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Appended, StoreError> {
        let meta = Meta {
            genesis: genesis.map(|genesis| genesis.bytes().to_vec()),
            checkpoint: checkpoint.map(frame::encode_checkpoint).transpose()?,
            entries: metas(&entries),
            open: false,
        };
        self.append(&meta, entries)
    }

    pub(super) const fn mark(&self) -> Mark {
        Mark { end: self.end, chain: self.chain }
    }

    /// Truncates the journal to a position.
    pub(super) fn back_to(&mut self, mark: Mark) -> Result<(), StoreError> {
        (self.end, self.chain) = (mark.end, mark.chain);
        self.file.truncate(mark.end)
    }

    /// Appends some entries of a whole register.
    pub(super) fn add(&mut self, entries: Vec<Arc<SealedEntry>>) -> Result<Appended, StoreError> {
        self.append(&Meta { entries: metas(&entries), open: true, ..Meta::default() }, entries)
    }

    /// Appends all entries of a register.
    pub(super) fn add_all(&mut self, view: &RegisterView) -> Result<Vec<Appended>, StoreError> {
        let entries: Vec<_> = view.iter().cloned().collect();
        entries.chunks(PER_FRAME).map(|some| self.add(some.to_vec())).collect()
    }

    /// Ends a whole register, and makes it durable.
    pub(super) fn finish(
        &mut self,
        view: &RegisterView,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(), StoreError> {
        self.commit(view.genesis().map(|genesis| &**genesis), Vec::new(), checkpoint)?;
        self.file.sync()?;
        self.file.note_durable(self.end)
    }
}

fn metas(entries: &[Arc<SealedEntry>]) -> Vec<EntryMeta> {
    entries.iter().map(|sealed| EntryMeta::of(sealed)).collect()
}
