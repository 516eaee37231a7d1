//! What was applied a moment ago, until the caches show it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::CACHE_LAG;
use crate::cache::Cached;

/// Objects by [`key`].
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<String, Applied>>);

struct Applied {
    hash: String,
    version: u64,
    at: Instant,
}

impl Applied {
    fn is_unseen(&self, seen: Option<u64>) -> bool {
        self.at.elapsed() < CACHE_LAG && seen.is_none_or(|seen| seen < self.version)
    }
}

impl Recent {
    pub(super) fn add(&self, key: String, hash: String, version: u64) {
        self.map().insert(key, Applied { hash, version, at: Instant::now() });
    }

    /// Whether the cache, which shows the version `seen`, does not show yet what was applied.
    pub(super) fn is_ahead(&self, key: &str, seen: Option<u64>) -> bool {
        self.map().get(key).is_some_and(|last| last.is_unseen(seen))
    }

    /// Whether the very same was applied a moment ago, and the cache does not show it yet.
    pub(super) fn is_same(&self, key: &str, hash: &str, seen: Option<u64>) -> bool {
        let mut map = self.map();
        let Some(last) = map.get(key) else { return false };
        if !last.is_unseen(seen) {
            map.remove(key);
            return false;
        }
        last.hash == hash
    }

    /// Whether something of a namespace has not been seen in the caches. It may never come: created and deleted again, it makes
    /// one change of the cache, or none.
    pub(super) fn is_any(&self, namespace: &str) -> bool {
        let mut map = self.map();
        map.retain(|_, last| last.at.elapsed() < CACHE_LAG);
        map.keys().any(|key| key.split('/').nth(1) == Some(namespace))
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Applied>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under which an applied object is remembered; [`Recent::is_any`] reads the namespace out of it.
pub(super) fn key<K: Cached>(namespace: &str, name: &str) -> String {
    format!("{}/{namespace}/{name}", K::kind(&()))
}
