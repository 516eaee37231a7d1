//! What came of the last look at each blueprint, so that nothing is asked again without a reason. A restart loses it,
//! which costs one call a blueprint.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Outcome, Refusal,
    decide::{retry, spread},
    register::Known,
};

/// Wait before something that only a user can mend, elsewhere than in the resource, is looked at again.
const RETRY_ELSEWHERE: Duration = Duration::from_secs(30);
/// Counts of peers that move are written no more often.
const COUNTS: Duration = Duration::from_secs(5);
/// Outcomes of resources that are gone are dropped when there are so many more than resources.
const SLACK: usize = 64;

/// Under which circumstances an outcome came about; under others it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// Central nodes that were ready.
    pub ready: Vec<String>,
}

struct Remembered {
    circumstances: Circumstances,
    outcome: Outcome,
    known: Option<Known>,
    until: Instant,
    failures: u32,
    counted: Option<Instant>,
}

/// Outcomes by the resources' `uid`.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, Remembered>>);

impl Memory {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last outcome and for how long it still holds, if it does.
    #[must_use]
    pub(crate) fn recall(&self, uid: &str, now: &Circumstances) -> Option<(Outcome, Duration)> {
        let map = self.map();
        let last = map.get(uid)?;
        let left = last.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let same = last.circumstances.generation == now.generation
            && (!last.outcome.depends_on_nodes() || last.circumstances.ready == now.ready);
        same.then(|| (last.outcome.clone(), left))
    }

    /// What was last seen in the register.
    #[must_use]
    pub(crate) fn known(&self, uid: &str) -> Option<Known> {
        self.map().get(uid)?.known.clone()
    }

    /// Remembers an outcome; tells for how long. `resync` is the time after which everything is looked at again.
    pub(crate) fn keep(
        &self,
        uid: &str,
        circumstances: Circumstances,
        outcome: &Outcome,
        known: Option<Known>,
        resync: Duration,
    ) -> Duration {
        let mut map = self.map();
        let last = map.remove(uid);
        let again = last.as_ref().filter(|last| {
            last.circumstances == circumstances
                && last.outcome.depends_on_nodes()
                && outcome.depends_on_nodes()
        });
        let failures = again.map_or(0, |last| last.failures) + 1;
        let wait = wait(outcome, failures, resync);
        let remembered = Remembered {
            circumstances,
            outcome: outcome.clone(),
            known: known.or_else(|| last.as_ref().and_then(|last| last.known.clone())),
            until: Instant::now() + wait,
            failures,
            counted: last.and_then(|last| last.counted),
        };
        map.insert(uid.to_owned(), remembered);
        wait
    }

    /// Whether counts of peers may be written now; otherwise when.
    ///
    /// # Errors
    /// The wait that is left.
    pub(crate) fn may_count(&self, uid: &str) -> Result<(), Duration> {
        let mut map = self.map();
        let Some(last) = map.get_mut(uid) else { return Ok(()) };
        let left = last.counted.map_or(Duration::ZERO, |at| COUNTS.saturating_sub(at.elapsed()));
        if left.is_zero() {
            last.counted = Some(Instant::now());
            return Ok(());
        }
        Err(left)
    }

    /// What the outcome came from has changed: the next look is a new one.
    pub(crate) fn stir(&self, uid: &str) {
        if let Some(last) = self.map().get_mut(uid) {
            last.until = Instant::now();
        }
    }

    /// The resource is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.map().remove(uid);
    }

    /// Forgets resources that went unseen, once there are many of them. `alive` tells the `uid`s of all that are there.
    pub(crate) fn prune(&self, resources: usize, alive: impl FnOnce() -> Vec<String>) {
        let mut map = self.map();
        if map.len() > 2 * resources + SLACK {
            let alive: std::collections::HashSet<String> = alive().into_iter().collect();
            map.retain(|uid, _| alive.contains(uid));
        }
    }
}

/// How long an outcome holds.
fn wait(outcome: &Outcome, failures: u32, resync: Duration) -> Duration {
    let random = rand::random::<f64>();
    match outcome {
        Outcome::Waiting(_) => retry(failures, random),
        Outcome::Refused(refusal) if refusal.is_ones_own() => retry(failures, random),
        // With another document the resource has another generation.
        Outcome::Refused(Refusal::Document(missing)) if missing.is_in_resource() => spread(resync, random),
        Outcome::Refused(Refusal::Document(_) | Refusal::Duplicate { .. }) => spread(RETRY_ELSEWHERE, random),
        Outcome::InRegister { .. } | Outcome::Refused(_) => spread(resync, random),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESYNC: Duration = Duration::from_secs(600);

    fn at(generation: i64, ready: &[&str]) -> Circumstances {
        Circumstances {
            generation: Some(generation),
            ready: ready.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn waiting() -> Outcome {
        Outcome::Waiting("n0: connection refused".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_holds_until_its_time_or_other_central_nodes() {
        let memory = Memory::default();
        let first = memory.keep("a", at(1, &["n0"]), &waiting(), None, RESYNC);
        assert!(memory.recall("a", &at(1, &["n0"])).is_some());
        assert_eq!(memory.recall("a", &at(1, &["n0", "n1"])), None, "another central node is ready");
        assert_eq!(memory.recall("a", &at(2, &["n0"])), None, "another spec");
        assert_eq!(memory.recall("b", &at(1, &["n0"])), None);
        let second = memory.keep("a", at(1, &["n0"]), &waiting(), None, RESYNC);
        assert!(first < Duration::from_secs(8) && second >= Duration::from_secs(10), "{first:?} {second:?}");
        tokio::time::advance(second).await;
        assert_eq!(memory.recall("a", &at(1, &["n0"])), None);
        let elsewhere = memory.keep("a", at(1, &["n1"]), &waiting(), None, RESYNC);
        assert!(elsewhere < Duration::from_secs(8), "a new start: {elsewhere:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_whoever_is_ready() {
        let memory = Memory::default();
        let refusal = Refusal::Rejected { central: "n0".into(), message: "too large".into() };
        let wait = memory.keep("a", at(1, &["n0"]), &Outcome::Refused(refusal), None, RESYNC);
        assert!(wait >= Duration::from_secs(540));
        assert!(memory.recall("a", &at(1, &["n1"])).is_some());
        memory.forget("a");
        assert_eq!(memory.recall("a", &at(1, &["n1"])), None);
    }

    #[tokio::test(start_paused = true)]
    async fn counts_are_written_every_few_seconds() {
        let memory = Memory::default();
        memory.keep("a", at(1, &[]), &waiting(), None, RESYNC);
        assert_eq!(memory.may_count("a"), Ok(()));
        assert_eq!(memory.may_count("a"), Err(COUNTS));
        tokio::time::advance(COUNTS).await;
        assert_eq!(memory.may_count("a"), Ok(()));
    }

    #[test]
    fn resources_that_are_gone_are_forgotten() {
        let memory = Memory::default();
        for number in 0..100 {
            memory.keep(&number.to_string(), at(1, &[]), &waiting(), None, RESYNC);
        }
        memory.prune(1, || vec!["7".into()]);
        assert_eq!(memory.map().keys().collect::<Vec<_>>(), ["7"]);
    }
}
