//! One direction between two hosts.

use std::time::Duration;

use rand::{RngExt as _, rngs::SmallRng};

/// What a link does to bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Time that every byte takes.
    pub latency: Duration,
    /// Up to this much more, at random.
    pub jitter: Duration,
    /// Share of segments that are lost and sent again.
    pub loss: f64,
    /// Bytes a second.
    pub bandwidth: f64,
    /// Nothing passes.
    pub blocked: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            jitter: Duration::from_millis(2),
            loss: 0.0,
            bandwidth: 100e6,
            blocked: false,
        }
    }
}

impl Link {
    pub(super) fn draw_latency(&self, rng: &mut SmallRng) -> Duration {
        self.latency + self.jitter.mul_f64(rng.random())
    }

    /// Time to put bytes on the line, and for lost segments the retransmission time-out: 0.2 s at first.
    pub(super) fn draw_stall(&self, bytes: usize, rng: &mut SmallRng) -> Duration {
        let mut stall = Duration::from_secs_f64(bytes as f64 / self.bandwidth);
        let mut timeout = Duration::from_millis(200);
        while self.loss > 0.0 && rng.random::<f64>() < self.loss && timeout < Duration::from_secs(20) {
            stall += timeout;
            timeout *= 2;
        }
        stall
    }
}
