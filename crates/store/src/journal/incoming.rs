//! A whole register that is being received: entries are written while more arrive.

use std::{sync::Arc, thread};

use async_trait::async_trait;
use sorcha_register::{
    entry::SealedEntry,
    lineage::Genesis,
    names::{RegisterDigest, Version},
    view::RegisterView,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::{JoinError, JoinHandle},
};

use super::{
    super::{Checkpoint, Incoming, Loaded, StoreError, disk::closed},
    Shared,
    appender::{Appended, Appender, PER_FRAME},
    file::{Place, Turn},
};

/// Pieces in the queue of the writing thread, and bytes of their entries. A larger entry is alone in it.
const QUEUE: usize = 8;
const QUEUE_BYTES: u32 = 8 * 1024 * 1024;
/// Bytes between two fsyncs that run beside further writes, so that the last fsync is short.
const SYNC_EVERY: u64 = 8 * 1024 * 1024;

/// A register that is written beside the one in use; dropping it leaves that one unchanged.
pub(super) struct Beside {
    shared: Arc<Shared>,
    way: Way,
}

enum Way {
    /// A thread of its own writes.
    Thread {
        pieces: mpsc::Sender<Piece>,
        /// A permit for each byte in the queue.
        room: Arc<Semaphore>,
        writing: JoinHandle<Result<Written, StoreError>>,
    },
    /// The calling task writes.
    Inline(Box<Result<Written, StoreError>>),
}

/// Entries on their way to the file, and the room that they take until they are there.
type Piece = (Vec<Arc<SealedEntry>>, Option<OwnedSemaphorePermit>);

struct Written {
    journal: Appender,
    /// What was appended: entries of the register in use among them are read from there until this one takes its place.
    appended: Vec<Appended>,
    in_use: watch::Receiver<Arc<Loaded>>,
    view: RegisterView,
    /// Offset up to which an fsync was begun.
    begun: u64,
    syncing: Option<thread::JoinHandle<Result<(), StoreError>>>,
}

impl Beside {
    pub(super) fn begin(shared: Arc<Shared>) -> Self {
        let way = if shared.options.inline {
            let turn = shared.place.turn();
            let begun = turn.and_then(|turn| Written::begin(&shared.place, turn, shared.state.clone()));
            Way::Inline(Box::new(begun))
        } else {
            let (pieces, queue) = mpsc::channel(QUEUE);
            let (place, in_use) = (shared.place.clone(), shared.state.clone());
            Way::Thread {
                pieces,
                room: Arc::new(Semaphore::new(QUEUE_BYTES as usize)),
                writing: tokio::task::spawn_blocking(move || Written::take_all(&place, in_use, queue)),
            }
        };
        Self { shared, way }
    }

    async fn written(self) -> Result<(Arc<Shared>, Written), StoreError> {
        let written = match self.way {
            Way::Inline(written) => *written,
            Way::Thread { pieces, writing, .. } => {
                drop(pieces);
                joined(writing.await)
            }
        };
        Ok((self.shared, written?))
    }
}

impl Written {
    fn begin(place: &Place, turn: Turn, in_use: watch::Receiver<Arc<Loaded>>) -> Result<Self, StoreError> {
        let journal = Appender::beside(place, turn)?;
        let (appended, view) = (Vec::new(), RegisterView::default());
        Ok(Self { journal, appended, in_use, view, begun: 0, syncing: None })
    }

    fn take_all(
        place: &Place,
        in_use: watch::Receiver<Arc<Loaded>>,
        mut queue: mpsc::Receiver<Piece>,
    ) -> Result<Self, StoreError> {
        let mut written = Self::begin(place, place.wait_for_turn(), in_use)?;
        while let Some((piece, _room)) = queue.blocking_recv() {
            written.take(&piece)?;
            written.sync_beside()?;
        }
        written.syncing.take().map_or(Ok(()), ended)?;
        Ok(written)
    }

    /// Begins an fsync, unless one is running.
    fn sync_beside(&mut self) -> Result<(), StoreError> {
        if self.journal.end() < self.begun + SYNC_EVERY {
            return Ok(());
        }
        match self.syncing.take() {
            Some(syncing) if !syncing.is_finished() => self.syncing = Some(syncing),
            finished => {
                finished.map_or(Ok(()), ended)?;
                let file = Arc::clone(self.journal.file());
                self.begun = self.journal.end();
                self.syncing = Some(thread::spawn(move || file.sync()));
            }
        }
        Ok(())
    }

    fn take(&mut self, piece: &[Arc<SealedEntry>]) -> Result<(), StoreError> {
        for some in piece.chunks(PER_FRAME) {
            let appended = self.journal.add(some.to_vec())?;
            let in_use = Arc::clone(&self.in_use.borrow());
            let is_in_use = |sealed: &Arc<SealedEntry>| {
                in_use.view.get(&sealed.entry().blueprint_id).is_some_and(|held| Arc::ptr_eq(held, sealed))
            };
            appended.move_unless(self.journal.file(), is_in_use);
            self.view.apply(appended.entries.clone(), Version::ZERO);
            self.appended.push(appended);
        }
        Ok(())
    }
}

fn joined(written: Result<Result<Written, StoreError>, JoinError>) -> Result<Written, StoreError> {
    written.unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
}

fn ended(syncing: thread::JoinHandle<Result<(), StoreError>>) -> Result<(), StoreError> {
    syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[async_trait]
impl Incoming for Beside {
    async fn add(&mut self, entries: Vec<Arc<SealedEntry>>) -> Result<(), StoreError> {
        match &mut self.way {
            Way::Thread { pieces, room, writing } => {
                let bytes = entries.iter().map(|sealed| sealed.length()).sum::<usize>();
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(QUEUE_BYTES);
                // Nobody closes it.
                let taken = Arc::clone(room).acquire_many_owned(bytes).await.ok();
                match pieces.send((entries, taken)).await {
                    Ok(()) => Ok(()),
                    // A writer that has failed does not listen.
                    Err(_) => joined(writing.await).and_then(|_| Err(closed())),
                }
            }
            Way::Inline(written) => match &mut **written {
                Ok(so_far) => so_far.take(&entries),
                Err(error) => Err(error.clone()),
            },
        }
    }

    async fn finish(
        self: Box<Self>,
        genesis: Option<Arc<Genesis>>,
        checkpoint: Checkpoint,
        digest: Option<RegisterDigest>,
    ) -> Result<bool, StoreError> {
        let (shared, Written { mut journal, appended, mut view, .. }) = self.written().await?;
        let mut writer = Arc::clone(&shared.writer).lock_owned().await;
        let work = move || {
            if let Some(genesis) = genesis {
                view = view.with_genesis(genesis);
            }
            view.apply(Vec::new(), checkpoint.version);
            if digest.is_some_and(|digest| digest != view.digest()) {
                return Ok(false);
            }
            journal.finish(&view, Some(&checkpoint))?;
            let state = Loaded { view, checkpoint: Some(checkpoint), findings: Vec::new() };
            writer.switch_to(journal, &appended, state).map(|()| true)
        };
        shared.options.run(work).await
    }
}
