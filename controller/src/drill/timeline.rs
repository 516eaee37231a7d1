//! The drill's clock and record: tells each step with its time, and waits with one deadline for all.

use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// A wait says what it waits for after this time, and again each time it has passed.
const QUIET: Duration = Duration::from_secs(10);

/// What a look found.
#[derive(Debug)]
pub(crate) enum Look<T> {
    /// It is so.
    Done(T),
    /// It is not so yet, and why.
    NotYet(Vec<String>),
}

impl<T> Look<T> {
    /// Done, unless something is missing.
    pub(crate) fn unless(missing: Vec<String>, value: T) -> Self {
        if missing.is_empty() { Self::Done(value) } else { Self::NotYet(missing) }
    }
}

/// What the drill measured.
struct Measure {
    took: Duration,
    what: String,
}

/// When what happened.
pub(crate) struct Timeline<'a> {
    out: &'a mut (dyn Write + Send),
    started: Instant,
    limit: Duration,
    poll: Duration,
    measures: Vec<Measure>,
    /// Why nothing more is told. The drill goes on: it has to take back what it has published.
    lost: Option<io::Error>,
}

impl<'a> Timeline<'a> {
    /// Starts the clock.
    pub(crate) fn start(out: &'a mut (dyn Write + Send), limit: Duration, poll: Duration) -> Self {
        Self { out, started: Instant::now(), limit, poll, measures: Vec::new(), lost: None }
    }

    /// Tells something; that it could not be told shows in the end.
    pub(crate) fn say(&mut self, what: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.line(format_args!("[{seconds:>6.1} s] {what}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        if self.lost.is_none() {
            self.lost = writeln!(self.out, "{line}").and_then(|()| self.out.flush()).err();
        }
    }

    /// Looks until it is so, and tells that.
    ///
    /// # Errors
    /// What is still missing at the deadline; what `look` says can't be mended by waiting.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
    ) -> anyhow::Result<T> {
        let (begun, deadline) = (Instant::now(), self.started + self.limit);
        let (mut said, mut missing) = (begun, vec!["no answer".to_owned()]);
        loop {
            match timeout_at(deadline, look()).await {
                Ok(found) => match found? {
                    Look::Done(value) => {
                        self.say(what);
                        return Ok(value);
                    }
                    Look::NotYet(why) => missing = why,
                },
                Err(_late) => return self.late(what, &missing),
            }
            if Instant::now() + self.poll >= deadline {
                return self.late(what, &missing);
            }
            if said.elapsed() >= QUIET {
                self.say(&format!("waiting until {what}: {}", missing.join("; ")));
                said = Instant::now();
            }
            sleep(self.poll).await;
        }
    }

    fn late<T>(&self, what: &str, missing: &[String]) -> anyhow::Result<T> {
        let limit = humantime::format_duration(self.limit);
        bail!("not reached within {limit} of the drill's start: {what}: {}", missing.join("; "))
    }

    /// Keeps for the table what took from `begun` until now.
    pub(crate) fn measured(&mut self, what: String, begun: Instant) {
        self.measures.push(Measure { took: begun.elapsed(), what });
    }

    /// Tells what was measured.
    ///
    /// # Errors
    /// When this, or what came before, could not be written.
    pub(crate) fn table(&mut self) -> anyhow::Result<()> {
        let measures = std::mem::take(&mut self.measures);
        if !measures.is_empty() {
            self.line(format_args!("\n{:>9}  UNTIL THE RESOURCES SHOWED THAT", "TOOK"));
        }
        for Measure { took, what } in measures {
            self.line(format_args!("{:>7.1} s  {what}", took.as_secs_f64()));
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.line(format_args!("\npassed in {seconds:.1} s"));
        self.lost
            .take()
            .map_or(Ok(()), |lost| Err(lost).context("the drill passed, but its output could not be written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_deadline_holds_for_all_steps_and_names_what_is_missing() {
        let mut out = Vec::new();
        let mut timeline = Timeline::start(&mut out, Duration::from_secs(60), Duration::from_secs(1));
        let mut looks = 0;
        let first = timeline.until("the first happens", async || {
            looks += 1;
            Ok(if looks < 41 { Look::NotYet(vec!["not at all".to_owned()]) } else { Look::Done(7) })
        });
        assert_eq!(first.await.unwrap(), 7);
        let second: anyhow::Result<()> = timeline
            .until("the second happens", async || {
                Ok(Look::NotYet(vec!["a lacks".to_owned(), "b".to_owned()]))
            })
            .await;
        let expected = "not reached within 1m of the drill's start: the second happens: a lacks; b";
        assert_eq!(second.unwrap_err().to_string(), expected);
        assert!(timeline.started.elapsed() <= Duration::from_secs(60));
        let told = String::from_utf8(out).unwrap();
        assert!(told.contains("[  10.0 s] waiting until the first happens: not at all\n"), "{told}");
        assert!(told.contains("[  40.0 s] the first happens\n"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_never_ends_is_cut_off() {
        let mut out = Vec::new();
        let mut timeline = Timeline::start(&mut out, Duration::from_secs(5), Duration::from_secs(1));
        let look = timeline.until::<()>("it answers", async || std::future::pending().await);
        assert!(look.await.unwrap_err().to_string().ends_with("it answers: no answer"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_mended_ends_the_wait_at_once() {
        let mut out = Vec::new();
        let mut timeline = Timeline::start(&mut out, Duration::from_secs(5), Duration::from_secs(1));
        let look = timeline.until::<()>("it answers", async || bail!("forbidden"));
        assert_eq!(look.await.unwrap_err().to_string(), "forbidden");
        assert_eq!(timeline.started.elapsed(), Duration::ZERO);
    }
}
