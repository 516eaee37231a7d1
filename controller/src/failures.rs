//! How often a resource could not be reconciled in a row, so that one that can't be for long costs little. A restart forgets it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Resources that fail are remembered up to so many; then all are forgotten, and are tried again as if for the first time.
const MOST: usize = 65_536;

/// What failed: another spec or another reason is another failure.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failing {
    generation: Option<i64>,
    reason: &'static str,
    count: u32,
}

/// Failures by the resources' `uid`.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, Failing>>);

impl Failures {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; tells how many in a row.
    pub fn count(&self, uid: &str, generation: Option<i64>, reason: &'static str) -> u32 {
        let mut all = self.all();
        let last = all.remove(uid).filter(|last| (last.generation, last.reason) == (generation, reason));
        let count = last.map_or(0, |last| last.count).saturating_add(1);
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(uid.to_owned(), Failing { generation, reason, count });
        count
    }

    /// It went well, or the resource is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_while_they_are_the_same() {
        let failures = Failures::default();
        let counts = [
            failures.count("a", Some(1), "SecretNotFound"),
            failures.count("a", Some(1), "SecretNotFound"),
            failures.count("b", Some(1), "SecretNotFound"),
            failures.count("a", Some(1), "ApplyFailed"),
            failures.count("a", Some(2), "ApplyFailed"),
            failures.count("a", Some(2), "ApplyFailed"),
        ];
        assert_eq!(counts, [1, 2, 1, 1, 1, 2]);
        failures.forget("a");
        assert_eq!(failures.count("a", Some(2), "ApplyFailed"), 1);
    }
}
