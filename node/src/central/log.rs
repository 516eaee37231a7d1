//! A central node's local, already encoded log of the register, tailed from its store (design section 3).

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, Notify, watch};

use crate::{
    register::{names::Version, view::RegisterView},
    store::{Store, StoreError},
};

/// Entries read from the store at once.
const BATCH: usize = 1000;
/// Wait before the store is read again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The log: the newest view, and whether the store behind it answers.
pub struct RegisterLog {
    store: Arc<dyn Store>,
    view: watch::Sender<Arc<RegisterView>>,
    reachable: watch::Sender<bool>,
    /// Reads of the store are one at a time, so that the view only grows.
    reading: Mutex<()>,
    wake: Notify,
}

impl RegisterLog {
    /// A log that starts from what was loaded.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, view: RegisterView) -> Self {
        Self {
            store,
            view: watch::Sender::new(Arc::new(view)),
            reachable: watch::Sender::new(true),
            reading: Mutex::new(()),
            wake: Notify::new(),
        }
    }

    /// The store behind the log.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The newest view.
    #[must_use]
    pub fn view(&self) -> Arc<RegisterView> {
        Arc::clone(&self.view.borrow())
    }

    /// Follows the newest view.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<RegisterView>> {
        self.view.subscribe()
    }

    /// Whether the store answered when it was last read or written.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        *self.reachable.borrow()
    }

    /// Notes whether the store answers; logs the change only.
    pub fn note_reachable(&self, result: Result<(), &StoreError>) {
        let reachable = !matches!(result, Err(StoreError::Unavailable(_)));
        if self.reachable.send_if_modified(|known| std::mem::replace(known, reachable) != reachable) {
            match result {
                Err(error) => {
                    tracing::error!(%error, "store not reachable; serving peers from the local log")
                }
                Ok(()) => tracing::info!("store reachable again"),
            }
        }
    }

    /// Reads the tail at once: after a publication, or when a peer is ahead (design decision 26).
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Reads what is newer than the view.
    ///
    /// # Errors
    /// [`StoreError`] of the read.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        loop {
            let head = self.view.borrow().head();
            let result = self.store.read_after(head, BATCH).await;
            self.note_reachable(result.as_ref().map(|_| ()));
            let entries = result?;
            let complete = entries.len() < BATCH;
            if !entries.is_empty() {
                self.view.send_modify(|view| Arc::make_mut(view).apply(entries, Version::ZERO));
            }
            if complete {
                return Ok(());
            }
        }
    }

    /// Waits until the view holds a version.
    pub async fn wait_for(&self, version: Version) {
        // The sender lives as long as `self`.
        drop(self.view.subscribe().wait_for(|view| view.head() >= version).await);
    }

    /// Tails the store for ever.
    pub async fn tail(&self) {
        loop {
            let head = self.view.borrow().head();
            tokio::select! {
                () = self.store.changed(head) => {}
                () = self.wake.notified() => {}
            }
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "tail read failed");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
