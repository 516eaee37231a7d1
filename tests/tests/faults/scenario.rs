//! What a scenario is, and what it is given.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures::future::LocalBoxFuture;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// How a scenario ended well.
pub(crate) enum Done {
    /// As it should; what was done, in a line.
    Passed(String),
    /// It can't run here: why, and the remedy.
    Skipped(&'static str, &'static str),
}

/// A scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Seconds of faults when no other time is given.
    pub(crate) short: u64,
    pub(crate) run: fn(Given) -> LocalBoxFuture<'static, Result<Done>>,
}

impl Scenario {
    /// Whether it has this name, or one that goes on after it: `hostile` is also `hostile-tls`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// What a scenario is given.
pub(crate) struct Given {
    /// Where its nodes keep their files.
    pub(crate) directory: PathBuf,
    /// How long it goes on making faults.
    pub(crate) time: Duration,
    /// Its randomness.
    pub(crate) random: SmallRng,
    /// File systems may be mounted.
    pub(crate) may_mount: bool,
    started: Instant,
}

impl Given {
    pub(crate) fn new(name: &str, directory: PathBuf, time: Duration, seed: u64, may_mount: bool) -> Self {
        // Its own stream of numbers, whichever scenarios run beside it.
        let mut hasher = DefaultHasher::new();
        (name, seed).hash(&mut hasher);
        let random = SmallRng::seed_from_u64(hasher.finish());
        Self { directory, time, random, may_mount, started: Instant::now() }
    }

    /// Whether there is time for another fault.
    pub(crate) fn has_time(&self) -> bool {
        self.started.elapsed() < self.time
    }

    /// A random time within bounds.
    pub(crate) fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }
}
