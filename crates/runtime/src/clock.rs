//! Clocks: the machine's, and one that a simulation advances. Nothing else in a node reads the time.

use sorcha_register::clock::{Clock, Monotonic, Timestamp};

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: tokio::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: tokio::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door that time comes in through")]
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_start(self.started.elapsed())
    }
}

/// A clock whose wall time advances with Tokio's (possibly paused) clock, with an offset to play a skewed machine.
#[derive(Debug)]
pub struct VirtualClock {
    started: tokio::time::Instant,
    origin: Timestamp,
    skew_millis: i64,
}

impl VirtualClock {
    /// A clock that shows `origin` now, wrong by `skew_millis`.
    #[must_use]
    pub fn new(origin: Timestamp, skew_millis: i64) -> Self {
        Self { started: tokio::time::Instant::now(), origin, skew_millis }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let millis = self.origin.plus(self.started.elapsed()).as_millis();
        Timestamp::from_millis(millis.saturating_add(self.skew_millis))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_start(self.started.elapsed())
    }
}
