//! Places that callers share: so many at once, and to each caller a part of them only, so that none keeps the others out.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// All places; callers are told apart by `K`.
#[derive(Debug)]
pub struct Shares<K> {
    free: Arc<Semaphore>,
    /// Places that one caller may have at once.
    each: usize,
    /// What is left to each caller that has a place or waits for one.
    callers: Mutex<HashMap<K, Arc<Semaphore>>>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    _own: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// So many places, and so many of them to each caller: at least one.
    #[must_use]
    pub fn new(all: usize, each: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), each: each.max(1), callers: Mutex::default() }
    }

    /// Waits for a place: for one of the caller's own first, where it is known.
    ///
    /// # Errors
    /// Never: the places are not closed.
    pub async fn take(&self, caller: Option<&K>) -> Result<Place, AcquireError> {
        let own = match caller {
            Some(caller) => Some(self.own(caller).acquire_owned().await?),
            None => None,
        };
        Ok(Place { _own: own, _place: Arc::clone(&self.free).acquire_owned().await? })
    }

    fn own(&self, caller: &K) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody but the table has those of which nothing is taken.
        callers.retain(|_, own| Arc::strong_count(own) > 1);
        Arc::clone(callers.entry(caller.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_caller_leaves_places_for_others_and_is_forgotten() {
        let (places, soon) = (Shares::new(3, 2), Duration::from_secs(1));
        let held = [places.take(Some(&"thief")).await.unwrap(), places.take(Some(&"thief")).await.unwrap()];
        assert!(timeout(soon, places.take(Some(&"thief"))).await.is_err(), "its share is used up");
        let others = timeout(soon, places.take(Some(&"honest"))).await.expect("a place is left").unwrap();
        assert!(timeout(soon, places.take(None)).await.is_err(), "all are taken");
        drop(others);
        timeout(soon, places.take(None)).await.expect("free again").map(drop).unwrap();
        drop(held);
        drop(places.take(Some(&"honest")).await.unwrap());
        assert_eq!(places.callers.lock().unwrap().len(), 1, "shares that nobody uses are forgotten");
    }
}
