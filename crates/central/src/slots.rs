//! Slots of full syncs: a limit for all, one less for each certificate, and a minimum rate to keep one.

use std::time::Duration;

use sorcha_identity::Identity;
use sorcha_runtime::shares::Shares;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::validate;

pub(super) type Slots = Shares<Identity>;

/// One certificate may have all slots but one, so that a stolen key leaves one for others.
pub(super) fn slots(all: usize) -> Slots {
    Shares::new(all, all.saturating_sub(1))
}

/// The rate at which a peer with a slot reads. Waiting spends patience; reading earns it back at the minimum rate. A peer that
/// reads at that rate never runs out, whatever the sizes of the pieces.
#[derive(Debug)]
pub(super) struct Pace {
    /// Minimum, bytes per second; 0: none.
    least: u64,
    /// Most patience, beside that for bytes in flight.
    window: Duration,
    left: Duration,
    since: Instant,
}

impl Pace {
    pub(super) const fn new(least: u64, window: Duration, now: Instant) -> Self {
        Self { least, window, left: window, since: now }
    }

    /// Longest wait for a piece to be accepted; `None`: no limit.
    pub(super) const fn patience(&self) -> Option<Duration> {
        if self.least == 0 { None } else { Some(self.left) }
    }

    /// A piece was accepted: its bytes earn patience now, and the wait for the next one spends it.
    pub(super) fn accepted(&mut self, bytes: usize, now: Instant) {
        let Some(earned) = (bytes as u64).saturating_mul(1_000_000).checked_div(self.least) else { return };
        let waited = now - std::mem::replace(&mut self.since, now);
        self.left = self.left.saturating_sub(waited).min(self.window) + Duration::from_micros(earned);
    }

    /// The status of a peer whose patience is spent.
    pub(super) fn too_slow(&self) -> Status {
        let message = format!(
            "the peer took less than {} bytes/s of the full sync for {} s (limits.full_sync_min_rate), and its slot was given back",
            self.least,
            self.window.as_secs()
        );
        validate::refused(Code::ResourceExhausted, message, self.window)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);
    const KB: usize = 1024;

    /// Seconds after which a peer that takes pieces of a size at a rate is cut off; `None`: not within an hour.
    async fn cut_after(least: u64, piece: usize, rate: usize) -> Option<u64> {
        let began = Instant::now();
        let mut pace = Pace::new(least, WINDOW, began);
        while began.elapsed() < Duration::from_secs(3600) {
            let takes = Duration::from_secs_f64(piece as f64 / rate as f64);
            let patience = pace.patience().unwrap_or(Duration::MAX);
            if takes > patience {
                advance(patience).await;
                return Some(began.elapsed().as_secs());
            }
            advance(takes).await;
            pace.accepted(piece, Instant::now());
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_below_the_minimum_rate_loses_its_slot_and_one_above_it_never_does() {
        let least = 16 * KB as u64;
        let cut = cut_after(least, 64 * KB, 7 * KB).await.expect("it is cut off");
        assert!((30..=90).contains(&cut), "after {cut} s");
        for (piece, rate) in [(64 * KB, 17 * KB), (400, 17 * KB), (KB * KB, 40 * KB), (64 * KB, KB * KB)] {
            assert_eq!(cut_after(least, piece, rate).await, None, "pieces of {piece} at {rate} bytes/s");
        }
        assert_eq!(cut_after(0, 64 * KB, 100).await, None, "0 is no minimum");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_fast_is_no_excuse_for_long() {
        let mut pace = Pace::new(16 * KB as u64, WINDOW, Instant::now());
        for _ in 0..10_000 {
            pace.accepted(64 * KB, Instant::now());
        }
        assert!(pace.patience().unwrap() <= WINDOW + Duration::from_secs(4), "{pace:?}");
        assert_eq!(pace.too_slow().code(), Code::ResourceExhausted);
    }
}
