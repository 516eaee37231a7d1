//! Which central node comes next and how long to wait before it: the pure arithmetic behind
//! [`machine`](super::machine) (ADR 33, protocol section 6.2).
//!
//! The only file that knows the `backoff` crate, which is unmaintained: a swap to another crate (backon, or four
//! lines of arithmetic) touches `round_base` and nothing else.

use std::{fmt, time::Duration};

use backoff::{SystemClock, backoff::Backoff as _, exponential::ExponentialBackoffBuilder};

/// Name of a central node as configured, such as `n0.sorcha.dev` (protocol section 6.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CentralId(String);

impl CentralId {
    /// Wraps a configured name; the configuration has validated it.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CentralId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a peer returns to a better central node once that one works again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Failback {
    /// Stay on the node that works (protocol section 6.2, failback).
    #[default]
    Never,
    /// Look for a better node after this long with acknowledged heartbeats on a worse one (ADR 33).
    AfterStable(Duration),
}

/// Longest hint of a central node that is obeyed, for connects and pulls: 1 h (protocol section 6.9, interval cap; ADR 36), so
/// that no answer can lock a peer out for ever.
pub(crate) const LONGEST_HINT: Duration = Duration::from_secs(3600);

/// The numbers the connection logic follows. Ranges are the configuration's to check: no value makes the machine
/// panic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    /// Delay of the first round in isolation: 1 s (protocol section 6.2, backoff).
    pub initial_delay: Duration,
    /// Greatest delay of a round: 60 s (protocol section 6.2, D17).
    pub max_delay: Duration,
    /// Growth from round to round: 2 (protocol section 6.2).
    pub multiplier: f64,
    /// Consecutive missed heartbeats that end a session: 2 (protocol section 6.3, D7); 0 counts as 1.
    pub max_missed: u32,
    /// Consecutive failed syncs that end a session: 3 (ours; the contract says nothing); 0 counts as 1.
    pub max_sync_failures: u32,
    /// Full-jitter range before the first dial after a lost connection: 0 (ours, for large networks: spreads the
    /// peers of a dead central node).
    pub failover_jitter: Duration,
    /// A session that ends sooner than this is short; from the second short one in a row on, the rounds' delays
    /// apply before the next dial: 30 s, one heartbeat (ours: no hot loop between nodes that accept and then fail).
    pub settle_after: Duration,
    /// Greatest retry-after hint believed: [`LONGEST_HINT`].
    pub max_retry_after: Duration,
    /// Return to a better node: never (protocol section 6.2, ADR 33).
    pub failback: Failback,
    /// Time between probes of better nodes: 30 s, the heartbeat interval (ours).
    pub probe_interval: Duration,
    /// Successful probes in a row before moving: 2 (ours: hysteresis); 0 counts
    /// as 1.
    pub probe_successes: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            multiplier: 2.0,
            max_missed: 2,
            max_sync_failures: 3,
            failover_jitter: Duration::ZERO,
            settle_after: Duration::from_secs(30),
            max_retry_after: LONGEST_HINT,
            failback: Failback::Never,
            probe_interval: Duration::from_secs(30),
            probe_successes: 2,
        }
    }
}

/// The list without repetitions; the first mention of a name counts.
#[must_use]
pub(crate) fn distinct(centrals: Vec<CentralId>) -> Vec<CentralId> {
    let mut kept: Vec<CentralId> = Vec::with_capacity(centrals.len());
    for central in centrals {
        if !kept.contains(&central) {
            kept.push(central);
        }
    }
    kept
}

/// Order of a pass after `failed` let the peer down: the nodes behind it, then from the top, itself last
/// (protocol section 6.2, D37). Priority order when `failed` is not in the list.
#[must_use]
pub(crate) fn order_after(centrals: &[CentralId], failed: &CentralId) -> Vec<CentralId> {
    rotated(centrals, centrals.iter().position(|c| c == failed).map_or(0, |index| index + 1))
}

/// Order of a pass that tries `first` again and then goes on in the same direction (protocol section 6.3,
/// RECONNECT). Priority order when `first` is not in the list.
#[must_use]
pub(crate) fn order_from(centrals: &[CentralId], first: &CentralId) -> Vec<CentralId> {
    rotated(centrals, centrals.iter().position(|c| c == first).unwrap_or(0))
}

/// Order of a pass that moves to the better node `target`: it, then the node just left, then the others by priority
/// (ADR 33, failback).
#[must_use]
pub(crate) fn order_back_to(
    centrals: &[CentralId],
    target: &CentralId,
    previous: &CentralId,
) -> Vec<CentralId> {
    let others = centrals.iter().filter(|c| *c != target && *c != previous);
    [target, previous].into_iter().filter(|c| centrals.contains(c)).chain(others).cloned().collect()
}

fn rotated(centrals: &[CentralId], start: usize) -> Vec<CentralId> {
    let (before, from) = centrals.split_at(start.min(centrals.len()));
    from.iter().chain(before).cloned().collect()
}

/// Delay of round `round` (from 0) before jitter: 1, 2, 4, 8, 16, 32, 60, 60, … s (ADR 33).
///
/// The crate's own randomisation is off, and its clock and random draw never reach the result: only the interval it
/// keeps is read.
#[must_use]
pub(crate) fn round_base(policy: &Policy, round: u32) -> Duration {
    let mut backoff = ExponentialBackoffBuilder::<SystemClock>::new()
        .with_initial_interval(policy.initial_delay.min(policy.max_delay))
        .with_max_interval(policy.max_delay)
        .with_multiplier(policy.multiplier)
        .with_randomization_factor(0.0)
        .with_max_elapsed_time(None)
        .build();
    for _ in 0..round {
        let before = backoff.current_interval;
        backoff.next_backoff();
        if backoff.current_interval == before {
            break;
        }
    }
    backoff.current_interval
}

/// Full jitter: `draw` in [0, 1) of `base` (ADR 33). A draw outside that range counts as its nearest end,
/// no number as 0.
#[must_use]
pub(crate) fn full_jitter(base: Duration, draw: f64) -> Duration {
    let share = if draw.is_nan() { 0.0 } else { draw.clamp(0.0, 1.0) };
    Duration::try_from_secs_f64(base.as_secs_f64() * share).unwrap_or(base).min(base)
}

/// What the refusals of a whole pass mean for the wait after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Something may get better soon: the rounds' growing delay, with jitter.
    Backoff,
    /// Every node refused for good (protocol section 5, PERMISSION_DENIED: stop): the greatest delay, whole.
    Slowest,
}

/// The wait after a pass without success: never shorter than `floor`, the smallest retry-after hint that applies
/// (ADR 36); the jitter comes on top of a hint, so that peers refused together do not return together.
///
/// Jitter lets some peers run through the first rounds within moments. No wait is longer than the outage has lasted so far
/// and one first delay (what the rounds without jitter come to), so that they do not sit out half a minute after an outage
/// of ten seconds.
#[must_use]
pub(crate) fn wait_after_pass(
    policy: &Policy,
    (round, isolated_for): (u32, Duration),
    pace: Pace,
    floor: Option<Duration>,
    draw: f64,
) -> Duration {
    let floor = floor.unwrap_or_default();
    match pace {
        Pace::Backoff => {
            let base = round_base(policy, round).min(isolated_for.saturating_add(policy.initial_delay));
            floor.saturating_add(full_jitter(base, draw))
        }
        Pace::Slowest => floor.max(policy.max_delay),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &str) -> Vec<CentralId> {
        names.split_whitespace().map(CentralId::new).collect()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rounds_double_from_one_second_and_stay_at_sixty() {
        let policy = Policy::default();
        let delays: Vec<_> = (0..10).map(|k| round_base(&policy, k).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(round_base(&policy, u32::MAX), secs(60));
    }

    #[test]
    fn round_base_does_not_vary() {
        let policy = Policy { multiplier: 1.7, ..Policy::default() };
        let first = round_base(&policy, 5);
        assert!((0..100).all(|_| round_base(&policy, 5) == first));
    }

    #[test]
    fn odd_policies_give_a_delay_within_the_cap() {
        for multiplier in [0.0, 0.5, 1.0, -3.0, f64::NAN, f64::INFINITY, f64::MAX] {
            for initial_delay in [Duration::ZERO, secs(90), Duration::MAX] {
                let policy = Policy { multiplier, initial_delay, ..Policy::default() };
                assert!(round_base(&policy, 7) <= policy.max_delay, "{policy:?}");
            }
        }
    }

    #[test]
    fn full_jitter_spans_the_whole_base() {
        assert_eq!(full_jitter(secs(8), 0.0), Duration::ZERO);
        assert_eq!(full_jitter(secs(8), 0.5), secs(4));
        assert!(full_jitter(secs(8), 0.999) < secs(8));
        for odd in [f64::NAN, -1.0, 7.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(full_jitter(Duration::MAX, odd) <= Duration::MAX);
            assert!(full_jitter(secs(1), odd) <= secs(1));
        }
    }

    #[test]
    fn waits_never_undercut_a_hint() {
        let policy = Policy::default();
        let wait = |round, isolated_for, pace, floor, draw| {
            wait_after_pass(&policy, (round, secs(isolated_for)), pace, floor, draw)
        };
        assert_eq!(wait(2, 60, Pace::Backoff, None, 0.25), secs(1));
        assert_eq!(wait(2, 60, Pace::Backoff, Some(secs(20)), 0.25), secs(21));
        assert_eq!(wait(5, 3, Pace::Backoff, None, 0.5), secs(2), "no longer than the outage so far");
        assert_eq!(wait(0, 0, Pace::Backoff, None, 0.5), Duration::from_millis(500));
        assert_eq!(wait(0, 0, Pace::Slowest, None, 0.0), secs(60));
        assert_eq!(wait(0, 0, Pace::Slowest, Some(secs(90)), 0.0), secs(90));
    }

    #[test]
    fn passes_wrap_after_the_node_that_failed() {
        let list = nodes("n0 n1 n2");
        let after = |name: &str| order_after(&list, &CentralId::new(name));
        assert_eq!(after("n0"), nodes("n1 n2 n0"));
        assert_eq!(after("n1"), nodes("n2 n0 n1"));
        assert_eq!(after("n2"), list);
        assert_eq!(after("gone"), list);
        assert_eq!(order_after(&[], &CentralId::new("n0")), []);
        assert_eq!(order_from(&list, &CentralId::new("n1")), nodes("n1 n2 n0"));
        assert_eq!(order_from(&list, &CentralId::new("gone")), list);
    }

    #[test]
    fn failback_keeps_the_node_just_left_as_second_choice() {
        let back = |target: &str, previous: &str| {
            order_back_to(&nodes("n0 n1 n2"), &CentralId::new(target), &CentralId::new(previous))
        };
        assert_eq!(back("n0", "n2"), nodes("n0 n2 n1"));
        assert_eq!(back("n1", "n2"), nodes("n1 n2 n0"));
        assert_eq!(back("n0", "gone"), nodes("n0 n1 n2"));
    }

    #[test]
    fn repeated_names_count_once() {
        assert_eq!(distinct(nodes("n0 n1 n0 n2 n1")), nodes("n0 n1 n2"));
    }
}
