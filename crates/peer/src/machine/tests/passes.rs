//! Looking for a central node: passes, rounds in isolation, and what sets them off.

use super::*;
use crate::machine::effect::{DisconnectReason, SyncPlan};

#[test]
fn start_tries_the_nodes_by_priority_without_delay() {
    let mut peer = Peer::new();
    assert_eq!(peer.shown(), PeerState::Disconnected);
    assert_eq!(dialled(&peer.start()), Some("n0"));
    assert_eq!(peer.shown(), PeerState::Connecting);
    assert_eq!(dialled(&peer.refuse()), Some("n1"));
    assert_eq!(dialled(&peer.refuse()), Some("n2"));
    let effects = peer.accept();
    assert!(matches!(&effects[..], [Effect::OpenSession { epoch: 3, sync: SyncPlan::Resume, .. }]));
    assert_eq!((peer.shown(), peer.central()), (PeerState::Connected, Some("n2")));
    peer.ack(Action::None);
    assert_eq!(peer.shown(), PeerState::HeartbeatMonitoring);
}

#[test]
fn all_down_isolates_once_and_rounds_go_on_for_ever_until_recovery() {
    let mut peer = Peer::new();
    peer.start();
    peer.refuse();
    peer.refuse();
    assert_eq!(told(&peer.refuse()), [Report::EnteredIsolated]);
    let mut waits = Vec::new();
    for _ in 0..40 {
        waits.push(peer.wait().unwrap_or(-1.0));
        assert_eq!(dialled(&peer.tick()), Some("n0"));
        assert_eq!(dialled(&peer.refuse()), Some("n1"));
        assert_eq!(dialled(&peer.refuse()), Some("n2"));
        assert_eq!(peer.shown(), PeerState::Isolated);
        assert_eq!(told(&peer.refuse()), []);
    }
    assert_eq!(waits[..9], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
    assert_eq!(waits[39], 60.0);
    peer.tick();
    peer.refuse();
    assert_eq!(told(&peer.accept()), [Report::LeftIsolated { since: Monotonic::default() }]);
    assert_eq!((peer.shown(), peer.central()), (PeerState::Connected, Some("n1")));
}

#[test]
fn rounds_use_full_jitter() {
    let mut peer = Peer::isolated();
    // Of the round's delay, but of no more than the outage has lasted so far and a second.
    for (draw, wait) in [(0.5, 1.0), (0.25, 0.75), (0.0, 0.0), (0.75, 2.8125), (1.0, 6.5625)] {
        peer.draw = draw;
        peer.tick();
        (0..3).for_each(|_| drop(peer.refuse()));
        assert_eq!(peer.wait(), Some(wait));
    }
}

#[test]
fn failover_wraps_around_the_list() {
    let mut peer = Peer::new();
    peer.start();
    peer.refuse();
    peer.refuse();
    peer.accept();
    peer.advance(100.0);
    assert_eq!(dialled(&peer.lose()), Some("n0"));
    assert_eq!(peer.shown(), PeerState::Connecting);
    assert_eq!(dialled(&peer.refuse()), Some("n1"));
    assert_eq!(dialled(&peer.refuse()), Some("n2"), "the node that failed comes last");
    assert_eq!(told(&peer.refuse()), [Report::EnteredIsolated]);
    assert_eq!(dialled(&peer.tick()), Some("n0"), "rounds start from the top");
}

#[test]
fn a_person_can_ask_for_a_new_connection_at_any_time() {
    let mut peer = Peer::new();
    peer.start();
    peer.refuse();
    peer.accept();
    let effects = peer.send(Event::ReconnectRequested);
    assert!(matches!(effects[0], Effect::Disconnect { reason: DisconnectReason::ClientRequest, .. }));
    assert_eq!(dialled(&effects), Some("n0"));
    let effects = peer.send(Event::ReconnectRequested);
    assert_eq!(effects[0], Effect::AbandonDial { epoch: 3 });
    assert_eq!(effects[1], Effect::Dial { epoch: 4, central: central("n0") });
    let mut peer = Peer::isolated();
    assert_eq!(dialled(&peer.send(Event::ReconnectRequested)), Some("n0"));
    assert_eq!(peer.shown(), PeerState::Isolated, "until it succeeds");
}

#[test]
fn jitter_holds_back_the_first_dial_after_a_lost_connection_only() {
    let mut peer = Peer::monitoring(Policy { failover_jitter: secs(4.0), ..Policy::default() });
    peer.advance(100.0);
    peer.draw = 0.5;
    let effects = peer.lose();
    assert_eq!(dialled(&effects), None);
    assert_eq!(effects.last(), Some(&Effect::CloseSession { epoch: 1 }));
    assert_eq!(peer.wait(), Some(2.0));
    peer.advance(1.9);
    assert_eq!(peer.send(Event::Tick), []);
    assert_eq!(dialled(&peer.tick()), Some("n1"));
    assert_eq!(dialled(&peer.refuse()), Some("n2"), "no delay between nodes");
}

#[test]
fn sessions_that_end_as_soon_as_they_open_slow_the_peer_down() {
    let mut peer = Peer::monitoring(Policy::default());
    let mut waits = Vec::new();
    for _ in 0..9 {
        peer.advance(1.0);
        peer.lose();
        waits.push(peer.wait().unwrap_or(0.0));
        if peer.state.live_epoch().is_none() {
            peer.tick();
        }
        peer.accept();
        peer.ack(Action::None);
    }
    assert_eq!(waits, [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
    peer.advance(30.0);
    assert!(dialled(&peer.lose()).is_some(), "a session that lasted clears the record");
}

#[test]
fn a_changed_list_moves_the_peer_only_if_it_must() {
    let mut peer = Peer::monitoring(Policy::default());
    assert_eq!(peer.list("n3 n0"), []);
    assert_eq!(peer.central(), Some("n0"));
    let effects = peer.list("n3 n1 n3");
    assert!(matches!(effects[0], Effect::Disconnect { reason: DisconnectReason::Failover, .. }));
    assert_eq!(dialled(&effects), Some("n3"));
    assert_eq!(peer.list("n3 n4 n5"), [], "the attempt in flight goes on");
    assert_eq!(dialled(&peer.list("n4 n6")), Some("n4"), "unless its node has left");
    assert_eq!(dialled(&peer.refuse()), Some("n6"), "new nodes are tried in the same pass");
    assert_eq!(told(&peer.refuse()), [Report::EnteredIsolated]);
}

#[test]
fn isolation_ends_its_wait_for_a_changed_list() {
    let mut peer = Peer::isolated();
    for _ in 0..4 {
        peer.tick();
        (0..3).for_each(|_| drop(peer.refuse()));
    }
    assert_eq!(peer.wait(), Some(16.0));
    assert_eq!(dialled(&peer.list("n5")), Some("n5"));
    peer.refuse();
    assert_eq!(peer.wait(), Some(1.0), "a new list is a new situation");
    assert_eq!(dialled(&peer.list("n5")), Some("n5"), "an address changed");
}

#[test]
fn without_central_nodes_the_peer_rests_isolated() {
    let mut peer = Peer::knowing("");
    assert_eq!(told(&peer.start()), [Report::EnteredIsolated]);
    assert_eq!((peer.shown(), peer.wait()), (PeerState::Isolated, None));
    assert_eq!(peer.send(Event::ReconnectRequested), []);
    assert_eq!(peer.tick(), []);
    assert_eq!(dialled(&peer.list("n0 n0")), Some("n0"));
    peer.accept();
    assert_eq!(told(&peer.list("")), [Report::EnteredIsolated]);
    assert_eq!(peer.wait(), None);
}

#[test]
fn short_sessions_do_not_delay_a_move_that_was_asked_for() {
    for ask in [Event::ReconnectRequested, Event::CentralNodesChanged(nodes("n7"))] {
        let mut peer = Peer::monitoring(Policy::default());
        for _ in 0..4 {
            peer.lose();
            if peer.state.live_epoch().is_none() {
                peer.tick();
            }
            peer.accept();
        }
        assert!(dialled(&peer.send(ask)).is_some());
    }
}
