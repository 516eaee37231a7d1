//! When a report is written: a pure state machine, time and randomness are passed in.
//!
//! Only the newest report counts; what it replaces is forgotten unwritten. A transition is written at once, progress
//! twice in a row and then once per `busy_interval`, details once per `interval`, and none of them sooner than
//! `min_interval` after the attempt before. After a failure nothing is known of what the API server holds, so the
//! newest report is due again, whatever it says, once a growing random delay is over.

use std::time::Duration;

use sorcha_config as config;
use sorcha_register::clock::Monotonic;

use super::{Report, ReportError, content::Difference};

/// First and longest delay after a failure that may pass by itself: an API server that is back after an outage is
/// told how things stand within the longest one.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Delay after a failure that somebody has to mend first.
const RETRY_REFUSED: Duration = Duration::from_secs(60);
/// Share of an interval by which it varies either way, so that nodes don't write in step.
const JITTER: f64 = 0.1;

/// The state.
#[derive(Debug)]
pub(super) struct Pacer {
    min_interval: Duration,
    busy_interval: Duration,
    interval: Duration,
    newest: Option<Report>,
    /// What the API server holds; `None` while that is not known.
    written: Option<Report>,
    /// Nothing is written before this.
    not_before: Monotonic,
    /// When progress is written next; it may lie one `busy_interval` ahead of what is allowed, so that two writes of
    /// progress may follow each other: that something was published, and that it has arrived.
    progress_at: Monotonic,
    details_at: Monotonic,
    failures: u32,
}

impl Pacer {
    /// One that has written nothing.
    pub(super) fn new(config: &config::Report) -> Self {
        Self {
            min_interval: config.min_interval,
            busy_interval: config.busy_interval,
            interval: config.interval,
            newest: None,
            written: None,
            not_before: Monotonic::default(),
            progress_at: Monotonic::default(),
            details_at: Monotonic::default(),
            failures: 0,
        }
    }

    /// Takes in what is true now.
    pub(super) fn observe(&mut self, report: Report) {
        self.newest = Some(report);
    }

    fn change(&self) -> Difference {
        match (&self.newest, &self.written) {
            (None, _) => Difference::Nothing,
            (Some(_), None) => Difference::Transition,
            (Some(newest), Some(written)) => newest.change_since(written),
        }
    }

    /// When the newest report is to be written; `None` while there is nothing to write. Due at once when it is past.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let due = match self.change() {
            Difference::Nothing => return None,
            Difference::Transition => self.not_before,
            Difference::Progress => self.progress_at,
            Difference::Detail => self.details_at,
        };
        Some(due.max(self.not_before))
    }

    /// The newest report, to be written now.
    pub(super) fn begin(&mut self, now: Monotonic) -> Option<Report> {
        let report = self.newest.clone()?;
        if self.change() == Difference::Progress {
            // A bucket of two writes that fills at one per busy interval.
            let full = self.progress_at.plus(self.busy_interval);
            self.progress_at = full.max(now);
        }
        self.not_before = now.plus(self.min_interval);
        Some(report)
    }

    /// The newest report, if it tells more than details beyond what was written.
    pub(super) fn last_word(&self) -> Option<Report> {
        self.newest.clone().filter(|_| self.change() > Difference::Detail)
    }

    /// Takes in how a write ended; `draw` is uniform in [0, 1).
    pub(super) fn ended(&mut self, report: Report, fault: Option<&ReportError>, draw: f64, now: Monotonic) {
        let around = |interval: Duration| interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * draw);
        match fault {
            None => {
                self.written = Some(report);
                self.failures = 0;
                self.details_at = now.plus(around(self.interval));
            }
            Some(error) => {
                self.written = None;
                let longest = RETRY.saturating_mul(1 << self.failures.min(6)).min(RETRY_MAX);
                self.failures = self.failures.saturating_add(1);
                let wait = if error.is_passing() { longest.mul_f64(draw) } else { around(RETRY_REFUSED) };
                self.not_before = self.not_before.max(now.plus(wait));
            }
        }
    }
}

#[cfg(test)]
mod tests;
