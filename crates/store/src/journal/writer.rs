//! The one writer of a journal: the file, and the register that it adds up to.

use std::{io::ErrorKind, sync::Arc};

use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version, view::RegisterView};
use tokio::sync::watch;

use super::{
    super::{
        Checkpoint, Loaded, StoreError,
        disk::{at_path, io_error},
        recent::RecentEntries,
    },
    appender::{Appended, Appender},
    file::{JournalFile, Place},
    publish::{Group, Op},
};

/// A journal is compacted when it is this many times as large as its register, and larger than `SMALL`.
const GROWTH: u64 = 3;
const SMALL: u64 = 1024 * 1024;

/// File and register, for one task at a time.
pub(super) struct Writer {
    place: Place,
    journal: Appender,
    state: watch::Sender<Arc<Loaded>>,
    /// Bytes of the current entries.
    live: u64,
    /// An fsync failed: earlier writes may be lost, even if later ones succeed.
    suspect: bool,
    /// The last compaction failed: the next one is tried at this length.
    patient_until: u64,
    /// The rename of the file is not durable, so no write is.
    name_is_due: bool,
    /// The file was not the journal when that was last looked at; a batch looks again.
    is_lost: bool,
    /// Appended since the last fsync: in memory until the next one.
    unsynced: Vec<Appended>,
    recent: RecentEntries,
}

impl Writer {
    pub(super) fn new(
        place: Place,
        journal: Appender,
        state: watch::Sender<Arc<Loaded>>,
        cache_bytes: u64,
    ) -> Self {
        let live = bytes_of(&state.borrow().view);
        Self {
            place,
            journal,
            state,
            live,
            suspect: false,
            patient_until: 0,
            name_is_due: false,
            is_lost: false,
            unsynced: Vec::new(),
            recent: RecentEntries::new(cache_bytes),
        }
    }

    fn now(&self) -> Arc<Loaded> {
        Arc::clone(&self.state.borrow())
    }

    /// Stores the entries that are newer than those held, and the position after them. Whether the file is still the journal
    /// is looked at when the batch is flushed: that look costs as much as the write of a small batch.
    pub(super) fn apply(
        &mut self,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        if self.suspect || self.name_is_due || self.is_lost {
            self.settle()?;
        }
        let (entries, live) = self.newer(entries);
        let appended = self.journal.commit(None, entries.clone(), Some(&checkpoint))?;
        self.unsynced.push(appended);
        self.live = live;
        // In place, unless a reader keeps the previous value.
        self.state.send_modify(|state| {
            let state = Arc::make_mut(state);
            state.view.apply(entries, checkpoint.version);
            state.checkpoint = Some(checkpoint);
        });
        Ok(())
    }

    /// Decides operations, makes their changes durable in one frame, and answers them. A change is visible only once it is
    /// durable: entries that peers have received must survive a power cut.
    pub(super) fn commit(&mut self, ops: Vec<Op>) {
        let group = Group::decide(Loaded::clone(&self.now()), ops);
        let stored = if group.is_empty() { self.settle() } else { self.store(&group) };
        match &stored {
            Ok(()) if !group.is_empty() => drop(self.state.send_replace(Arc::new(group.loaded.clone()))),
            Ok(()) => {}
            Err(error) => tracing::error!(%error, "publications were not stored"),
        }
        group.answer(&stored);
        self.renew_if_large();
    }

    /// Compacts a journal of mostly superseded entries. Without room for that, it goes on growing.
    fn renew_if_large(&mut self) {
        if self.is_large()
            && let Err(error) = self.renew()
        {
            self.patient_until = self.journal.end() + self.live.max(SMALL);
            tracing::warn!(%error, "the register's file could not be written anew; it goes on growing");
        }
    }

    fn store(&mut self, group: &Group) -> Result<(), StoreError> {
        self.settle()?;
        let before = self.journal.mark();
        let appended = self.journal.commit(group.genesis.as_deref(), group.entries.clone(), None)?;
        if let Err(error) = self.journal.file().sync() {
            self.suspect = true;
            // It is not acknowledged, so it must not be there after a restart.
            drop(self.journal.back_to(before));
            return Err(error);
        }
        appended.place(self.journal.file());
        let added: u64 = appended.entries.iter().map(|sealed| sealed.length() as u64).sum();
        self.recent.extend(appended.entries);
        self.live = (self.live + added).saturating_sub(group.superseded);
        // Without the record the next start verifies more; the entries are durable.
        if let Err(error) = self.journal.file().note_durable(self.journal.end()) {
            tracing::warn!(%error, "how far the register is durable was not noted");
        }
        Ok(())
    }

    /// The entries that are newer than those held, and the bytes of the current entries after them.
    fn newer(&self, mut entries: Vec<Arc<SealedEntry>>) -> (Vec<Arc<SealedEntry>>, u64) {
        let (state, mut live) = (self.state.borrow(), self.live);
        entries.retain(|new| match state.view.get(&new.entry().blueprint_id) {
            Some(old) if old.entry().version >= new.entry().version => false,
            old => {
                let superseded = old.map_or(0, |old| old.length());
                live = live.saturating_add(new.length() as u64).saturating_sub(superseded as u64);
                true
            }
        });
        (entries, live)
    }

    pub(super) fn replace(
        &mut self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        let head = checkpoint.as_ref().map_or(Version::ZERO, |checkpoint| checkpoint.version);
        let view = RegisterView::with_entries(genesis.map(Arc::new), entries, head);
        self.rewrite(Loaded { view, checkpoint, findings: Vec::new() })
    }

    fn rewrite(&mut self, state: Loaded) -> Result<(), StoreError> {
        let mut journal = Appender::beside(&self.place, self.place.turn()?)?;
        let appended = journal.add_all(&state.view)?;
        journal.finish(&state.view, state.checkpoint.as_ref())?;
        self.switch_to(journal, &appended, state)
    }

    /// Replaces this journal by a finished one. After the rename all writes go to the new file: the old one has no name any more.
    /// An error after the rename means that a power cut may undo it; nothing is acknowledged until the name is durable.
    pub(super) fn switch_to(
        &mut self,
        journal: Appender,
        appended: &[Appended],
        state: Loaded,
    ) -> Result<(), StoreError> {
        journal.file().take_name_of(&self.place)?;
        self.name_is_due = true;
        self.unsynced.clear();
        self.recent.clear();
        for some in appended {
            some.place(journal.file());
            self.recent.extend(some.entries.iter().cloned());
        }
        self.journal = journal;
        self.live = bytes_of(&state.view);
        (self.suspect, self.patient_until) = (false, 0);
        self.state.send_replace(Arc::new(state));
        self.name_durably()
    }

    /// Repeats a failed fsync of the folder.
    fn name_durably(&mut self) -> Result<(), StoreError> {
        if self.name_is_due {
            self.place.sync_names()?;
            self.name_is_due = false;
        }
        Ok(())
    }

    /// Repairs what keeps the next write from being durable, or refuses the write.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.name_durably()?;
        let is_there = self.journal.file().is_at(&self.place);
        self.is_lost = !matches!(is_there, Ok(true));
        match is_there {
            Ok(true) => self.renew_if_suspect(),
            Ok(false) => Err(StoreError::Unavailable(format!(
                "{} was replaced by another file while this node ran; restart the node to use that one, or put the one before \
                 back",
                self.place.path.display()
            ))),
            // The documents stay readable: this process has the file open.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tracing::error!(file = %self.place.path.display(), "the register's file was removed while this node runs; it is written anew");
                self.renew()
            }
            Err(error) => Err(at_path(io_error(&error), "look for", &self.place.path)),
        }
    }

    /// After a failed fsync the file is replaced instead of extended.
    fn renew_if_suspect(&mut self) -> Result<(), StoreError> {
        if self.suspect { self.renew() } else { Ok(()) }
    }

    /// Compacts the journal. One with findings stays unchanged until its repair: compaction would hide them.
    fn renew(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        match now.findings.first() {
            Some(finding) => Err(StoreError::Damaged(finding.to_string())),
            None => self.rewrite(Loaded::clone(&now)),
        }
    }

    /// Whether most of the journal is superseded; false for one with findings.
    fn is_large(&self) -> bool {
        let end = self.journal.end();
        end > SMALL + GROWTH * self.live
            && end >= self.patient_until
            && self.state.borrow().findings.is_empty()
    }

    /// The file that needs an fsync, and the end that is durable afterwards. Compacts the journal if it is large.
    pub(super) fn unsynced(&mut self) -> Result<(Arc<JournalFile>, u64), StoreError> {
        self.settle()?;
        self.renew_if_large();
        Ok((Arc::clone(self.journal.file()), self.journal.end()))
    }

    /// Processes the result of an fsync. It is ignored for a journal that was replaced meanwhile: the new one is durable.
    pub(super) fn synced(
        &mut self,
        file: &Arc<JournalFile>,
        end: u64,
        outcome: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if !Arc::ptr_eq(file, self.journal.file()) {
            return Ok(());
        }
        self.suspect |= outcome.is_err();
        outcome?;
        let durable = self.unsynced.iter().take_while(|appended| appended.offset < end).count();
        for appended in self.unsynced.drain(..durable) {
            appended.place(file);
            self.recent.extend(appended.entries);
        }
        file.note_durable(end)
    }
}

fn bytes_of(view: &RegisterView) -> u64 {
    view.iter().map(|sealed| sealed.length() as u64).sum()
}
