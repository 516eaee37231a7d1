use tonic::transport::server::Connected as _;

use super::*;
use crate::{
    flight::{Flight, Load},
    incoming::Tracked,
};

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_start(Duration::from_secs(seconds))
}

fn connections() -> Connections {
    let (patience, stuck) = (Duration::from_secs(60), Duration::from_secs(60));
    Connections::new(ConnectionRules { most: 3, of_identity: 2, patience, stuck })
}

#[test]
fn a_connection_without_a_session_is_cut_after_a_while() {
    let (connections, silent, used) = (connections(), Tracked::new((), None), Tracked::new((), None));
    assert!(
        connections.admit(&silent.connect_info(), at(0)) && connections.admit(&used.connect_info(), at(0))
    );
    let hold = used.connect_info().hold();
    let swept = |seconds| connections.sweep(at(seconds)).idle;
    assert_eq!([swept(60), swept(61)], [0, 1]);
    assert!(silent.connect_info().is_cut() && !used.connect_info().is_cut());
    drop(hold);
    assert_eq!([swept(100), swept(160), swept(161)], [0, 0, 1]);
}

#[test]
fn silent_connections_give_way_and_used_ones_do_not() {
    let connections = connections();
    let there: Vec<_> = (0..3).map(|_| Tracked::new((), None)).collect();
    assert!(there.iter().all(|tracked| connections.admit(&tracked.connect_info(), at(0))));
    let _hold = there[0].connect_info().hold();
    let late = Tracked::new((), None);
    assert!(!connections.admit(&late.connect_info(), at(0)), "the others are too new to give way");
    assert!(connections.admit(&late.connect_info(), at(2)));
    let cut: Vec<_> = there.iter().map(|tracked| tracked.connect_info().is_cut()).collect();
    assert_eq!(cut, [false, true, false]);
    drop(there);
    assert!(
        connections.admit(&Tracked::new((), None).connect_info(), at(2)),
        "who has left makes room at once"
    );
}

#[test]
fn all_places_may_be_taken_by_sessions() {
    let connections = connections();
    let there: Vec<_> = (0..3).map(|_| Tracked::new((), None)).collect();
    let mut holds = Vec::new();
    for tracked in &there {
        assert!(connections.admit(&tracked.connect_info(), at(0)));
        holds.push(tracked.connect_info().hold());
    }
    let late = Tracked::new((), None);
    assert!(!connections.admit(&late.connect_info(), at(9)));
    assert!(there.iter().all(|tracked| !tracked.connect_info().is_cut()));
}

#[test]
fn a_certificate_has_so_many_connections_and_its_own_give_way() {
    let connections = connections();
    let of = |owner: &str| {
        let identity = Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{owner}")).unwrap();
        Tracked::secured((), "127.0.0.1:1".parse().unwrap(), Ok(identity))
    };
    let thief: Vec<_> = (0..2).map(|_| of("thief")).collect();
    let holds: Vec<_> = thief.iter().map(|tracked| tracked.connect_info().hold()).collect();
    assert!(thief.iter().all(|tracked| connections.admit(&tracked.connect_info(), at(0))));
    assert_eq!(connections.sweep(at(1)), Cut::default());
    let third = of("thief");
    assert!(!connections.admit(&third.connect_info(), at(9)), "its share is in use");
    let honest = of("honest");
    assert!(connections.admit(&honest.connect_info(), at(9)), "another certificate has a place");
    drop(holds);
    assert!(connections.admit(&third.connect_info(), at(9)));
    assert!(thief[0].connect_info().is_cut() && !honest.connect_info().is_cut());
    drop((thief, third, honest));
    assert_eq!(connections.sweep(at(10)), Cut::default());
    assert!(connections.table().owned.is_empty() && connections.table().len() == 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_nothing_of_an_answer_is_cut_though_a_session_uses_it() {
    let (connections, tracked) = (connections(), Tracked::new((), None));
    let connection = tracked.connect_info();
    let _hold = connection.hold();
    assert!(connections.admit(&connection, at(0)));
    let answer = Flight::new(Load::default(), None);
    connection.carries(&answer);
    let untaken = answer.depart(bytes::Bytes::from_static(b"an entry"));
    drop(answer);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(connections.sweep(at(60)), Cut::default());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(connections.sweep(at(61)), Cut { idle: 0, stuck: 1 });
    assert!(connection.is_cut());
    drop(untaken);
}
