//! Slots of full syncs: so many at once, no certificate has all of them, and each must be used at a minimum rate.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::{Code, Status};

use super::validate;
use crate::tls::identity::Identity;

/// All slots of a central node.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// Slots that one certificate may have at once: all but one, so that a stolen key leaves one for others.
    share: usize,
    /// What is left of the share of each certificate that has a slot or waits for one.
    shares: Mutex<HashMap<Identity, Arc<Semaphore>>>,
}

/// A slot; free again when it is dropped.
pub(super) struct Slot {
    _share: Option<OwnedSemaphorePermit>,
    _slot: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(all: usize) -> Self {
        let (free, share) = (Arc::new(Semaphore::new(all)), all.saturating_sub(1).max(1));
        Self { free, share, shares: Mutex::default() }
    }

    /// Waits for a slot: for one of the certificate's share first, where there is one.
    pub(super) async fn take(&self, identity: Option<&Identity>) -> Result<Slot, AcquireError> {
        let share = match identity {
            Some(identity) => Some(self.share_of(identity).acquire_owned().await?),
            None => None,
        };
        Ok(Slot { _share: share, _slot: Arc::clone(&self.free).acquire_owned().await? })
    }

    fn share_of(&self, identity: &Identity) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody but the table has those of which nothing is taken.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = shares.entry(identity.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.share)));
        Arc::clone(share)
    }
}

/// How a peer that has a slot takes what it is sent. It has patience to spend on waiting, and earns it back by what it takes, at
/// the minimum rate: who takes at least that never runs out, whatever the pieces' sizes.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes per second; 0: any will do.
    least: u64,
    /// Patience at the most, beside what is on its way.
    window: Duration,
    left: Duration,
    since: Instant,
}

impl Pace {
    pub(super) const fn new(least: u64, window: Duration, now: Instant) -> Self {
        Self { least, window, left: window, since: now }
    }

    /// How long a piece may take to be accepted; `None`: as long as it will.
    pub(super) const fn patience(&self) -> Option<Duration> {
        if self.least == 0 { None } else { Some(self.left) }
    }

    /// A piece was accepted. What is on its way is earned now, and spent while the next one waits for it.
    pub(super) fn accepted(&mut self, bytes: usize, now: Instant) {
        let Some(earned) = (bytes as u64).saturating_mul(1_000_000).checked_div(self.least) else { return };
        let waited = now - std::mem::replace(&mut self.since, now);
        self.left = self.left.saturating_sub(waited).min(self.window) + Duration::from_micros(earned);
    }

    /// What the peer hears whose patience is over.
    pub(super) fn too_slow(&self) -> Status {
        let message = format!(
            "the full sync was taken at less than {} bytes/s for {} s (limits.full_sync_min_rate); its slot goes to others",
            self.least,
            self.window.as_secs()
        );
        validate::refused(Code::ResourceExhausted, message, self.window)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

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

    #[tokio::test(start_paused = true)]
    async fn one_certificate_leaves_a_slot_for_others() {
        let slots = Slots::new(3);
        let identity =
            |name| Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{name}")).unwrap();
        let (thief, honest) = (identity("edge"), identity("other"));
        let soon = Duration::from_secs(1);
        let held = [slots.take(Some(&thief)).await.unwrap(), slots.take(Some(&thief)).await.unwrap()];
        assert!(timeout(soon, slots.take(Some(&thief))).await.is_err(), "its share is used up");
        let others = timeout(soon, slots.take(Some(&honest))).await.expect("a slot is left").unwrap();
        assert!(timeout(soon, slots.take(None)).await.is_err(), "all are taken");
        drop(others);
        timeout(soon, slots.take(None)).await.expect("free again").map(drop).unwrap();
        drop(held);
        assert_eq!(slots.shares.lock().unwrap().len(), 2);
        drop(slots.take(Some(&honest)).await.unwrap());
        assert_eq!(slots.shares.lock().unwrap().len(), 1, "shares that nobody uses are forgotten");
    }
}
