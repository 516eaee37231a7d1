//! A peer's store that notes what is stored when, on its way back to the peer: what follows is the acknowledgement.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sorcha_register::{
    entry::SealedEntry,
    lineage::Genesis,
    names::{RegisterDigest, Version},
};
use sorcha_store::{Checkpoint, Draft, Incoming, Loaded, Publication, StateChange, Store, StoreError};
use tokio::sync::watch;

use crate::{documents, push::tally::Tally};

/// A store that passes everything on and notes the documents of the benchmark.
pub(crate) struct Recording {
    inner: Arc<dyn Store>,
    who: usize,
    tally: Arc<Tally>,
    /// Plays a slow disk: each batch of a replica takes this much longer.
    delay: Duration,
}

impl Recording {
    /// Wraps the store of a subscriber.
    pub(crate) fn over(inner: Arc<dyn Store>, who: usize, tally: Arc<Tally>) -> Arc<dyn Store> {
        Self::over_slow(inner, who, tally, Duration::ZERO)
    }

    /// As [`Recording::over`], on a disk that takes so much longer for each batch.
    pub(crate) fn over_slow(
        inner: Arc<dyn Store>,
        who: usize,
        tally: Arc<Tally>,
        delay: Duration,
    ) -> Arc<dyn Store> {
        Arc::new(Self { inner, who, tally, delay })
    }

    fn note(&self, numbers: &[usize]) {
        note(&self.tally, self.who, numbers);
    }
}

fn note(tally: &Tally, who: usize, numbers: &[usize]) {
    numbers.iter().for_each(|index| tally.arrived(who, *index));
}

/// A whole register on its way in; its documents count once it is in the old one's place.
struct RecordingIncoming {
    inner: Box<dyn Incoming>,
    who: usize,
    tally: Arc<Tally>,
    numbers: Vec<usize>,
}

#[async_trait]
impl Incoming for RecordingIncoming {
    async fn add(&mut self, entries: Vec<Arc<SealedEntry>>) -> Result<(), StoreError> {
        self.numbers.extend(numbers(&entries));
        self.inner.add(entries).await
    }

    async fn finish(
        self: Box<Self>,
        genesis: Option<Arc<Genesis>>,
        checkpoint: Checkpoint,
        digest: Option<RegisterDigest>,
    ) -> Result<bool, StoreError> {
        let is_whole = self.inner.finish(genesis, checkpoint, digest).await?;
        if is_whole {
            note(&self.tally, self.who, &self.numbers);
        }
        Ok(is_whole)
    }
}

fn numbers(entries: &[Arc<SealedEntry>]) -> Vec<usize> {
    entries.iter().filter_map(|sealed| documents::index_of_id(sealed.entry().blueprint_id.as_str())).collect()
}

#[async_trait]
impl Store for Recording {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.load().await
    }

    fn watch(&self) -> Option<watch::Receiver<Arc<Loaded>>> {
        self.inner.watch()
    }

    fn begin_replace(&self) -> Option<Box<dyn Incoming>> {
        let (who, tally) = (self.who, Arc::clone(&self.tally));
        let inner = self.inner.begin_replace()?;
        Some(Box::new(RecordingIncoming { inner, who, tally, numbers: Vec::new() }))
    }

    async fn init_genesis(&self, genesis: Genesis) -> Result<Genesis, StoreError> {
        self.inner.init_genesis(genesis).await
    }

    async fn publish(&self, draft: Draft) -> Result<Publication, StoreError> {
        self.inner.publish(draft).await
    }

    async fn set_active(&self, change: StateChange) -> Result<Publication, StoreError> {
        self.inner.set_active(change).await
    }

    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        self.inner.read_after(after, limit).await
    }

    async fn changed(&self, after: Version) {
        self.inner.changed(after).await;
    }

    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let numbers = numbers(&entries);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.inner.apply(entries, checkpoint).await?;
        self.note(&numbers);
        Ok(())
    }

    async fn replace(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        let numbers = numbers(&entries);
        self.inner.replace(genesis, entries, checkpoint).await?;
        self.note(&numbers);
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush().await
    }
}
