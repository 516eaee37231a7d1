//! A whole register on its way in: what has arrived is written while more comes.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    super::{Checkpoint, Incoming, Loaded, StoreError},
    Shared,
    appender::Appender,
    blocking,
};
use crate::register::{entry::SealedEntry, lineage::Genesis, names::RegisterDigest, view::RegisterView};

/// Pieces that wait to be written.
const QUEUE: usize = 8;
/// After so many bytes the disk is made to begin, so that little is left to wait for at the end.
const SYNC_EVERY: u64 = 16 * 1024 * 1024;

/// A register that is being written beside the one that is in use; dropping it leaves that one alone.
pub(super) struct Beside {
    shared: Arc<Shared>,
    pieces: mpsc::Sender<Vec<Arc<SealedEntry>>>,
    writing: JoinHandle<Result<Written, StoreError>>,
}

/// What has been written.
struct Written {
    journal: Appender,
    view: RegisterView,
}

impl Beside {
    pub(super) fn begin(shared: Arc<Shared>) -> Self {
        let (pieces, queue) = mpsc::channel(QUEUE);
        let path = shared.path.clone();
        let writing = tokio::task::spawn_blocking(move || write(&path, queue));
        Self { shared, pieces, writing }
    }

    async fn written(self) -> Result<(Arc<Shared>, Written), StoreError> {
        drop(self.pieces);
        match self.writing.await {
            Ok(written) => Ok((self.shared, written?)),
            Err(error) => Err(StoreError::Internal(error.to_string())),
        }
    }
}

fn write(path: &Path, mut queue: mpsc::Receiver<Vec<Arc<SealedEntry>>>) -> Result<Written, StoreError> {
    let mut written = Written { journal: Appender::beside(path)?, view: RegisterView::default() };
    let mut synced = 0;
    while let Some(piece) = queue.blocking_recv() {
        written.journal.add(&piece)?;
        written.view.apply(piece, crate::register::names::Version::ZERO);
        if written.journal.end() > synced + SYNC_EVERY {
            synced = written.journal.end();
            written.journal.file().sync()?;
        }
    }
    Ok(written)
}

#[async_trait]
impl Incoming for Beside {
    async fn add(&mut self, entries: Vec<Arc<SealedEntry>>) -> Result<(), StoreError> {
        // A writer that has failed does not listen; its error shows at the end.
        drop(self.pieces.send(entries).await);
        Ok(())
    }

    async fn finish(
        self: Box<Self>,
        genesis: Option<Arc<Genesis>>,
        checkpoint: Checkpoint,
        digest: Option<RegisterDigest>,
    ) -> Result<bool, StoreError> {
        let (shared, Written { mut journal, mut view }) = self.written().await?;
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
            writer.switch_to(journal, state).map(|()| true)
        };
        blocking(work).await
    }
}
