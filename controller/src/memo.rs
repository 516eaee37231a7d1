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
pub(crate) type ObjectKey = (&'static str, String, String);

/// Its values by key.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// What was seen of objects, each for at most so long.
pub struct Memo<K, V> {
    seen: Mutex<Entries<K, V>>,
    keep: Duration,
}

struct Entries<K, V> {
    all: HashMap<K, (Instant, V)>,
    /// When there are so many, what is old is looked for.
    full: usize,
}

/// So many are kept without a look at how old they are.
const FEW: usize = 64;

impl<K, V> fmt::Debug for Memo<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self { seen: Mutex::new(Entries { all: HashMap::new(), full: FEW }), keep }
    }

    /// What was seen, while it is young enough.
    #[must_use]
    pub(crate) fn fresh(&self, key: &K) -> Option<V> {
        self.seen().all.get(key).filter(|(at, _)| at.elapsed() < self.keep).map(|(_, value)| value.clone())
    }

    /// What was seen last, however long ago.
    #[must_use]
    pub fn last(&self, key: &K) -> Option<V> {
        self.seen().all.get(key).map(|(_, value)| value.clone())
    }

    /// Remembers.
    pub(crate) fn put(&self, key: K, value: V) {
        let mut seen = self.seen();
        if seen.all.len() >= seen.full {
            // What was not looked at in a long time belongs to resources that are gone.
            seen.all.retain(|_, (at, _)| at.elapsed() < self.keep * 60);
            seen.full = FEW.max(2 * seen.all.len());
        }
        seen.all.insert(key, (Instant::now(), value));
    }

    /// Remembers, and of the entries that `size` counts forgets the oldest ones beyond `most` together.
    pub(crate) fn put_within(&self, key: K, value: V, most: usize, size: impl Fn(&K, &V) -> usize)
    where
        K: Clone,
    {
        self.put(key, value);
        let mut seen = self.seen();
        let mut counted: Vec<(Instant, K, usize)> = seen
            .all
            .iter()
            .map(|(key, (at, value))| (*at, key.clone(), size(key, value)))
            .filter(|(_, _, size)| *size > 0)
            .collect();
        let mut together: usize = counted.iter().map(|(_, _, size)| size).sum();
        counted.sort_by_key(|(at, ..)| *at);
        for (_, key, size) in counted {
            if together <= most {
                break;
            }
            together -= size;
            seen.all.remove(&key);
        }
    }

    /// Counts what was seen as old: it is what was seen last, but the next look is a new one.
    pub(crate) fn age(&self, key: &K) {
        if let Some((at, _)) = self.seen().all.get_mut(key) {
            *at = at.checked_sub(self.keep).unwrap_or(*at);
        }
    }

    /// Forgets, so that the next look is a new one.
    pub(crate) fn forget(&self, key: &K) {
        self.seen().all.remove(key);
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Entries<K, V>> {
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
        let many: Vec<String> = (0..FEW).map(|number| format!("c{number}")).collect();
        let memo_of_many = Memo::new(Duration::from_secs(60));
        memo_of_many.put("a", 1);
        tokio::time::advance(Duration::from_secs(3600)).await;
        many.iter().for_each(|key| memo_of_many.put(key, 2));
        assert_eq!(memo_of_many.last(&"a"), None, "what is not asked for is not kept for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_has_too_much_of_goes_and_the_others_keep_theirs() {
        let memo = Memo::new(Duration::from_secs(60));
        let size = |namespace: &'static str| {
            move |key: &(&str, u32), value: &usize| if key.0 == namespace { *value } else { 0 }
        };
        memo.put_within(("other", 0), 90, 100, size("other"));
        for number in 0..5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            memo.put_within(("greedy", number), 40, 100, size("greedy"));
        }
        let kept: Vec<bool> = (0..5).map(|number| memo.last(&("greedy", number)).is_some()).collect();
        assert_eq!(kept, [false, false, false, true, true]);
        assert!(memo.last(&("other", 0)).is_some());
    }
}
