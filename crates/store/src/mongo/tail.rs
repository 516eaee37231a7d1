//! Tails the publications of other central nodes: polls are authoritative, a change stream only wakes them (ADR 30).

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use mongodb::bson::{Document, doc};
use sorcha_config::MongoDb;
use sorcha_register::{entry::SealedEntry, names::Version};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Known, MongoStore, Outcome, contents::Contents, database::Entries, errors::Failure};
use crate::{Exchange, InItsPlace, StoreError};

/// Longest pause between two polls during an outage.
const MAX_OUTAGE_PAUSE: Duration = Duration::from_secs(5);
/// Pause before a broken change stream is opened again; the poll goes on meanwhile.
const REOPEN_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Tail {
    poll_min: Duration,
    poll_max: Duration,
    use_change_stream: bool,
    wake: Arc<Notify>,
    stream: OnceLock<AbortOnDropHandle<()>>,
    /// Polls in a row that failed.
    failures: AtomicU32,
    /// The head that polls find, and since when, while it is lower than one seen before.
    older: Mutex<Option<(Version, Instant)>>,
}

impl Tail {
    pub(super) fn new(config: &MongoDb) -> Self {
        Self {
            poll_min: config.poll_min,
            poll_max: config.poll_max.max(config.poll_min),
            use_change_stream: config.change_stream,
            wake: Arc::default(),
            stream: OnceLock::new(),
            failures: AtomicU32::new(0),
            older: Mutex::default(),
        }
    }

    /// Opens the change stream at the first wait.
    fn follow(&self, entries: &Entries) {
        if self.use_change_stream {
            self.stream.get_or_init(|| {
                AbortOnDropHandle::new(tokio::spawn(wake_on_change(entries.clone(), Arc::clone(&self.wake))))
            });
        }
    }

    /// Logs the first failed poll of an outage; returns how long to pause.
    fn failed(&self, failure: Failure) -> Duration {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            tracing::warn!(reason = %failure.into_error(), "MongoDB can't be polled; trying again until it can");
        }
        self.poll_max.saturating_mul(1 << before.min(10)).min(MAX_OUTAGE_PAUSE)
    }

    /// Notes the head that a poll found. A majority read may be stale after an election, so that a lower head counts only after
    /// a while.
    fn found(&self, head: Version, newest: Version) {
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        let since = older.map_or_else(Instant::now, |(_, since)| since);
        *older = (head < newest).then_some((head, since));
    }

    /// The head, if it has been lower than one seen before for `a_while`.
    fn older(&self, a_while: Duration) -> Option<Version> {
        let older = *self.older.lock().unwrap_or_else(PoisonError::into_inner);
        older.filter(|(_, since)| since.elapsed() >= a_while).map(|(head, _)| head)
    }

    fn answered(&self) {
        if self.failures.swap(0, Ordering::Relaxed) > 0 {
            tracing::info!("MongoDB can be polled again");
        }
    }
}

impl MongoStore {
    /// Returns once there is a newer version, and after each failed poll, so that the caller meets the error itself.
    pub(super) async fn wait_for_more_than(&self, after: Version) {
        let mut known = self.known.subscribe();
        self.tail.follow(&self.db.entries);
        let mut interval = self.tail.poll_min;
        loop {
            let Known { newest, is_replica, genesis, .. } = known.borrow_and_update().clone();
            if newest > after {
                return;
            }
            tokio::select! {
                _ = known.changed() => { interval = self.tail.poll_min; continue; }
                () = self.tail.wake.notified(), if !is_replica => interval = self.tail.poll_min,
                () = sleep(interval), if !is_replica => {}
            }
            match self.db.head_of(genesis.as_deref()).await {
                Ok(head) => {
                    self.tail.answered();
                    self.tail.found(head, newest);
                    if head > after {
                        return;
                    }
                    if self.tail.older(self.db.timeout).is_some() {
                        return sleep(self.tail.poll_max).await;
                    }
                    interval = interval.saturating_mul(2).min(self.tail.poll_max);
                }
                Err(failure) => return sleep(self.tail.failed(failure)).await,
            }
        }
    }

    /// # Errors
    /// [`StoreError::Exchanged`] when the database holds an older state of the register, such as a backup's.
    async fn check_not_older(&self, known: &Known) -> Outcome<()> {
        if self.tail.older(self.db.timeout).is_none() {
            return Ok(());
        }
        // Nothing else polls while reads fail: the head may be back.
        self.tail.found(self.db.head().await?, known.newest);
        let Some(head) = self.tail.older(self.db.timeout) else { return Ok(()) };
        let ours = known.genesis.as_ref().map(|genesis| genesis.lineage());
        let found = InItsPlace::Older { head, seen: known.newest };
        Err(Failure::Final(StoreError::Exchanged(Exchange { ours, found })))
    }

    /// Entries after a version, verified.
    ///
    /// A missing version between them can't be filled later: a node stores a version only after it has seen the one before, and
    /// only once. It belongs to a blueprint that has moved on, and is in its `versions`.
    pub(super) async fn entries_after(&self, after: Version, limit: usize) -> Outcome<Vec<Arc<SealedEntry>>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let known = self.known.borrow().clone();
        let mut versions = doc! { "$gt": after.get() };
        if known.is_replica {
            // Entries beyond the position are of an unfinished batch.
            versions.insert("$lte", known.newest.get());
        }
        let found = self.db.read(doc! { "version": versions }, limit).await?;
        let is_all = found.len() < limit;
        let mut contents = Contents::new(found);
        if !known.is_replica {
            self.db.complete(&mut contents, after, limit).await?;
            // After the read: entries of another register are not served.
            self.db.check_lineage(known.genesis.as_deref()).await?;
            self.check_not_older(&known).await?;
        }
        if let Some((finding, _)) = contents.unsound.first() {
            return Err(StoreError::Damaged(finding.to_string()).into());
        }
        if !known.is_replica && !contents.sound.is_empty() {
            if is_all {
                warn_of_gaps(after, &contents);
            }
            self.note_newest(contents.newest());
        }
        Ok(contents.sound.into_iter().map(|stored| stored.sealed).collect())
    }
}

/// Warns if the entries after a version do not account for all versions after it.
fn warn_of_gaps(after: Version, contents: &Contents) {
    let (head, missing) = (contents.newest(), contents.missing(after));
    if missing > 0 {
        tracing::warn!(%after, %head, missing, "versions are missing in MongoDB: entries were removed by someone else");
    }
}

/// Wakes the poll on every change, for as long as the server has change streams.
async fn wake_on_change(entries: Entries, wake: Arc<Notify>) {
    // Without the documents, which may have 16 MB.
    let ids_only = doc! { "$project": { "_id": 1, "operationType": 1, "ns": 1, "documentKey": 1 } };
    loop {
        match entries.watch().pipeline([ids_only.clone()]).await {
            Ok(stream) => {
                let mut events = stream.with_type::<Document>();
                while let Some(Ok(_)) = events.next().await {
                    wake.notify_one();
                }
            }
            Err(error) => match Failure::from(error) {
                Failure::Retry(_) => {}
                other => {
                    tracing::debug!(reason = %other.into_error(), "no change stream here; polling alone");
                    return;
                }
            },
        }
        sleep(REOPEN_AFTER).await;
    }
}
