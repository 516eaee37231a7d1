//! How many scenarios passed, were skipped, failed: a skipped one has not passed.

use std::fmt;

/// How one scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// It can't run here.
    Skipped,
    /// Not as it should.
    Failed,
}

/// Scenarios by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: usize,
    skipped: usize,
    failed: usize,
}

impl Tally {
    /// Whether nothing failed.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.failed == 0
    }
}

impl FromIterator<Outcome> for Tally {
    fn from_iter<T: IntoIterator<Item = Outcome>>(outcomes: T) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes {
            *match outcome {
                Outcome::Passed => &mut tally.passed,
                Outcome::Skipped => &mut tally.skipped,
                Outcome::Failed => &mut tally.failed,
            } += 1;
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.passed + self.skipped + self.failed;
        write!(f, "{} of {all} scenarios passed", self.passed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        if self.failed > 0 {
            write!(f, ", {} FAILED", self.failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_scenario_is_not_counted_as_passed() {
        let tally: Tally = [Outcome::Passed, Outcome::Skipped, Outcome::Passed].into_iter().collect();
        assert_eq!(tally.to_string(), "2 of 3 scenarios passed, 1 skipped");
        assert!(tally.is_good());
    }

    #[test]
    fn a_failed_scenario_is_said_last() {
        let tally: Tally = [Outcome::Failed, Outcome::Skipped].into_iter().collect();
        assert_eq!(tally.to_string(), "0 of 2 scenarios passed, 1 skipped, 1 FAILED");
        assert!(!tally.is_good());
    }
}
