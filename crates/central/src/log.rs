//! A central node's local, already encoded log of the register, tailed from its store.

mod standing;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use sorcha_register::{
    entry::SealedEntry,
    names::Version,
    succession::{self, Contradiction},
    view::RegisterView,
};
use sorcha_runtime::metrics::Metrics;
use sorcha_store::{Exchange, Store, StoreError};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Instant, sleep_until},
};

/// Entries read from the store at once.
const BATCH: usize = 1000;
/// A caller waits this long for a look into the store.
const LOOK: Duration = Duration::from_secs(2);
/// Time between two looks for callers; those that ask meanwhile share the next one.
const LOOKS_APART: Duration = Duration::from_millis(100);
/// Wait before the store is read again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The log: the newest view, and whether the store behind it answers.
pub struct RegisterLog {
    store: Arc<dyn Store>,
    view: watch::Sender<Arc<RegisterView>>,
    /// Why the store does not answer; `None` while it does.
    outage: watch::Sender<Option<String>>,
    /// Why the newest entries of the store are not served; `None` while they are.
    refused: watch::Sender<Option<Contradiction>>,
    metrics: OnceLock<Metrics>,
    /// What the database holds in place of the register; `None` while it holds the register.
    exchange: watch::Sender<Option<Exchange>>,
    /// Reads of the store are one at a time, so that the view only grows.
    reading: Mutex<()>,
    /// The newest look for a caller. The lock makes callers take turns, so that at most one competes with the tail.
    looked: Mutex<Option<Look>>,
    wake: Notify,
}

/// A look into the store for versions that peers have seen elsewhere.
#[derive(Clone, Copy)]
struct Look {
    began: Instant,
    /// Everything in the store was read.
    is_complete: bool,
}

impl RegisterLog {
    /// A log that starts from what was loaded.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, view: RegisterView) -> Self {
        Self {
            store,
            view: watch::Sender::new(Arc::new(view)),
            outage: watch::Sender::new(None),
            refused: watch::Sender::new(None),
            metrics: OnceLock::new(),
            exchange: watch::Sender::new(None),
            reading: Mutex::new(()),
            looked: Mutex::new(None),
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
        self.outage.borrow().is_none()
    }

    /// Why the store does not answer; `None` while it does.
    #[must_use]
    pub fn outage(&self) -> Option<String> {
        self.outage.borrow().clone()
    }

    /// Follows [`RegisterLog::outage`].
    #[must_use]
    pub fn subscribe_outage(&self) -> watch::Receiver<Option<String>> {
        self.outage.subscribe()
    }

    /// What the database holds in place of the register; `None` while it holds the register.
    #[must_use]
    pub fn exchange(&self) -> Option<Exchange> {
        self.exchange.borrow().clone()
    }

    /// Follows [`RegisterLog::exchange`].
    #[must_use]
    pub fn subscribe_exchange(&self) -> watch::Receiver<Option<Exchange>> {
        self.exchange.subscribe()
    }

    /// Sets the metrics that count refusals.
    pub(crate) fn measure_with(&self, metrics: Metrics) {
        let _first_stays = self.metrics.set(metrics);
    }

    /// Why the newest entries of the store are not served: they contradict the view. `None` while they are served.
    #[must_use]
    pub fn refused(&self) -> Option<Contradiction> {
        self.refused.borrow().clone()
    }

    /// Follows [`RegisterLog::refused`].
    #[must_use]
    pub fn subscribe_refused(&self) -> watch::Receiver<Option<Contradiction>> {
        self.refused.subscribe()
    }

    /// Adds the next entries of the store to the view, up to the first that contradicts it.
    fn take(&self, entries: Vec<Arc<SealedEntry>>) -> Result<(), StoreError> {
        let view = self.view();
        let (news, found) = match succession::news(&view, view.head(), &entries) {
            Ok(news) => (news, None),
            Err(_) => until_contradicted(RegisterView::clone(&view), entries),
        };
        drop(view);
        if !news.is_empty() {
            self.view.send_modify(|view| Arc::make_mut(view).apply(news, Version::ZERO));
        }
        self.note_refused(found.clone());
        found.map_or(Ok(()), |contradiction| Err(StoreError::Damaged(contradiction.to_string())))
    }

    /// Reads the tail at once: after a publication, or when a peer is ahead (ADR 41).
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Looks for a version that a peer has seen elsewhere (ADR 41), unless the view holds it. True when the view holds it, or
    /// everything that the store holds: a peer that is still ahead is certainly ahead. False when the store did not answer.
    ///
    /// A store that does not answer delays a caller by at most 2 s, and not at all once the outage is known.
    pub(crate) async fn look_for(&self, version: Version) -> bool {
        if self.view.borrow().head() >= version {
            return true;
        }
        let looked = self.look(version, Instant::now());
        self.is_reachable() && tokio::time::timeout(LOOK, looked).await.unwrap_or(false)
    }

    /// A look that began after the call; waiting callers share it.
    async fn look(&self, version: Version, asked: Instant) -> bool {
        let mut looked = self.looked.lock().await;
        let is_there = || self.view.borrow().head() >= version;
        if let Some(look) = *looked {
            if is_there() || look.began > asked {
                return is_there() || look.is_complete;
            }
            sleep_until(look.began + LOOKS_APART).await;
        }
        if is_there() {
            return true;
        }
        let began = Instant::now();
        let is_complete = self.is_reachable() && self.refresh().await.is_ok();
        *looked = Some(Look { began, is_complete });
        is_complete
    }

    /// Reads what is newer than the view.
    ///
    /// # Errors
    /// [`StoreError`] of the read.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        self.read().await
    }

    async fn read(&self) -> Result<(), StoreError> {
        loop {
            let head = self.view.borrow().head();
            let result = self.store.read_after(head, BATCH).await;
            self.note_reachable(result.as_ref().map(|_| ()));
            let entries = result?;
            let complete = entries.len() < BATCH;
            self.take(entries)?;
            if complete {
                return Ok(());
            }
        }
    }

    /// Shows another view, in place of the tail.
    #[cfg(feature = "testing")]
    pub fn show(&self, view: RegisterView) {
        self.view.send_replace(Arc::new(view));
    }

    /// Waits until the view holds a version.
    pub(crate) async fn wait_for(&self, version: Version) {
        // The sender lives as long as `self`.
        drop(self.view.subscribe().wait_for(|view| view.head() >= version).await);
    }

    /// Tails the store for ever. During an outage, or while the store holds another register, it is polled: a store that is back
    /// without a new entry signals nothing.
    pub async fn tail(&self) {
        let (mut outage, mut exchange) = (self.outage.subscribe(), self.exchange.subscribe());
        loop {
            let head = self.view.borrow().head();
            tokio::select! {
                () = self.store.changed(head) => {}
                () = self.wake.notified() => {}
                // The sender lives as long as `self`.
                _ = outage.wait_for(Option::is_some) => {}
                _ = exchange.wait_for(Option::is_some) => {}
            }
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "tail read failed");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// The entries that may follow a view, and why the next one may not.
fn until_contradicted(
    mut view: RegisterView,
    entries: Vec<Arc<SealedEntry>>,
) -> (Vec<Arc<SealedEntry>>, Option<Contradiction>) {
    let mut good = Vec::new();
    for sealed in entries {
        match succession::news(&view, view.head(), std::slice::from_ref(&sealed)) {
            Ok(news) => {
                view.apply(news.clone(), Version::ZERO);
                good.extend(news);
            }
            Err(contradiction) => return (good, Some(contradiction)),
        }
    }
    (good, None)
}

#[cfg(test)]
mod tests;
