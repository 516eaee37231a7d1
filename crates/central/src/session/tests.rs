use sorcha_identity::Identity;

use super::{laggards::LaggardChanges, *};
use crate::incoming::Tracked;

const INTERVAL: Duration = Duration::from_secs(30);

fn table() -> SessionTable {
    SessionTable::new(SessionRules { interval: INTERVAL, max_missed: 2, max_peers: 2, identity_sessions: 2 })
}

fn peer(name: &str) -> PeerId {
    PeerId::new(name).unwrap()
}

fn at(seconds: u64) -> (Timestamp, Monotonic) {
    let elapsed = Duration::from_secs(seconds);
    (Timestamp::from_millis(1_700_000_000_000).plus(elapsed), Monotonic::from_start(elapsed))
}

fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

fn open(table: &mut SessionTable, name: &str, bits: u128, seconds: u64) -> Result<SessionId, Refused> {
    let connection = Connection::default();
    table
        .open(SessionId::from_bits(bits), &peer(name), Version::ZERO, connection, at(seconds))
        .map(|s| s.id.clone())
}

fn beat(table: &mut SessionTable, name: &str, id: &SessionId, seconds: u64, held: i64) {
    let beat = Beat {
        sent_at: at(seconds).0,
        received_at: at(seconds).0,
        version: version(held),
        blueprint_count: None,
    };
    let session = table.find(&peer(name), id.as_str(), &Connection::default()).unwrap();
    session.beat(beat, at(seconds).1, INTERVAL);
}

#[test]
fn exactly_one_interval_is_still_in_time() {
    let mut table = table();
    open(&mut table, "a", 1, 0).unwrap();
    let session = &table.live[&peer("a")];
    let missed = |millis| session.missed(Monotonic::from_start(Duration::from_millis(millis)), INTERVAL);
    assert_eq!(
        [missed(0), missed(30_000), missed(30_001), missed(60_000), missed(60_001), missed(90_001)],
        [0, 0, 1, 1, 2, 3]
    );
}

#[test]
fn a_live_session_is_not_replaced_a_dead_one_is() {
    let mut table = table();
    let tracked = Tracked::new((), None);
    let connection = tonic::transport::server::Connected::connect_info(&tracked);
    table.open(SessionId::from_bits(1), &peer("a"), Version::ZERO, connection, at(0)).unwrap();
    assert_eq!(open(&mut table, "a", 2, 1), Err(Refused::AlreadyConnected));
    let end = table.live[&peer("a")].end.clone();
    drop(tracked);
    assert!(open(&mut table, "a", 2, 1).is_ok(), "its connection is closed");
    assert_eq!(end.reason.get(), Some(&EndReason::Replaced));
    assert!(open(&mut table, "a", 3, 92).is_ok(), "its heartbeats have stopped");
}

#[test]
fn a_late_close_of_the_old_session_harms_nothing() {
    let mut table = table();
    let old = open(&mut table, "a", 1, 0).unwrap();
    let new = open(&mut table, "a", 2, 100).unwrap();
    assert_eq!(table.close(&peer("a"), old.as_str(), &Connection::default()), Err(NoSession::Unknown));
    table.advance(&peer("a"), &old, version(99), at(100).0);
    assert_eq!(table.live[&peer("a")].position, Version::ZERO);
    assert_eq!(table.close(&peer("a"), new.as_str(), &Connection::default()), Ok(()));
    assert_eq!(table.look_up(&peer("a"), at(101).1).unwrap().1, Health::Disconnected);
}

#[test]
fn sessions_are_found_by_peer_and_handle_together() {
    let mut table = table();
    let a = open(&mut table, "a", 1, 0).unwrap();
    open(&mut table, "b", 2, 0).unwrap();
    let mut find = |name: &str, id: &str| table.find(&peer(name), id, &Connection::default()).map(|_| ());
    assert_eq!(find("a", a.as_str()), Ok(()));
    assert_eq!(find("b", a.as_str()), Err(NoSession::Unknown));
    assert_eq!(find("c", ""), Err(NoSession::NotConnected));
    assert_eq!(find("c", "x"), Err(NoSession::Unknown));
    assert_eq!(find("a", ""), Err(NoSession::Unknown));
}

#[test]
fn the_table_is_bounded() {
    let mut table = table();
    open(&mut table, "a", 1, 0).unwrap();
    open(&mut table, "b", 2, 0).unwrap();
    assert_eq!(open(&mut table, "c", 3, 0), Err(Refused::Full));
}

#[test]
fn silence_ends_a_session_after_the_critical_miss() {
    let mut table = table();
    let id = open(&mut table, "a", 1, 0).unwrap();
    beat(&mut table, "a", &id, 10, 5);
    assert!(table.expire(at(100).1).is_empty());
    assert_eq!(table.look_up(&peer("a"), at(100).1).unwrap().1, Health::Critical);
    assert_eq!(table.expire(at(101).1), [peer("a")]);
    assert_eq!(table.look_up(&peer("a"), at(101).1).unwrap().1, Health::TimedOut);
    assert_eq!(table.live().len(), 0);
}

#[test]
fn positions_never_fall_reports_may() {
    let mut table = table();
    let id = open(&mut table, "a", 1, 0).unwrap();
    beat(&mut table, "a", &id, 10, 5);
    beat(&mut table, "a", &id, 20, 3);
    let session = &table.live[&peer("a")];
    assert_eq!((session.position, session.reported, session.received), (version(5), version(3), 2));
}

#[test]
fn what_was_sent_to_a_peer_is_not_held_by_it_before_it_says_so() {
    let mut table = table();
    let id = open(&mut table, "a", 1, 0).unwrap();
    let holds = |table: &SessionTable, number| table.live[&peer("a")].is_up_to_date(version(number));
    table.advance(&peer("a"), &id, version(7), at(10).0);
    assert_eq!(table.live[&peer("a")].position, version(7));
    assert!(!holds(&table, 7), "the stream may still be on its way");
    beat(&mut table, "a", &id, 20, 7);
    assert!(holds(&table, 7));
    table.acknowledge(&peer("a"), &id, version(9), at(30).0);
    assert!(holds(&table, 9));
}

#[test]
fn one_push_stream_at_a_time() {
    let mut table = table();
    let id = open(&mut table, "a", 1, 0).unwrap();
    assert!(table.begin_push(&peer("a"), &id));
    assert!(!table.begin_push(&peer("a"), &id));
    table.end_push(&peer("a"), &id);
    assert!(table.begin_push(&peer("a"), &id));
}

/// A connection that stays open, of the owner of an identity.
fn of_owner(uri: &str) -> Tracked<()> {
    Tracked::secured((), ([127, 0, 0, 1], 1).into(), Ok(Identity::parse(uri).unwrap()))
}

fn of(tracked: &Tracked<()>) -> Connection {
    tonic::transport::server::Connected::connect_info(tracked)
}

#[test]
fn a_proven_owner_replaces_its_session_and_nobody_else_uses_it() {
    let mut table = table();
    let (edge, again, namesake) = (
        of_owner("spiffe://sorcha.dev/ns/shop/sorchapeer/a"),
        of_owner("spiffe://sorcha.dev/ns/shop/sorchapeer/a"),
        of_owner("spiffe://sorcha.dev/ns/farm/sorchapeer/a"),
    );
    let mut open = |bits, tracked: &Tracked<()>| {
        let session = table.open(SessionId::from_bits(bits), &peer("a-0"), Version::ZERO, of(tracked), at(0));
        session.map(|session| (session.id.clone(), session.end.clone()))
    };
    let (_, end) = open(1, &edge).unwrap();
    assert_eq!(open(2, &namesake).unwrap_err(), Refused::AlreadyConnected);
    let (id, _) = open(3, &again).unwrap();
    assert_eq!(end.reason.get(), Some(&EndReason::Replaced));
    let mut find = |tracked: &Tracked<()>| table.find(&peer("a-0"), id.as_str(), &of(tracked)).map(|_| ());
    assert_eq!((find(&edge), find(&namesake)), (Ok(()), Err(NoSession::Foreign)));
    assert_eq!(find(&Tracked::new((), None)), Err(NoSession::Foreign));
    assert_eq!(table.close(&peer("a-0"), id.as_str(), &of(&namesake)), Err(NoSession::Foreign));
    assert_eq!(table.close(&peer("a-0"), id.as_str(), &of(&edge)), Ok(()));
}

/// One session on ever other connections would keep all of them from being cut.
#[test]
fn a_session_uses_one_connection_and_a_connection_may_have_several_sessions() {
    let mut table = table();
    let (first, second) = (Tracked::new((), None), Tracked::new((), None));
    let (id, other) = (SessionId::from_bits(1), SessionId::from_bits(2));
    table.open(id.clone(), &peer("a"), Version::ZERO, of(&first), at(0)).unwrap();
    table.open(other.clone(), &peer("b"), Version::ZERO, of(&first), at(0)).unwrap();
    let used = || (of(&first).is_used(), of(&second).is_used());
    table.find(&peer("a"), id.as_str(), &of(&second)).unwrap();
    assert_eq!(used(), (true, true), "the other session is where it was");
    table.find(&peer("b"), other.as_str(), &of(&second)).unwrap();
    assert_eq!(used(), (false, true), "nothing uses the first connection any more");
    table.close(&peer("a"), id.as_str(), &of(&second)).unwrap();
    assert_eq!(used(), (false, true), "another session uses it");
    table.close(&peer("b"), other.as_str(), &of(&second)).unwrap();
    assert_eq!(used(), (false, false));
    // A stream of the session goes on where it began.
    let stream = of(&first).hold();
    assert_eq!(used(), (true, false));
    drop(stream);
    assert_eq!(used(), (false, false));
}

#[test]
fn what_a_comparison_tells_moves_no_session() {
    let mut table = table();
    let (first, second) = (Tracked::new((), None), Tracked::new((), None));
    let id = SessionId::from_bits(1);
    table.open(id.clone(), &peer("a"), Version::ZERO, of(&first), at(0)).unwrap();
    table.find(&peer("a"), id.as_str(), &of(&second)).unwrap();
    table.compare(&peer("a"), id.as_str(), true);
    assert!(table.live[&peer("a")].differs && of(&second).is_used() && !of(&first).is_used());
    table.compare(&peer("a"), "another", false);
    assert!(table.live[&peer("a")].differs);
}

/// A stolen key of a SorchaPeer may name a new peer at each connect.
#[test]
fn one_certificate_has_so_many_sessions_and_no_more() {
    let rules = SessionRules { interval: INTERVAL, max_missed: 2, max_peers: 10, identity_sessions: 2 };
    let mut table = SessionTable::new(rules);
    let of = |owner: &str| {
        let identity = Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{owner}")).unwrap();
        Tracked::secured((), "127.0.0.1:1".parse().unwrap(), Ok(identity))
    };
    let (edge, other) = (of("edge"), of("other"));
    let connection = |tracked| tonic::transport::server::Connected::connect_info(tracked);
    let open = |table: &mut SessionTable, tracked, name: &str, bits| {
        table
            .open(SessionId::from_bits(bits), &peer(name), Version::ZERO, connection(tracked), at(0))
            .map(|session| session.id.clone())
    };
    open(&mut table, &edge, "edge-0", 1).unwrap();
    open(&mut table, &edge, "edge-1", 2).unwrap();
    assert_eq!(open(&mut table, &edge, "edge-2", 3), Err(Refused::IdentityFull));
    open(&mut table, &edge, "edge-1", 4).expect("its own session is replaced, not added");
    open(&mut table, &other, "other-0", 5).expect("another certificate has its own share");
    table.close(&peer("edge-0"), SessionId::from_bits(1).as_str(), &connection(&edge)).unwrap();
    open(&mut table, &edge, "edge-2", 6).unwrap();
    assert_eq!(open(&mut table, &edge, "edge-3", 7), Err(Refused::IdentityFull));
    assert_eq!(table.expire(at(1000).1).len(), 3);
    assert!(table.owned.is_empty());
}

#[test]
fn a_peer_lags_when_it_lacks_one_version_for_too_long() {
    let hour = Duration::from_secs(3600);
    let mut table = table();
    let id = open(&mut table, "a", 1, 0).unwrap();
    let look =
        |table: &mut SessionTable, head, seconds| table.look_for_laggards(version(head), at(seconds), hour);
    let peer_at = |table: &mut SessionTable, held, seconds| {
        table.acknowledge(&peer("a"), &id, version(held), at(seconds).0)
    };
    // It follows, one version behind at every look.
    for step in 1..10 {
        assert_eq!(look(&mut table, step, u64::try_from(step).unwrap() * 1000), LaggardChanges::default());
        peer_at(&mut table, step, 0);
    }
    assert_eq!(look(&mut table, 12, 10_000), LaggardChanges::default());
    assert_eq!(look(&mut table, 15, 13_600), LaggardChanges::default(), "exactly an hour is not too long");
    let laggard = Laggard { peer_id: peer("a"), since: at(10_000).0, at: version(9) };
    assert_eq!(look(&mut table, 15, 13_601), LaggardChanges { began: vec![laggard], ..Default::default() });
    assert_eq!(look(&mut table, 16, 13_700), LaggardChanges::default(), "it is told once");
    assert!(table.live[&peer("a")].is_lagging);
    // What it lacked it has; what came since is another matter.
    peer_at(&mut table, 12, 13_800);
    let caught_up = look(&mut table, 16, 13_801);
    assert_eq!(caught_up, LaggardChanges { caught_up: vec![peer("a")], ..Default::default() });
    assert_eq!(table.live[&peer("a")].behind_since(), Some(at(13_801).0));
}

#[test]
fn a_new_session_of_a_peer_that_is_behind_does_not_start_the_clock_anew() {
    let hour = Duration::from_secs(3600);
    let mut table = table();
    let id = open(&mut table, "a", 1, 0).unwrap();
    table.look_for_laggards(version(5), at(0), hour);
    table.close(&peer("a"), id.as_str(), &Connection::default()).unwrap();
    open(&mut table, "a", 2, 3000).unwrap();
    let changes = table.look_for_laggards(version(5), at(3601), hour);
    assert_eq!(changes.began.len(), 1);
    assert_eq!(changes.began[0].since, at(0).0);
}
