//! Who got what when: written by publishers and subscribers, read at the end.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Marks a publication that has not been sent.
const NEVER: u64 = u64::MAX;

/// One publication that one subscriber has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Number of the publication.
    pub(crate) index: usize,
    /// When, since the start of the tally.
    pub(crate) at: Duration,
}

/// Times of one run, all by one clock.
pub(crate) struct Tally {
    started: Instant,
    sent: Vec<AtomicU64>,
    arrivals: Vec<Mutex<Vec<Arrival>>>,
    delivered: AtomicUsize,
    progress: Notify,
}

impl Tally {
    /// For a number of subscribers and at most this many publications.
    pub(crate) fn new(subscribers: usize, publications: usize) -> Self {
        Self {
            started: Instant::now(),
            sent: std::iter::repeat_with(|| AtomicU64::new(NEVER)).take(publications).collect(),
            arrivals: std::iter::repeat_with(Mutex::default).take(subscribers).collect(),
            delivered: AtomicUsize::new(0),
            progress: Notify::new(),
        }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Subscribers.
    pub(crate) const fn subscribers(&self) -> usize {
        self.arrivals.len()
    }

    /// Most publications that it has room for.
    pub(crate) const fn capacity(&self) -> usize {
        self.sent.len()
    }

    /// Notes that a publication is about to be sent.
    pub(crate) fn sending(&self, index: usize) {
        let nanos = u64::try_from(self.now().as_nanos()).unwrap_or(NEVER - 1);
        self.sent[index].store(nanos, Ordering::Release);
    }

    /// Notes that a subscriber has a publication.
    pub(crate) fn arrived(&self, subscriber: usize, index: usize) {
        let arrival = Arrival { index, at: self.now() };
        self.arrivals[subscriber].lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        let delivered = self.delivered.fetch_add(1, Ordering::AcqRel) + 1;
        if delivered.is_multiple_of(self.arrivals.len()) {
            self.progress.notify_waiters();
        }
    }

    /// Deliveries so far.
    pub(crate) fn delivered(&self) -> usize {
        self.delivered.load(Ordering::Acquire)
    }

    /// Waits until there are this many deliveries, or for so long; whether they are there.
    pub(crate) async fn until_delivered(&self, deliveries: usize, patience: Duration) -> bool {
        let waiting = async {
            loop {
                let progress = self.progress.notified();
                if self.delivered() >= deliveries {
                    return;
                }
                // The last deliveries of a subscriber may not complete a round.
                drop(tokio::time::timeout(Duration::from_millis(20), progress).await);
            }
        };
        tokio::time::timeout(patience, waiting).await.is_ok()
    }

    /// When a publication was sent.
    pub(crate) fn sent_at(&self, index: usize) -> Option<Duration> {
        match self.sent.get(index)?.load(Ordering::Acquire) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// What a subscriber got, in the order in which it got it; a redelivery counts once.
    pub(crate) fn arrivals_of(&self, subscriber: usize) -> Vec<Arrival> {
        let mut seen = std::collections::HashSet::new();
        let arrivals = self.arrivals[subscriber].lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.iter().filter(|arrival| seen.insert(arrival.index)).copied().collect()
    }

    /// Milliseconds from sending to arrival, of publications sent since `from`.
    pub(crate) fn latencies(&self, from: Duration) -> Vec<f64> {
        let latency = |arrival: Arrival| {
            let sent = self.sent_at(arrival.index).filter(|sent| *sent >= from)?;
            Some(arrival.at.saturating_sub(sent).as_secs_f64() * 1000.0)
        };
        (0..self.subscribers()).flat_map(|who| self.arrivals_of(who)).filter_map(latency).collect()
    }

    /// Deliveries between two instants.
    pub(crate) fn delivered_between(&self, from: Duration, to: Duration) -> usize {
        let within = |arrival: &Arrival| arrival.at >= from && arrival.at < to;
        (0..self.subscribers()).flat_map(|who| self.arrivals_of(who)).filter(within).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redeliveries_count_once_and_the_warm_up_not_at_all() {
        let tally = Tally::new(2, 3);
        tally.sending(0);
        let warm = tally.now();
        tally.sending(1);
        for (who, index) in [(0, 0), (0, 1), (0, 1), (1, 1)] {
            tally.arrived(who, index);
        }
        assert_eq!(tally.arrivals_of(0).iter().map(|a| a.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(tally.latencies(warm).len(), 2);
        assert_eq!(tally.latencies(Duration::ZERO).len(), 3);
        assert_eq!(tally.delivered_between(Duration::ZERO, Duration::MAX), 3);
        assert_eq!(tally.sent_at(2), None);
    }
}
