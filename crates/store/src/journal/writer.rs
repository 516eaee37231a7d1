//! The one writer of a journal: the file, and the register that it adds up to.

use std::{io::ErrorKind, sync::Arc};

use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version, view::RegisterView};
use tokio::sync::watch;

use super::{
    super::{
        Checkpoint, Loaded, StoreError,
        disk::{at_path, io_error},
    },
    appender::Appender,
    file::{JournalFile, Place},
    publish::{Group, Op},
};

/// A journal that has grown to this many times its register, and beyond so many bytes, is written anew.
const GROWTH: u64 = 3;
const SMALL: u64 = 1024 * 1024;

/// File and register; whoever holds it is alone.
pub(super) struct Writer {
    place: Place,
    journal: Appender,
    state: watch::Sender<Arc<Loaded>>,
    /// Bytes of the entries that count.
    live: u64,
    /// An fsync failed: what was written before it may be gone whatever later ones say.
    suspect: bool,
    /// Below this length no other attempt is made to write the file anew: the last one failed.
    patient_until: u64,
    /// The file has its name, but a power cut may give that back to the one before: nothing that is written is durable.
    name_is_due: bool,
}

impl Writer {
    pub(super) fn new(place: Place, journal: Appender, state: watch::Sender<Arc<Loaded>>) -> Self {
        let live = bytes_of(&state.borrow().view);
        Self { place, journal, state, live, suspect: false, patient_until: 0, name_is_due: false }
    }

    fn now(&self) -> Arc<Loaded> {
        Arc::clone(&self.state.borrow())
    }

    /// Stores entries, of which those count that are newer than what is known, and the position after them.
    pub(super) fn apply(
        &mut self,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.settle()?;
        let (entries, live) = self.newer(entries);
        self.journal.commit(None, &entries, Some(&checkpoint))?;
        self.live = live;
        // In place, unless somebody keeps the value before.
        self.state.send_modify(|state| {
            let state = Arc::make_mut(state);
            state.view.apply(entries, checkpoint.version);
            state.checkpoint = Some(checkpoint);
        });
        Ok(())
    }

    /// Decides operations, makes what they change durable in one frame, and answers them. Nobody sees a change before it is
    /// durable: what a peer has been sent must still be here after a power cut.
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

    /// A journal that is mostly of no use any more is written anew. Where there is no room for that, it goes on growing.
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
        self.journal.commit(group.genesis.as_deref(), &group.entries, None)?;
        if let Err(error) = self.journal.file().sync() {
            self.suspect = true;
            // It was not acknowledged. Should the process end before the file is written anew, it must not come back.
            drop(self.journal.back_to(before));
            return Err(error);
        }
        let added: u64 = group.entries.iter().map(|sealed| sealed.encoded().len() as u64).sum();
        self.live = (self.live + added).saturating_sub(group.superseded);
        // Without the note the next start takes less for granted; what was stored is stored.
        if let Err(error) = self.journal.file().note_durable(self.journal.end()) {
            tracing::warn!(%error, "how far the register is durable was not noted");
        }
        Ok(())
    }

    /// Those entries that are newer than what is known, and the bytes that count after them.
    fn newer(&self, mut entries: Vec<Arc<SealedEntry>>) -> (Vec<Arc<SealedEntry>>, u64) {
        let (state, mut live) = (self.state.borrow(), self.live);
        entries.retain(|new| match state.view.get(&new.entry().blueprint_id) {
            Some(old) if old.entry().version >= new.entry().version => false,
            old => {
                let superseded = old.map_or(0, |old| old.encoded().len());
                live = live.saturating_add(new.encoded().len() as u64).saturating_sub(superseded as u64);
                true
            }
        });
        (entries, live)
    }

    /// Stores a whole register in the place of the one before.
    pub(super) fn replace(
        &mut self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        let head = checkpoint.as_ref().map_or(Version::ZERO, |checkpoint| checkpoint.version);
        let view = RegisterView::with_entries(genesis.map(Arc::new), entries, head);
        self.write_anew(Loaded { view, checkpoint, findings: Vec::new() })
    }

    fn write_anew(&mut self, state: Loaded) -> Result<(), StoreError> {
        let mut journal = Appender::beside(&self.place)?;
        journal.add_all(&state.view)?;
        journal.finish(&state.view, state.checkpoint.as_ref())?;
        self.switch_to(journal, state)
    }

    /// Puts a finished journal in the place of this one. Once it is there, everything goes on with it: the file before has no
    /// name any more, and what is written to it is lost with the process. An error then means that a power cut may bring the
    /// one before back; nothing more is acknowledged until that is over.
    pub(super) fn switch_to(&mut self, journal: Appender, state: Loaded) -> Result<(), StoreError> {
        journal.file().take_name_of(&self.place)?;
        self.name_is_due = true;
        self.journal = journal;
        self.live = bytes_of(&state.view);
        (self.suspect, self.patient_until) = (false, 0);
        self.state.send_replace(Arc::new(state));
        self.name_durably()
    }

    /// Makes up for an fsync of the folder that failed.
    fn name_durably(&mut self) -> Result<(), StoreError> {
        if self.name_is_due {
            self.place.sync_names()?;
            self.name_is_due = false;
        }
        Ok(())
    }

    /// Whatever keeps the next write from being durable is mended, or the write is refused.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.name_durably()?;
        match self.journal.file().is_at(&self.place) {
            Ok(true) => self.renew_if_suspect(),
            Ok(false) => Err(StoreError::Unavailable(format!(
                "{} was replaced by another file while this node ran; restart the node to use that one, or put the one before \
                 back",
                self.place.path.display()
            ))),
            // All of it is in memory.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tracing::error!(file = %self.place.path.display(), "the register's file was removed while this node runs; it is written anew");
                self.renew()
            }
            Err(error) => Err(at_path(io_error(&error), "look for", &self.place.path)),
        }
    }

    /// After a failed fsync the file is not added to, but replaced.
    fn renew_if_suspect(&mut self) -> Result<(), StoreError> {
        if self.suspect { self.renew() } else { Ok(()) }
    }

    /// Writes the journal anew. One with findings is left to its repair: written anew it would have none.
    fn renew(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        match now.findings.first() {
            Some(finding) => Err(StoreError::Damaged(finding.to_string())),
            None => self.write_anew(Loaded::clone(&now)),
        }
    }

    /// The journal is mostly of no use any more. One with findings is left as it is.
    fn is_large(&self) -> bool {
        let end = self.journal.end();
        end > SMALL + GROWTH * self.live
            && end >= self.patient_until
            && self.state.borrow().findings.is_empty()
    }

    /// What has to be fsynced, and up to where it is durable then. A journal that is mostly of no use any more is written
    /// anew on this occasion.
    pub(super) fn unsynced(&mut self) -> Result<(Arc<JournalFile>, u64), StoreError> {
        self.settle()?;
        self.renew_if_large();
        Ok((Arc::clone(self.journal.file()), self.journal.end()))
    }

    /// Takes in how an fsync ended. One of a journal that was replaced meanwhile does not matter: the new one is durable.
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
        file.note_durable(end)
    }
}

fn bytes_of(view: &RegisterView) -> u64 {
    view.iter().map(|sealed| sealed.encoded().len() as u64).sum()
}
