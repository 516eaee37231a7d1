//! The checker: reads the record of a run and finds what must not be. Each rule is a pure function in a file of its own.

mod active;
mod contents;
mod delivery;
mod failover;
mod lies;
mod published;
mod reads;
mod truth;

use std::{fmt, time::Duration};

pub use self::failover::Figures;
use self::truth::Truth;
use super::{
    history::{Event, PeerSample, What},
    plan::Planned,
    world::Record,
};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule says so.
    pub rule: &'static str,
    /// When, where that is known.
    pub at: Option<Duration>,
    /// What happened instead.
    pub what: String,
}

impl Violation {
    fn at(rule: &'static str, at: Duration, what: impl Into<String>) -> Self {
        Self { rule, at: Some(at), what: what.into() }
    }

    fn of_all(rule: &'static str, what: impl Into<String>) -> Self {
        Self { rule, at: None, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} at {:.3} s: {}", self.rule, at.as_secs_f64(), self.what),
            None => write!(f, "{}: {}", self.rule, self.what),
        }
    }
}

/// At most this many violations of one rule are told: one fault often breaks many.
const TOLD: usize = 5;

/// All rules.
#[must_use]
pub fn check(record: &Record, plan: &[Planned], panics: &[String]) -> Vec<Violation> {
    let truth = Truth::of(&record.events);
    let mut found = Vec::new();
    let rules = [
        panics.iter().map(|panic| Violation::of_all("nothing panics", panic.clone())).collect(),
        complaints(&record.events),
        truth.violations(&record.events),
        contents::violations(&record.events, &truth),
        published::violations(&record.events, &truth),
        lies::violations(&record.events),
        reads::violations(&record.events, &truth),
        delivery::violations(&record.events),
        failover::violations(&record.events),
        settled(record, plan),
    ];
    for rule in rules {
        let more = rule.len().saturating_sub(TOLD);
        let name = rule.first().map_or("", |violation: &Violation| violation.rule);
        found.extend(rule.into_iter().take(TOLD));
        if more > 0 {
            found.push(Violation::of_all(name, format!("and {more} more")));
        }
    }
    found
}

/// What a run measured.
#[must_use]
pub fn figures(events: &[Event]) -> Figures {
    failover::figures(events)
}

/// Once the faults are over, everything becomes as it should be.
fn settled(record: &Record, plan: &[Planned]) -> Vec<Violation> {
    let last = plan.iter().map(Planned::end).max().unwrap_or_default();
    let told = |sample: &PeerSample| {
        let wrong = sample.wrong.as_deref().unwrap_or_default();
        let what = format!(
            "the last fault was over at {:.0} s, and edge-{} is {} at {:?}: {wrong}",
            last.as_secs_f64(),
            sample.peer,
            sample.state,
            sample.central,
        );
        Violation::at("everything converges once faults stop", record.took, what)
    };
    record.unsettled.iter().map(told).collect()
}

/// Errors that a node must never have a reason to log, but after its file was damaged or about a central node that lies.
const NEVER: [&str; 3] = ["replica diverged", "integrity fault", "does not start"];

fn complaints(events: &[Event]) -> Vec<Violation> {
    let damaged = events.iter().any(|event| matches!(event.what, What::Damaged(_)));
    let never = |text: &str| NEVER.iter().any(|never| text.contains(never));
    let mut liars = lies::Liars::default();
    let mut found = Vec::new();
    for event in events {
        liars.see(event);
        match &event.what {
            What::Complaint(text) if never(text) && !damaged && !liars.are_named_in(text, event.at) => {
                let rule = "no node finds a fault that is not there";
                found.push(Violation::at(rule, event.at, text.clone()));
            }
            _ => {}
        }
    }
    found
}
