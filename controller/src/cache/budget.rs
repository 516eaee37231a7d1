//! How much of one namespace is kept: its users write these objects, and one namespace's may not take all of the memory.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// What is kept of one namespace, bytes as JSON. In memory it takes up to three times as much.
pub(super) const NAMESPACE_BYTES: usize = 64 * 1024 * 1024;
/// What an object takes beside its text, bytes.
const OBJECT_BYTES: usize = 1024;

/// Namespace and name.
type BudgetKey = (String, String);

/// What is kept, by namespace; of all kinds together.
#[derive(Debug, Default)]
pub(crate) struct Budget(Mutex<HashMap<String, usize>>);

impl Budget {
    fn kept(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so much in place of what was taken before, if there is room. What was taken before may always be given back.
    fn change(&self, namespace: &str, before: usize, now: usize) -> bool {
        let mut kept = self.kept();
        let others = kept.get(namespace).copied().unwrap_or_default().saturating_sub(before);
        let fits = now <= before || others + now <= NAMESPACE_BYTES;
        match others + if fits { now } else { 0 } {
            0 => kept.remove(namespace),
            all => kept.insert(namespace.to_owned(), all),
        };
        fits
    }
}

/// What is kept of one kind.
#[derive(Debug, Default)]
pub(super) struct Kept {
    sizes: HashMap<BudgetKey, usize>,
    /// Those of the list that is under way.
    listed: Option<HashSet<BudgetKey>>,
}

impl Kept {
    /// A list begins.
    pub(super) fn begin(&mut self) {
        self.listed = Some(HashSet::new());
    }

    /// Whether there is room for an object, which is kept then.
    pub(super) fn take(&mut self, budget: &Budget, key: BudgetKey, object: &impl Serialize) -> bool {
        let (before, now) = (self.sizes.remove(&key).unwrap_or_default(), OBJECT_BYTES + length(object));
        let fits = budget.change(&key.0, before, now);
        if fits {
            if let Some(listed) = &mut self.listed {
                listed.insert(key.clone());
            }
            self.sizes.insert(key, now);
        }
        fits
    }

    /// An object is not kept any more.
    pub(super) fn release(&mut self, budget: &Budget, key: &BudgetKey) {
        if let Some(before) = self.sizes.remove(key) {
            budget.change(&key.0, before, 0);
        }
    }

    /// A list is complete: what is not in it is gone.
    pub(super) fn complete(&mut self, budget: &Budget) {
        let listed = self.listed.take().unwrap_or_default();
        let gone: Vec<BudgetKey> = self.sizes.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.release(budget, key));
    }
}

/// Length of an object as JSON, which is not made for that.
fn length(object: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What was read as JSON can be written as such.
    serde_json::to_writer(&mut count, object).map_or(0, |()| count.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn key(namespace: &str, name: &str) -> BudgetKey {
        (namespace.to_owned(), name.to_owned())
    }

    #[test]
    fn one_namespace_has_its_share_and_no_more() {
        let (budget, mut kept) = (Budget::default(), Kept::default());
        let large = "x".repeat(20 * MIB);
        for (name, fits) in [("a", true), ("b", true), ("c", true), ("d", false)] {
            assert_eq!(kept.take(&budget, key("greedy", name), &large), fits, "{name}");
        }
        assert!(kept.take(&budget, key("other", "a"), &large), "others have theirs");
        assert!(kept.take(&budget, key("greedy", "a"), &"short"), "a change to less is always taken");
        assert!(kept.take(&budget, key("greedy", "d"), &large));
        kept.release(&budget, &key("greedy", "b"));
        assert!(kept.take(&budget, key("greedy", "e"), &large));
    }

    #[test]
    fn what_is_not_in_a_list_any_more_gives_its_room_back() {
        let (budget, mut kept) = (Budget::default(), Kept::default());
        let large = "x".repeat(40 * MIB);
        assert!(kept.take(&budget, key("shop", "a"), &large));
        kept.begin();
        assert!(!kept.take(&budget, key("shop", "b"), &large));
        kept.complete(&budget);
        assert!(budget.kept().is_empty());
        assert!(kept.take(&budget, key("shop", "b"), &large));
    }

    #[test]
    fn many_small_objects_count_too() {
        let (budget, mut kept) = (Budget::default(), Kept::default());
        let taken = (0..).take_while(|n: &usize| kept.take(&budget, key("shop", &n.to_string()), &1)).count();
        assert!(taken <= NAMESPACE_BYTES / OBJECT_BYTES, "{taken}");
    }
}
