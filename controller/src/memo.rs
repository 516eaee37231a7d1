//! Objects of others, looked at by name and remembered for a while: they are not watched.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Kind, namespace and name of a Secret or ConfigMap.
pub type ObjectKey = (&'static str, String, String);

/// Its values by key.
pub type Data = BTreeMap<String, Vec<u8>>;

/// What was seen of objects, each for at most so long.
pub struct Memo<K, V> {
    seen: Mutex<HashMap<K, (Instant, V)>>,
    keep: Duration,
}

impl<K, V> fmt::Debug for Memo<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self { seen: Mutex::default(), keep }
    }

    /// What was seen, while it is young enough.
    #[must_use]
    pub fn fresh(&self, key: &K) -> Option<V> {
        self.all().get(key).filter(|(at, _)| at.elapsed() < self.keep).map(|(_, value)| value.clone())
    }

    /// What was seen last, however long ago.
    #[must_use]
    pub fn last(&self, key: &K) -> Option<V> {
        self.all().get(key).map(|(_, value)| value.clone())
    }

    /// Remembers.
    pub fn put(&self, key: K, value: V) {
        let mut all = self.all();
        // What nobody has asked for in a long time belongs to resources that are gone.
        all.retain(|_, (at, _)| at.elapsed() < self.keep * 60);
        all.insert(key, (Instant::now(), value));
    }

    /// Counts what was seen as old: it is what was seen last, but the next look is a new one.
    pub fn age(&self, key: &K) {
        if let Some((at, _)) = self.all().get_mut(key) {
            *at = at.checked_sub(self.keep).unwrap_or(*at);
        }
    }

    /// Forgets, so that the next look is a new one.
    pub fn forget(&self, key: &K) {
        self.all().remove(key);
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<K, (Instant, V)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_grows_old() {
        let memo = Memo::new(Duration::from_secs(60));
        memo.put("a", 1);
        assert_eq!((memo.fresh(&"a"), memo.fresh(&"b")), (Some(1), None));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!((memo.fresh(&"a"), memo.last(&"a")), (None, Some(1)));
        tokio::time::advance(Duration::from_secs(3600)).await;
        memo.put("b", 2);
        assert_eq!(memo.last(&"a"), None, "what nobody asks for is not kept for ever");
    }
}
