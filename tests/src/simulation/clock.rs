//! A machine's clock: wall time runs with Tokio's paused clock, wrong by what the run says.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use sorcha_register::clock::{Clock, Monotonic, Timestamp};
use tokio::time::Instant;

/// The instant at which every run begins.
const ORIGIN: Timestamp = Timestamp::from_millis(1_763_800_000_000);

/// The clock of one machine.
#[derive(Debug)]
pub struct SimClock {
    started: Instant,
    skew_millis: AtomicI64,
}

impl SimClock {
    /// A clock that is right; `started` is the beginning of the run.
    #[must_use]
    pub const fn new(started: Instant) -> Self {
        Self { started, skew_millis: AtomicI64::new(0) }
    }

    /// From now on the clock is wrong by so much.
    pub fn set_skew(&self, millis: i64) {
        self.skew_millis.store(millis, Ordering::Relaxed);
    }

    /// How wrong it is.
    #[must_use]
    pub fn skew(&self) -> Duration {
        Duration::from_millis(self.skew_millis.load(Ordering::Relaxed).unsigned_abs())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let right = ORIGIN.plus(self.started.elapsed()).as_millis();
        Timestamp::from_millis(right.saturating_add(self.skew_millis.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_start(self.started.elapsed())
    }
}
