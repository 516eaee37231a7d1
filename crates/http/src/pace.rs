//! What a connection makes of its place: whether something is in progress, and how fast its caller takes and sends while it is
//! waited for. It is only measured here, by what `metered` tells; `places` ends connections.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use sorcha_config::Http;
use tokio::time::Instant;

/// A rate over less time in which the caller was waited for means nothing: what it takes comes in pieces.
const MEASURABLE: Duration = Duration::from_secs(3);

/// The settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Time for the head of a request.
    pub(super) head: Duration,
    /// Time between two requests.
    pub(super) idle: Duration,
    /// Time in which a caller takes something of its answer.
    pub(super) stall: Duration,
    /// Bytes a second, on average over `window`.
    pub(super) least: u64,
    pub(super) window: Duration,
}

impl From<&Http> for Rules {
    fn from(http: &Http) -> Self {
        Self {
            head: http.head_timeout,
            idle: http.idle_timeout,
            stall: http.write_timeout,
            least: http.min_bytes_per_second,
            window: http.rate_window,
        }
    }
}

impl Rules {
    /// Whether so many bytes in so much time are too few.
    pub(super) fn is_too_slow(&self, bytes: u64, waited: Duration) -> bool {
        waited >= self.window && (bytes as f64) < self.least as f64 * waited.as_secs_f64()
    }
}

/// Bytes that moved in one direction, and how long the caller was waited for meanwhile.
#[derive(Debug, Default)]
struct Pace {
    since: Option<Instant>,
    waited: Duration,
    bytes: u64,
    last_rate: Option<f64>,
}

impl Pace {
    fn waits(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// What moved before the caller was ever waited for says nothing.
    fn moved(&mut self, bytes: usize, now: Instant) {
        let waited = self.since.take().map(|since| now.duration_since(since));
        self.waited += waited.unwrap_or_default();
        if waited.is_some() || !self.waited.is_zero() {
            self.bytes += bytes as u64;
        }
    }

    fn waited(&self, now: Instant) -> Duration {
        self.waited + self.since.map(|since| now.duration_since(since)).unwrap_or_default()
    }

    /// Bytes a second; `None` where it is too early to tell.
    fn rate(&self, now: Instant) -> Option<f64> {
        let waited = self.waited(now);
        if waited < MEASURABLE { self.last_rate } else { Some(self.bytes as f64 / waited.as_secs_f64()) }
    }

    /// Whether the caller was too slow over a whole window; a new one begins after each.
    fn is_over(&mut self, now: Instant, rules: &Rules) -> bool {
        let waited = self.waited(now);
        if rules.is_too_slow(self.bytes, waited) {
            return true;
        }
        if waited >= rules.window {
            let since = self.since.map(|_| now);
            *self = Self { since, last_rate: self.rate(now), ..Self::default() };
        }
        false
    }
}

/// What a connection makes of its place, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Standing {
    /// Nothing is in progress, since then.
    Idle(Instant),
    /// Its caller is below the minimum rate: bytes a second.
    Slow(u64),
    /// Its caller is waited for.
    Awaited,
    /// This node is at work for it.
    Served,
    /// Its first request may be on its way.
    New,
}

/// A connection is new for so long: that nothing was asked on it says nothing yet.
pub(super) const FRESH: Duration = Duration::from_secs(3);

/// Measures one connection.
#[derive(Debug)]
pub(super) struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests in progress.
    requests: usize,
    has_asked: bool,
    idle_since: Instant,
    /// The first byte of a head that is not whole.
    head_since: Option<Instant>,
    sends: Pace,
    takes: Pace,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        let (sends, takes) = (Pace::default(), Pace::default());
        let state = State { requests: 0, has_asked: false, idle_since: now, head_since: None, sends, takes };
        Arc::new(Self(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head is whole; the request is in progress until what is returned is dropped.
    pub(super) fn begins(self: &Arc<Self>) -> InProgress {
        let mut state = self.state();
        state.requests += 1;
        (state.has_asked, state.head_since) = (true, None);
        InProgress(Arc::clone(self))
    }

    /// How the connection stands.
    pub(super) fn standing(&self, now: Instant, rules: &Rules) -> Standing {
        let state = self.state();
        let awaited = [&state.takes, &state.sends].into_iter().find(|pace| pace.since.is_some());
        match awaited {
            Some(pace) => match pace.rate(now) {
                Some(rate) if rate < rules.least as f64 => Standing::Slow(rate as u64),
                _ => Standing::Awaited,
            },
            None if state.requests > 0 => Standing::Served,
            None if !state.has_asked && now.duration_since(state.idle_since) < FRESH => Standing::New,
            None => Standing::Idle(state.idle_since),
        }
    }

    /// The setting by which the connection is to end now.
    pub(super) fn overdue(&self, now: Instant, rules: &Rules) -> Option<&'static str> {
        let mut state = self.state();
        let is_after = |since: Instant, limit| now.duration_since(since) >= limit;
        if let Some(since) = state.takes.since {
            let stalled = is_after(since, rules.stall).then_some("http.write_timeout");
            return stalled
                .or_else(|| state.takes.is_over(now, rules).then_some("http.min_bytes_per_second"));
        }
        if state.requests > 0 {
            return None;
        }
        let (head, idle) = ("http.head_timeout", "http.idle_timeout");
        match state.head_since {
            Some(since) => is_after(since, rules.head).then_some(head),
            None if state.has_asked => is_after(state.idle_since, rules.idle).then_some(idle),
            None => is_after(state.idle_since, rules.head).then_some(head),
        }
    }

    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.state();
        if state.requests == 0 && bytes > 0 {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn written(&self, written: &Poll<io::Result<usize>>) {
        let (mut state, now) = (self.state(), Instant::now());
        match written {
            Poll::Pending => state.takes.waits(now),
            Poll::Ready(taken) => state.takes.moved(*taken.as_ref().unwrap_or(&0), now),
        }
    }

    pub(super) fn received(&self, part: Poll<usize>) {
        let (mut state, now) = (self.state(), Instant::now());
        match part {
            Poll::Pending => state.sends.waits(now),
            Poll::Ready(bytes) => state.sends.moved(bytes, now),
        }
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Meter>);

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests = state.requests.saturating_sub(1);
        (state.idle_since, state.sends) = (Instant::now(), Pace::default());
    }
}

#[cfg(test)]
mod tests;
