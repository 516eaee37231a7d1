use super::*;
use sorcha_runtime::clock::VirtualClock;

#[tokio::test(start_paused = true)]
async fn buckets_follow_the_clock_and_say_when_to_come_back() {
    let clock: Arc<dyn Clock> =
        Arc::new(VirtualClock::new(sorcha_register::clock::Timestamp::from_millis(0), 0));
    let limiters = Limiters::new(&Limits::default(), Duration::from_secs(30), clock);
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
    let limiters = Limiters::new(&Limits::default(), Duration::from_secs(30), clock);
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
    let limits =
        Limits { identity_connects: rate(1.0, 20), identity_full_syncs: rate(0.1, 5), ..Limits::default() };
    let limiters = Limiters::new(&limits, Duration::from_secs(30), clock);
    let identity = |name| Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{name}")).unwrap();
    let (edge, other) = (identity("edge"), identity("other"));
    let peer = |number| PeerId::new(format!("edge-{number}")).unwrap();
    assert_eq!((0..50).filter(|n| limiters.connect(&peer(*n), Some(&edge)).is_ok()).count(), 20);
    assert_eq!((0..50).filter(|n| limiters.full_sync(&peer(*n), Some(&edge)).is_ok()).count(), 5);
    limiters.connect(&PeerId::new("other-0").unwrap(), Some(&other)).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!((50..90).filter(|n| limiters.connect(&peer(*n), Some(&edge)).is_ok()).count(), 1);
}

fn limiters(limits: &Limits) -> Limiters {
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
    let limiters = limiters(&Limits::default());
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
    let limiters = limiters(&Limits { refusal_logs, ..Limits::default() });
    assert_eq!(at_once_and_a_second_later(|| limiters.may_log_refusal()).await, (5, 2));
    assert_eq!(at_once_and_a_second_later(|| limiters.may_log_fault()).await, (5, 2));
}
