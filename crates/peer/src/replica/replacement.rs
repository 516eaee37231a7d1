//! A whole register that takes the place of a replica.

use std::sync::Arc;

use sorcha_register::{
    entry::SealedEntry,
    lineage::Genesis,
    names::{RegisterDigest, Version},
    view::RegisterView,
};
use sorcha_store::{Incoming, StoreError};

use super::{Provenance, Replica};

/// How a replacement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// It took the old replica's place.
    Replaced,
    /// It has another digest than the one stated; the old replica is kept.
    OtherDigest,
    /// More was stored in the old replica while it arrived; that one is kept.
    Overtaken,
}

/// A whole register on its way into a replica. Dropping it leaves the old one.
pub(crate) struct Replacement<'r> {
    replica: &'r Replica,
    /// Where the store takes it piece by piece.
    incoming: Option<Box<dyn Incoming>>,
    /// Where it does not.
    gathered: Vec<Arc<SealedEntry>>,
}

impl<'r> Replacement<'r> {
    pub(super) const fn of(replica: &'r Replica, incoming: Option<Box<dyn Incoming>>) -> Self {
        Self { replica, incoming, gathered: Vec::new() }
    }

    /// Whether what it takes is stored at once, and not held in memory until it is whole.
    pub(crate) const fn is_stored(&self) -> bool {
        self.incoming.is_some()
    }

    /// Takes the next entries, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when they can't be stored.
    pub(crate) async fn add(&mut self, entries: Vec<Arc<SealedEntry>>) -> Result<(), StoreError> {
        match &mut self.incoming {
            Some(incoming) => incoming.add(entries).await,
            None => {
                self.gathered.extend(entries);
                Ok(())
            }
        }
    }

    /// Puts it in the old replica's place if it has the digest that was stated for it, and the old one still ends at `held`,
    /// as it did when what arrived was compared with it.
    ///
    /// # Errors
    /// [`StoreError`]; the old replica is kept then.
    pub(crate) async fn finish(
        self,
        genesis: Option<Arc<Genesis>>,
        head: Version,
        digest: Option<RegisterDigest>,
        held: Version,
        from: &Provenance,
    ) -> Result<Finished, StoreError> {
        let Self { replica, incoming, gathered } = self;
        let _one_at_a_time = replica.writing.lock().await;
        if replica.head() != held {
            return Ok(Finished::Overtaken);
        }
        let Some(incoming) = incoming else {
            let view = RegisterView::with_entries(genesis, gathered, head);
            if digest.is_some_and(|digest| digest != view.digest()) {
                return Ok(Finished::OtherDigest);
            }
            return replica.put(view, from).await.map(|()| Finished::Replaced);
        };
        let is_whole = incoming.finish(genesis, from.checkpoint(head), digest).await?;
        if let Some(own) = replica.own.as_ref().filter(|_| is_whole) {
            own.send_replace(Arc::new(replica.store.load().await?));
        }
        Ok(if is_whole { Finished::Replaced } else { Finished::OtherDigest })
    }
}
