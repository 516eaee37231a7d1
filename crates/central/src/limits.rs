//! Rates of a peer, of a certificate that speaks for several, and of the whole node (protocol section 6.10, D32, ADR 36).

use std::{hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock as _, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};
use sorcha_config::{Limits, Rate};
use sorcha_identity::Identity;
use sorcha_register::{
    clock::{Clock, Monotonic},
    names::PeerId,
};

/// The node's clock as governor takes it.
#[derive(Clone)]
struct BucketClock(Arc<dyn Clock>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BucketInstant(Monotonic);

impl Reference for BucketInstant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.since(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        let start = Monotonic::default();
        let elapsed = self.0.since(start).saturating_sub(duration.into());
        Self(Monotonic::from_start(elapsed))
    }
}

impl std::ops::Add<Nanos> for BucketInstant {
    type Output = Self;
    fn add(self, duration: Nanos) -> Self {
        Self(self.0.plus(duration.into()))
    }
}

impl governor::clock::Clock for BucketClock {
    type Instant = BucketInstant;
    fn now(&self) -> BucketInstant {
        BucketInstant(self.0.monotonic())
    }
}

type Keyed<K> = RateLimiter<K, DashMapStateStore<K>, BucketClock, NoOpMiddleware<BucketInstant>>;
type Whole = RateLimiter<NotKeyed, InMemoryState, BucketClock, NoOpMiddleware<BucketInstant>>;

/// Most peers with a bucket of their own for connects; full buckets are removed every minute.
const MOST_BUCKETS: usize = 100_000;

/// All token buckets of a central node.
pub(crate) struct Limiters {
    clock: BucketClock,
    connects: Keyed<PeerId>,
    identity_connects: Keyed<Identity>,
    all_connects: Whole,
    full_syncs: Keyed<PeerId>,
    identity_full_syncs: Keyed<Identity>,
    heartbeats: Keyed<PeerId>,
    refusal_logs: Whole,
    fault_logs: Whole,
    statuses: Keyed<PeerId>,
    identity_peer_lists: Keyed<Identity>,
    peer_lists: Whole,
}

/// Calls that ask for a peer's status, of one peer: each is short.
const STATUSES: Rate = Rate { per_second: 50.0, burst: 200 };
/// Calls that ask for the list of peers, of one certificate and of all callers: each walks all sessions.
const IDENTITY_PEER_LISTS: Rate = Rate { per_second: 10.0, burst: 50 };
const PEER_LISTS: Rate = Rate { per_second: 50.0, burst: 200 };

/// No token is left; one will be after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted(pub Duration);

impl Limiters {
    /// Buckets as configured, full.
    #[must_use]
    pub(crate) fn new(limits: &Limits, heartbeat_interval: Duration, clock: Arc<dyn Clock>) -> Self {
        let clock = BucketClock(clock);
        let heartbeats = Rate {
            per_second: limits.heartbeat_rate_factor
                / heartbeat_interval.as_secs_f64().max(f64::MIN_POSITIVE),
            burst: limits.heartbeat_burst,
        };
        Self {
            connects: keyed(limits.connects, &clock),
            identity_connects: keyed(limits.identity_connects, &clock),
            all_connects: RateLimiter::direct_with_clock(quota(limits.all_connects), clock.clone()),
            full_syncs: keyed(limits.full_syncs, &clock),
            identity_full_syncs: keyed(limits.identity_full_syncs, &clock),
            heartbeats: keyed(heartbeats, &clock),
            refusal_logs: RateLimiter::direct_with_clock(quota(limits.refusal_logs), clock.clone()),
            fault_logs: RateLimiter::direct_with_clock(quota(limits.refusal_logs), clock.clone()),
            statuses: keyed(STATUSES, &clock),
            identity_peer_lists: keyed(IDENTITY_PEER_LISTS, &clock),
            peer_lists: RateLimiter::direct_with_clock(quota(PEER_LISTS), clock.clone()),
            clock,
        }
    }

    /// A connect: the peer's own bucket first, then its certificate's, then the node's. A caller above its own limit takes no
    /// token of others.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub(crate) fn connect(&self, peer: &PeerId, identity: Option<&Identity>) -> Result<(), Exhausted> {
        // On plaintext a caller may name a new peer at each call: from here on the node's bucket alone limits connects, and the
        // table does not grow.
        if self.connects.len() < MOST_BUCKETS {
            self.check(&self.connects, peer)?;
        }
        self.check_owner(&self.identity_connects, identity)?;
        self.all_connects.check().map_err(|not_until| self.exhausted(&not_until))
    }

    /// A full sync: as a connect, without the node's bucket.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub(crate) fn full_sync(&self, peer: &PeerId, identity: Option<&Identity>) -> Result<(), Exhausted> {
        self.check(&self.full_syncs, peer)?;
        self.check_owner(&self.identity_full_syncs, identity)
    }

    /// A heartbeat.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub(crate) fn heartbeat(&self, peer: &PeerId) -> Result<(), Exhausted> {
        self.check(&self.heartbeats, peer)
    }

    /// A call that asks for the status of a peer that has a session.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub(crate) fn status(&self, peer: &PeerId) -> Result<(), Exhausted> {
        self.check(&self.statuses, peer)
    }

    /// A call that asks for the list of peers: as a connect, without the peer's bucket.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub(crate) fn peer_list(&self, identity: Option<&Identity>) -> Result<(), Exhausted> {
        self.check_owner(&self.identity_peer_lists, identity)?;
        self.peer_lists.check().map_err(|not_until| self.exhausted(&not_until))
    }

    /// Takes a token for a log line about a claim of a peer; refusals have tokens of their own.
    #[must_use]
    pub(crate) fn may_log_fault(&self) -> bool {
        self.fault_logs.check().is_ok()
    }

    /// Takes a token for a log line about a refusal.
    #[must_use]
    pub(crate) fn may_log_refusal(&self) -> bool {
        self.refusal_logs.check().is_ok()
    }

    fn check_owner(&self, buckets: &Keyed<Identity>, identity: Option<&Identity>) -> Result<(), Exhausted> {
        identity.map_or(Ok(()), |identity| self.check(buckets, identity))
    }

    fn check<K: Hash + Eq + Clone>(&self, buckets: &Keyed<K>, key: &K) -> Result<(), Exhausted> {
        buckets.check_key(key).map_err(|not_until| self.exhausted(&not_until))
    }

    fn exhausted(&self, not_until: &NotUntil<BucketInstant>) -> Exhausted {
        Exhausted(not_until.wait_time_from(self.clock.now()))
    }

    /// Removes full buckets, so that memory follows the peers that call.
    pub(crate) fn forget_idle(&self) {
        self.connects.retain_recent();
        self.identity_connects.retain_recent();
        self.full_syncs.retain_recent();
        self.identity_full_syncs.retain_recent();
        self.heartbeats.retain_recent();
        self.statuses.retain_recent();
        self.identity_peer_lists.retain_recent();
    }
}

fn keyed<K: Hash + Eq + Clone>(rate: Rate, clock: &BucketClock) -> Keyed<K> {
    RateLimiter::new(quota(rate), DashMapStateStore::default(), clock.clone())
}

fn quota(rate: Rate) -> Quota {
    let period = Duration::from_secs_f64(1.0 / rate.per_second.clamp(1e-6, 1e9));
    let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(period).map_or_else(|| Quota::per_second(burst), |quota| quota.allow_burst(burst))
}

#[cfg(test)]
mod tests;
