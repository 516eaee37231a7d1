//! Heartbeats of a peer, counted.

use std::{collections::VecDeque, time::Duration};

use sorcha_register::clock::Timestamp;

/// Round trips that are averaged (protocol section 3.2).
const ROUND_TRIPS: usize = 10;

/// Heartbeat counters of a peer.
#[derive(Clone, Debug, Default)]
pub struct HeartbeatCounters {
    /// Sequence number of the newest one.
    pub sequence: i64,
    /// Sent since start.
    pub sent: u64,
    /// Acknowledged since start.
    pub acknowledged: u64,
    /// Missed in a row.
    pub missed: u32,
    /// Why the newest was missed; `None` once one is acknowledged.
    pub fault: Option<String>,
    /// When the newest was sent.
    pub last_sent: Option<Timestamp>,
    /// When the newest was acknowledged.
    pub last_acknowledged: Option<Timestamp>,
    round_trips: VecDeque<Duration>,
}

impl HeartbeatCounters {
    /// Numbers the next one.
    pub(super) const fn send(&mut self, now: Timestamp) {
        self.sequence += 1;
        self.sent += 1;
        self.last_sent = Some(now);
    }

    /// Notes an acknowledgement.
    pub fn acknowledge(&mut self, now: Timestamp, round_trip: Duration) {
        self.acknowledged += 1;
        (self.missed, self.fault) = (0, None);
        self.last_acknowledged = Some(now);
        self.round_trips.truncate(ROUND_TRIPS - 1);
        self.round_trips.push_front(round_trip);
    }

    /// Notes a heartbeat that was refused or not answered in time.
    pub fn miss(&mut self, reason: &str) {
        self.missed += 1;
        self.fault = Some(reason.to_owned());
    }

    /// Round trip of the newest heartbeat.
    #[must_use]
    pub fn last_round_trip(&self) -> Option<Duration> {
        self.round_trips.front().copied()
    }

    /// Mean round trip of the last 10, milliseconds.
    #[must_use]
    pub fn average_ms(&self) -> f64 {
        let sum: Duration = self.round_trips.iter().sum();
        if self.round_trips.is_empty() {
            0.0
        } else {
            sum.as_secs_f64() * 1000.0 / self.round_trips.len() as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_that_is_told_is_the_mean_of_the_last_ten() {
        let mut heartbeats = HeartbeatCounters::default();
        assert_eq!(heartbeats.average_ms().to_bits(), 0.0_f64.to_bits());
        for millis in [1000, 10, 20, 10, 20, 10, 20, 10, 20, 10, 20] {
            heartbeats.acknowledge(Timestamp::from_millis(0), Duration::from_millis(millis));
        }
        assert!((heartbeats.average_ms() - 15.0).abs() < 1e-9, "{}", heartbeats.average_ms());
        assert_eq!(heartbeats.last_round_trip(), Some(Duration::from_millis(20)));
    }
}
