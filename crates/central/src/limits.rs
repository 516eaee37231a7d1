//! Rates of a peer, of a certificate that speaks for several, and of the whole node (protocol section 6.10, D32, ADR 36).

use std::{hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock as _, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};
use sorcha_config as config;
use sorcha_config::Rate;
use sorcha_identity::Identity;
use sorcha_register::{
    clock::{Clock, Monotonic},
    names::PeerId,
};

/// The node's clock in the shape that the token buckets want.
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

/// Peers whose connects have buckets of their own at the most; those that are full again are forgotten every minute.
const MOST_BUCKETS: usize = 100_000;

/// All token buckets of a central node.
pub struct Limiters {
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
/// Calls that ask for the list of peers, of one certificate and of all callers: each goes through all sessions.
const IDENTITY_PEER_LISTS: Rate = Rate { per_second: 10.0, burst: 50 };
const PEER_LISTS: Rate = Rate { per_second: 50.0, burst: 200 };

/// No token is left; one will be after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted(pub Duration);

impl Limiters {
    /// Buckets as configured, full.
    #[must_use]
    pub fn new(limits: &config::Limits, heartbeat_interval: Duration, clock: Arc<dyn Clock>) -> Self {
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

    /// A connect: the peer's own bucket first, then its certificate's, where there is one, then the node's. What is refused
    /// takes nothing that others need: a caller above its own limit costs the others nothing.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub fn connect(&self, peer: &PeerId, identity: Option<&Identity>) -> Result<(), Exhausted> {
        // On plain text a caller may name a new peer at each call: then the node's bucket alone bounds it, and the table stays
        // as large as it is.
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
    pub fn full_sync(&self, peer: &PeerId, identity: Option<&Identity>) -> Result<(), Exhausted> {
        self.check(&self.full_syncs, peer)?;
        self.check_owner(&self.identity_full_syncs, identity)
    }

    /// A heartbeat.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub fn heartbeat(&self, peer: &PeerId) -> Result<(), Exhausted> {
        self.check(&self.heartbeats, peer)
    }

    /// A call that asks for the status of a peer that has a session.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub fn status(&self, peer: &PeerId) -> Result<(), Exhausted> {
        self.check(&self.statuses, peer)
    }

    /// A call that asks for the list of peers: as a connect, without the peer's bucket.
    ///
    /// # Errors
    /// [`Exhausted`] with the time after which a token is there.
    pub fn peer_list(&self, identity: Option<&Identity>) -> Result<(), Exhausted> {
        self.check_owner(&self.identity_peer_lists, identity)?;
        self.peer_lists.check().map_err(|not_until| self.exhausted(&not_until))
    }

    /// Whether one more log line about what peers claim is not one too many. Refusals take nothing of these.
    #[must_use]
    pub fn may_log_fault(&self) -> bool {
        self.fault_logs.check().is_ok()
    }

    /// Whether one more log line about a refusal is not one too many.
    #[must_use]
    pub fn may_log_refusal(&self) -> bool {
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

    /// Forgets identities whose buckets are full again, so that memory follows the peers that are there.
    pub fn forget_idle(&self) {
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
mod tests {
    use super::*;
    use sorcha_runtime::clock::VirtualClock;

    #[tokio::test(start_paused = true)]
    async fn buckets_follow_the_clock_and_say_when_to_come_back() {
        let clock: Arc<dyn Clock> =
            Arc::new(VirtualClock::new(sorcha_register::clock::Timestamp::from_millis(0), 0));
        let limiters = Limiters::new(&config::Limits::default(), Duration::from_secs(30), clock);
        let (a, b) = (PeerId::new("a").unwrap(), PeerId::new("b").unwrap());
        for _ in 0..3 {
            limiters.connect(&a, None).unwrap();
        }
        let Exhausted(wait) = limiters.connect(&a, None).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        limiters.connect(&b, None).unwrap();
        tokio::time::advance(wait).await;
        limiters.connect(&a, None).unwrap();

        limiters.full_sync(&a, None).unwrap();
        limiters.full_sync(&a, None).unwrap();
        let Exhausted(wait) = limiters.full_sync(&a, None).unwrap_err();
        assert!(wait > Duration::from_secs(55), "{wait:?}");
    }

    /// The certificate of a peer that calls without end, and 500 peers that connect meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_caller_above_its_own_limits_takes_nothing_of_what_others_need() {
        let clock: Arc<dyn Clock> =
            Arc::new(VirtualClock::new(sorcha_register::clock::Timestamp::from_millis(0), 0));
        let limiters = Limiters::new(&config::Limits::default(), Duration::from_secs(30), clock);
        let identity =
            |name: &str| Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{name}")).unwrap();
        let greedy = identity("greedy");
        let peer = |name: String| PeerId::new(name).unwrap();
        let mut honest = 0;
        for second in 0..10 {
            for call in 0..1000 {
                // As one peer, and as ever new ones.
                let own = if call % 2 == 0 { 0 } else { second * 1000 + call };
                let _refused_or_not = limiters.connect(&peer(format!("greedy-{own}")), Some(&greedy));
                if call % 20 == 0 {
                    let name = format!("honest{second}x{call}");
                    let id = peer(format!("{name}-0"));
                    honest += u32::from(limiters.connect(&id, Some(&identity(&name))).is_ok());
                }
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(honest, 500);
        // A peer's own pods are not shut out by one of them that calls without end.
        for _ in 0..1000 {
            let _refused_or_not = limiters.connect(&peer("pair-0".into()), Some(&identity("pair")));
            let _refused_or_not = limiters.full_sync(&peer("pair-0".into()), Some(&identity("pair")));
        }
        limiters.connect(&peer("pair-1".into()), Some(&identity("pair"))).unwrap();
        limiters.full_sync(&peer("pair-1".into()), Some(&identity("pair"))).unwrap();
    }

    /// A stolen key of a SorchaPeer may name a new peer at each call.
    #[tokio::test(start_paused = true)]
    async fn one_certificate_has_limits_of_its_own_whatever_peers_it_names() {
        let clock: Arc<dyn Clock> =
            Arc::new(VirtualClock::new(sorcha_register::clock::Timestamp::from_millis(0), 0));
        let rate = |per_second, burst| Rate { per_second, burst };
        let limits = config::Limits {
            identity_connects: rate(1.0, 20),
            identity_full_syncs: rate(0.1, 5),
            ..config::Limits::default()
        };
        let limiters = Limiters::new(&limits, Duration::from_secs(30), clock);
        let identity =
            |name| Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{name}")).unwrap();
        let (edge, other) = (identity("edge"), identity("other"));
        let peer = |number| PeerId::new(format!("edge-{number}")).unwrap();
        assert_eq!((0..50).filter(|n| limiters.connect(&peer(*n), Some(&edge)).is_ok()).count(), 20);
        assert_eq!((0..50).filter(|n| limiters.full_sync(&peer(*n), Some(&edge)).is_ok()).count(), 5);
        limiters.connect(&PeerId::new("other-0").unwrap(), Some(&other)).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((50..90).filter(|n| limiters.connect(&peer(*n), Some(&edge)).is_ok()).count(), 1);
    }

    fn limiters(limits: &config::Limits) -> Limiters {
        let clock: Arc<dyn Clock> =
            Arc::new(VirtualClock::new(sorcha_register::clock::Timestamp::from_millis(0), 0));
        Limiters::new(limits, Duration::from_secs(30), clock)
    }

    /// How many of many calls are let through at once, and again after a second.
    async fn at_once_and_a_second_later(call: impl Fn() -> bool) -> (usize, usize) {
        let at_once = (0..1000).filter(|_| call()).count();
        tokio::time::advance(Duration::from_secs(1)).await;
        (at_once, (0..1000).filter(|_| call()).count())
    }

    /// The numbers of docs/security.md, which no setting changes.
    #[tokio::test(start_paused = true)]
    async fn status_calls_and_lists_of_peers_are_bounded() {
        let limiters = limiters(&config::Limits::default());
        let (a, b) = (PeerId::new("a").unwrap(), PeerId::new("b").unwrap());
        assert_eq!(at_once_and_a_second_later(|| limiters.status(&a).is_ok()).await, (200, 50));
        limiters.status(&b).unwrap();

        let identity =
            |name: &str| Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{name}")).unwrap();
        let edge = identity("edge");
        let listed = |identity: &Identity| limiters.peer_list(Some(identity)).is_ok();
        assert_eq!(at_once_and_a_second_later(|| listed(&edge)).await, (50, 10));
        // What was refused took nothing of the others': 200 less the 10 of this moment.
        let others: Vec<_> = (0..200).map(|number| identity(&format!("other-{number}"))).collect();
        assert_eq!(others.iter().filter(|other| listed(other)).count(), 190);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(at_once_and_a_second_later(|| limiters.peer_list(None).is_ok()).await, (200, 50));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_about_refusals_have_a_rate_and_leave_those_about_faults_theirs() {
        let refusal_logs = Rate { per_second: 2.0, burst: 5 };
        let limiters = limiters(&config::Limits { refusal_logs, ..config::Limits::default() });
        assert_eq!(at_once_and_a_second_later(|| limiters.may_log_refusal()).await, (5, 2));
        assert_eq!(at_once_and_a_second_later(|| limiters.may_log_fault()).await, (5, 2));
    }
}
