//! Who holds the Lease, and until when that is certain; pure.
//!
//! Times of others are never compared with ours: what counts is when, by our own monotonic clock, a record was seen to
//! change, and when our last renewal was sent. A holder counts its time from before it sent the renewal, a successor from
//! after it saw it; so the holder's time is over first, however slow the answers are and whatever clocks say.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// What a Lease says, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Who holds it; `None`: it was given back.
    pub holder: Option<String>,
    /// Seconds for which the holder holds it after each renewal, as it says.
    pub seconds: Option<u64>,
    /// When the holder says it renewed it: read for changes only.
    pub renewed: Option<String>,
    /// When the holder says it took it.
    pub acquired: Option<Timestamp>,
    /// How often it has changed hands.
    pub transitions: i32,
    /// Version of the object.
    pub version: String,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeaseStep {
    /// Write our name into the Lease, if it is still as it was seen.
    Take,
    /// Write our name again, if it is still as it was seen.
    Renew,
    /// It is another's.
    Wait,
}

/// Longest time that a holder's own word is taken for: that of the setting's range.
const LONGEST: Duration = Duration::from_secs(300);

/// One candidate.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    identity: String,
    duration: Duration,
    seen: Option<(Record, Instant)>,
    /// When the renewal was sent by which the lease is held.
    renewed: Option<Instant>,
    /// The write that was sent last, by the time that it states, and when that was. Its answer may be lost.
    sent: Option<(String, Instant)>,
}

impl Election {
    /// Of a candidate who knows nothing yet.
    #[must_use]
    pub(crate) fn new(identity: &str, duration: Duration) -> Self {
        Self { identity: identity.to_owned(), duration, seen: None, renewed: None, sent: None }
    }

    /// Until when this candidate may act as the leader. A third of the time is left for what is under way by then.
    #[must_use]
    pub(crate) fn leads_until(&self) -> Option<Instant> {
        Some(self.renewed? + self.duration * 2 / 3)
    }

    /// Whether it may act now.
    #[must_use]
    pub(crate) fn leads(&self, now: Instant) -> bool {
        self.leads_until().is_some_and(|until| now < until)
    }

    /// Takes in what the Lease says, and decides.
    pub(crate) fn look(&mut self, record: &Record, now: Instant) -> LeaseStep {
        let mine = record.holder.as_ref() == Some(&self.identity);
        if !mine {
            self.renewed = None;
        }
        let unchanged = self.seen.as_ref().is_some_and(|(seen, _)| seen == record);
        if !unchanged {
            self.seen = Some((record.clone(), now));
        }
        // A write of ours whose answer was lost.
        if let Some((_, sent)) =
            self.sent.as_ref().filter(|(text, _)| mine && record.renewed.as_ref() == Some(text))
        {
            self.renewed = self.renewed.max(Some(*sent));
        }
        // One of this name that was not taken by this process is another's until it has run out.
        if mine && self.renewed.is_some() {
            return LeaseStep::Renew;
        }
        let held = record.holder.as_ref().is_some_and(|holder| !holder.is_empty());
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        let theirs =
            record.seconds.map_or(self.duration, Duration::from_secs).min(LONGEST).max(self.duration);
        if held && now < since + theirs { LeaseStep::Wait } else { LeaseStep::Take }
    }

    /// Our name is about to be written, with this time.
    pub(crate) fn sending(&mut self, renewed: String, now: Instant) {
        self.sent = Some((renewed, now));
    }

    /// What was sent is written, as this record.
    pub(crate) fn confirmed(&mut self, record: Record, now: Instant) {
        self.renewed = self.sent.as_ref().map(|(_, sent)| *sent);
        self.seen = Some((record, now));
    }

    /// The record that a write starts from.
    #[must_use]
    pub(crate) fn seen(&self) -> Option<&Record> {
        self.seen.as_ref().map(|(record, _)| record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn record(holder: &str, version: &str) -> Record {
        Record {
            holder: Some(holder.to_owned()),
            seconds: Some(15),
            version: version.to_owned(),
            ..Record::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_anothers_until_it_was_seen_unchanged_for_its_time() {
        let start = Instant::now();
        let mut election = Election::new("b", 15 * SECOND);
        assert_eq!(election.look(&record("a", "1"), start), LeaseStep::Wait);
        assert_eq!(election.look(&record("a", "1"), start + 14 * SECOND), LeaseStep::Wait);
        // It was renewed: the time begins again, whatever the renewal says of when it was.
        assert_eq!(election.look(&record("a", "2"), start + 15 * SECOND), LeaseStep::Wait);
        assert_eq!(election.look(&record("a", "2"), start + 29 * SECOND), LeaseStep::Wait);
        assert_eq!(election.look(&record("a", "2"), start + 30 * SECOND), LeaseStep::Take);
        assert!(!election.leads(start + 30 * SECOND), "asking is not holding");
    }

    #[tokio::test(start_paused = true)]
    async fn a_holders_time_counts_from_before_its_renewal_was_sent() {
        let start = Instant::now();
        let mut election = Election::new("a", 15 * SECOND);
        assert_eq!(election.look(&Record::default(), start), LeaseStep::Take);
        election.sending("then".to_owned(), start);
        election.confirmed(record("a", "1"), start + 9 * SECOND);
        assert!(election.leads(start + 9 * SECOND) && !election.leads(start + 10 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_anothers_now_is_lost_at_once() {
        let start = Instant::now();
        let mut election = Election::new("a", 15 * SECOND);
        election.sending("then".to_owned(), start);
        election.confirmed(record("a", "1"), start);
        assert_eq!(election.look(&record("a", "1"), start + SECOND), LeaseStep::Renew);
        assert_eq!(election.look(&record("b", "2"), start + 2 * SECOND), LeaseStep::Wait);
        assert!(!election.leads(start + 2 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_whose_answer_was_lost_counts_from_when_it_was_sent() {
        let start = Instant::now();
        let mut election = Election::new("a", 15 * SECOND);
        assert_eq!(election.look(&Record::default(), start), LeaseStep::Take);
        election.sending("first".to_owned(), start);
        let written = Record { renewed: Some("first".to_owned()), ..record("a", "1") };
        assert_eq!(election.look(&written, start + 5 * SECOND), LeaseStep::Renew);
        assert!(election.leads(start + 9 * SECOND) && !election.leads(start + 10 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_record_says_of_its_time_is_bounded() {
        let start = Instant::now();
        for (seconds, waits) in [(Some(u64::MAX), 300), (Some(0), 15), (None, 15), (Some(60), 60)] {
            let mut election = Election::new("b", 15 * SECOND);
            let held = Record { seconds, ..record("a", "1") };
            assert_eq!(election.look(&held, start), LeaseStep::Wait);
            assert_eq!(election.look(&held, start + SECOND * (waits - 1)), LeaseStep::Wait, "{seconds:?}");
            assert_eq!(election.look(&held, start + SECOND * waits), LeaseStep::Take, "{seconds:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_of_an_earlier_process_of_this_name_runs_out_first() {
        let start = Instant::now();
        let mut election = Election::new("a", 15 * SECOND);
        assert_eq!(election.look(&record("a", "1"), start), LeaseStep::Wait);
        assert_eq!(election.look(&record("a", "1"), start + 15 * SECOND), LeaseStep::Take);
    }
}
