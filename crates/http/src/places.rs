//! Places for connections: so many and no more. A new connection has one at once; when all are taken, the connection that makes the
//! least of its place is ended for it.
//!
//! An address that has more than half of the places loses first. Then go those with nothing in progress, then the slowest of
//! those below the minimum rate, last the others; among equals the oldest of the address that has the most, so that a caller
//! uses up its own share before those of others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sorcha_runtime::{metrics::Metrics, source::Source};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::{Meter, Rules, Standing};

/// All places of a server.
pub(super) struct Places {
    all: usize,
    rules: Rules,
    metrics: Metrics,
    started: Instant,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Oldest first.
    taken: BTreeMap<u64, Taken>,
    /// How many each source has.
    shares: HashMap<Source, usize>,
    next: u64,
    told: bool,
}

struct Taken {
    source: Source,
    meter: Arc<Meter>,
    cut: CancellationToken,
}

/// A place; free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Measures who has it.
    pub(super) meter: Arc<Meter>,
    /// Cancelled when the connection is to end.
    pub(super) cut: CancellationToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.table().leave(self.number);
    }
}

impl Places {
    pub(super) fn new(all: usize, rules: Rules, metrics: Metrics) -> Arc<Self> {
        let (started, table) = (Instant::now(), Mutex::default());
        Arc::new(Self { all, rules, metrics, started, table })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more, at once.
    pub(super) fn take(self: &Arc<Self>, source: Source) -> Place {
        let now = Instant::now();
        let (meter, cut) = (Meter::new(now), CancellationToken::new());
        let mut table = self.table();
        while table.taken.len() >= self.all && self.end_one(&mut table, now) {}
        let number = table.next;
        table.next += 1;
        *table.shares.entry(source.clone()).or_default() += 1;
        table.taken.insert(number, Taken { source, meter: Arc::clone(&meter), cut: cut.clone() });
        drop(table);
        Place { places: Arc::clone(self), number, meter, cut }
    }

    /// Ends a connection although there are places, for want of something else.
    pub(super) fn relieve(&self) {
        self.end_one(&mut self.table(), Instant::now());
    }

    fn end_one(&self, table: &mut Table, now: Instant) -> bool {
        let Some((number, standing)) = table.least(now, self.started, &self.rules) else { return false };
        if !table.told {
            table.told = true;
            tracing::warn!(
                http.max_connections = self.all,
                ?standing,
                "HTTP connections are ended to make room for new ones: idle ones first, then slow ones, then those of the address that has the most"
            );
        }
        self.metrics.http_cut(match standing {
            Standing::Idle(_) => "idle",
            Standing::Slow(_) => "slow",
            Standing::Awaited | Standing::Served | Standing::New => "share",
        });
        table.end(number);
        true
    }

    /// Ends those that are overdue.
    pub(super) fn sweep(&self) {
        let (mut table, now) = (self.table(), Instant::now());
        table.told &= table.taken.len() >= self.all.div_ceil(4) * 3;
        let overdue = |taken: &Taken| taken.meter.overdue(now, &self.rules);
        let due: Vec<_> =
            table.taken.iter().filter_map(|(number, taken)| Some((*number, overdue(taken)?))).collect();
        for (number, setting) in due {
            tracing::debug!(setting, "HTTP connection ended");
            self.metrics.http_cut(setting.trim_start_matches("http."));
            table.end(number);
        }
    }

    /// Whether no place is taken.
    pub(super) fn is_empty(&self) -> bool {
        self.table().taken.is_empty()
    }
}

impl Table {
    /// The connection that makes the least of its place.
    fn least(&self, now: Instant, start: Instant, rules: &Rules) -> Option<(u64, Standing)> {
        let rank = |number: u64, taken: &Taken| {
            let standing = taken.meter.standing(now, rules);
            let share = self.shares.get(&taken.source).copied().unwrap_or_default();
            let (class, rate, last, age): (u8, u64, u8, Duration) = match standing {
                Standing::Idle(since) => (0, 0, 0, since.duration_since(start)),
                Standing::Slow(rate) => (1, rate, 0, Duration::ZERO),
                Standing::Awaited => (2, 0, 0, Duration::ZERO),
                Standing::Served | Standing::New => (2, 0, 1, Duration::ZERO),
            };
            let has_most = share * 2 > self.taken.len();
            ((!has_most, class, rate, Reverse(share), last, age), number, standing)
        };
        let ranks = self.taken.iter().map(|(number, taken)| rank(*number, taken));
        ranks.min_by_key(|(rank, number, _)| (*rank, *number)).map(|(_, number, standing)| (number, standing))
    }

    fn end(&mut self, number: u64) {
        if let Some(taken) = self.leave(number) {
            taken.cut.cancel();
        }
    }

    fn leave(&mut self, number: u64) -> Option<Taken> {
        let taken = self.taken.remove(&number)?;
        if let Some(share) = self.shares.get_mut(&taken.source) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&taken.source);
            }
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::FRESH;
    use sorcha_config::Http;

    fn places(all: usize) -> Arc<Places> {
        Places::new(all, Rules::from(&Http::default()), Metrics::disabled())
    }

    fn from(host: &str) -> Source {
        Source::of(&format!("{host}:4711"))
    }

    fn cut(there: &[Place]) -> Vec<usize> {
        (0..there.len()).filter(|number| there[*number].cut.is_cancelled()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_ones_go_first_then_slow_ones_then_those_of_the_greatest_share() {
        let places = places(5);
        let hosts = ["10.0.0.1", "10.0.0.1", "10.0.0.9", "10.0.0.2", "10.0.0.3"];
        let there = hosts.map(|host| places.take(from(host)));
        let _served: Vec<_> = [0, 1, 2, 4].map(|number: usize| there[number].meter.begins()).into();
        tokio::time::sleep(FRESH).await;
        let mut late = vec![places.take(from("10.0.0.4"))];
        assert_eq!(cut(&there), [3], "nothing is in progress on it");
        let slow = there[4].meter.begins();
        let mut stalled = crate::metered::Sent::new(
            axum::body::Body::from_stream(futures::stream::pending::<std::io::Result<Vec<u8>>>()),
            Arc::clone(&there[4].meter),
        );
        let polled = futures::poll!(std::future::poll_fn(|cx| {
            axum::body::HttpBody::poll_frame(std::pin::Pin::new(&mut stalled), cx)
        }));
        assert!(polled.is_pending());
        tokio::time::sleep(Duration::from_secs(5)).await;
        let _busy: Vec<_> = late.iter().map(|place| place.meter.begins()).collect();
        late.push(places.take(from("10.0.0.5")));
        assert_eq!(cut(&there), [3, 4], "its caller is too slow");
        let _busier = late[1].meter.begins();
        late.push(places.take(from("10.0.0.6")));
        assert_eq!(cut(&there), [0, 3, 4], "the oldest of the address that has the most");
        drop(slow);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_is_not_taken_for_an_idle_one() {
        let places = places(3);
        let there = ["10.0.0.1"; 3].map(|host| places.take(from(host)));
        let _served: Vec<_> = there.iter().map(|place| place.meter.begins()).collect();
        let probe = places.take(from("10.0.0.1"));
        let next = places.take(from("10.0.0.1"));
        assert!(!probe.cut.is_cancelled() && !next.cut.is_cancelled(), "older ones go first");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_opens_connections_without_end_ends_its_own() {
        let places = places(8);
        let download = places.take(from("10.0.0.1"));
        let _reading = download.meter.begins();
        download.meter.written(&std::task::Poll::Pending);
        let idle = places.take(from("10.0.0.2"));
        drop(idle.meter.begins());
        let flood: Vec<_> = (0..100).map(|_| places.take(from("10.0.0.3"))).collect();
        assert!(!download.cut.is_cancelled() && !idle.cut.is_cancelled());
        assert_eq!(cut(&flood).len(), flood.len() - 6);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_open_connections_without_end_end_no_download_of_another() {
        let places = places(8);
        let download = places.take(from("10.0.0.1"));
        let _reading = download.meter.begins();
        download.meter.written(&std::task::Poll::Pending);
        let _flood: Vec<_> =
            (0..100).map(|number| places.take(from(["10.0.0.2", "10.0.0.3"][number % 2]))).collect();
        assert!(!download.cut.is_cancelled());
    }

    #[tokio::test]
    async fn a_place_is_free_once_it_is_left() {
        let places = places(1);
        drop(places.take(from("10.0.0.1")));
        let there = [places.take(from("10.0.0.1"))];
        assert!(cut(&there).is_empty());
        drop(there);
        assert!(places.is_empty() && places.table().shares.is_empty());
    }
}
