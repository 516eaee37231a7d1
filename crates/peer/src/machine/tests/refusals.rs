//! Answers that need care: hints, refusals for good, other lineages, late results.

use super::*;
use crate::machine::effect::DisconnectReason;

#[test]
fn stale_results_are_ignored_and_a_late_session_is_given_back() {
    let mut peer = Peer::new();
    peer.start();
    peer.send(Event::ReconnectRequested);
    let late = Event::ConnectOk { epoch: 1, info: info(1, LineageMatch::Same) };
    let session = SessionId::new("s1");
    assert_eq!(
        peer.send(late.clone()),
        [
            Effect::Disconnect { epoch: 1, session, reason: DisconnectReason::Error },
            Effect::CloseSession { epoch: 1 }
        ]
    );
    peer.accept();
    assert_eq!(peer.send(Event::HeartbeatMissed { epoch: 1 }), []);
    assert_eq!(peer.send(Event::ConnectionLost { epoch: 1, loss: Loss::Closed }), []);
    assert_eq!(peer.state.session().map(|s| (s.epoch, s.missed)), Some((2, 0)));
    let same_handle = Event::ConnectOk { epoch: 1, info: info(2, LineageMatch::Same) };
    assert_eq!(peer.send(same_handle), [], "the handle in use is not given back");
    let unknown = Event::ConnectOk { epoch: 77, info: info(77, LineageMatch::Same) };
    assert_eq!(peer.send(unknown), []);
    peer.send(Event::Stop);
    assert_eq!(peer.send(late), []);
}

#[test]
fn a_hint_sets_the_least_wait_after_the_pass() {
    let mut peer = Peer::new();
    peer.start();
    peer.refuse_with(Fault::Passing, Some(40.0));
    peer.refuse_with(Fault::Passing, Some(20.0));
    peer.refuse();
    assert_eq!(peer.wait(), Some(21.0), "the smallest hint, and the round's jitter on top");
    assert_eq!(dialled(&peer.tick()), Some("n1"), "n0 asked for 40 s and is passed over");
    assert_eq!(dialled(&peer.refuse()), Some("n2"));
    peer.refuse();
    assert_eq!(peer.wait(), Some(2.0), "hints of earlier passes do not slow the others down");
}

#[test]
fn a_hint_of_the_only_node_is_obeyed_whatever_happens() {
    let mut peer = Peer::knowing("n0");
    peer.start();
    peer.refuse_with(Fault::Passing, Some(20.0));
    assert_eq!(peer.wait(), Some(21.0));
    peer.advance(5.0);
    assert_eq!(peer.send(Event::ReconnectRequested), [], "not even on request");
    assert_eq!(peer.wait(), Some(17.0));
    assert_eq!(peer.list("n0"), [], "nor for a new list");
    assert_eq!(peer.wait(), Some(16.0));
    peer.advance(15.0);
    assert_eq!(dialled(&peer.send(Event::ReconnectRequested)), Some("n0"));
}

#[test]
fn a_hint_outlives_a_session_elsewhere() {
    let mut peer = Peer::new();
    peer.start();
    peer.refuse_with(Fault::Passing, Some(300.0));
    peer.accept();
    peer.advance(100.0);
    assert_eq!(dialled(&peer.lose()), Some("n2"));
    assert_eq!(dialled(&peer.refuse()), Some("n1"), "n0 is passed over");
    peer.accept();
    peer.advance(200.0);
    peer.lose();
    assert_eq!(dialled(&peer.refuse()), Some("n0"), "its time is over");
}

#[test]
fn no_hint_locks_a_peer_out_for_ever() {
    let mut peer = Peer::knowing("n0");
    peer.start();
    peer.refuse_with(Fault::Passing, Some(1e12));
    assert_eq!(peer.wait(), Some(3601.0));
}

#[test]
fn fatal_refusals_are_reported_and_slow_the_rounds_when_all_agree() {
    let mut peer = Peer::new();
    peer.draw = 0.0;
    peer.start();
    for name in ["n0", "n1"] {
        let effects = peer.refuse_with(Fault::Fatal, None);
        let fault = Report::ConfigurationFault { central: central(name), message: "refused".into() };
        assert_eq!(told(&effects), [fault]);
        assert!(dialled(&effects).is_some());
    }
    peer.refuse_with(Fault::Fatal, None);
    assert_eq!(peer.wait(), Some(60.0));
    peer.tick();
    peer.refuse_with(Fault::Fatal, None);
    peer.refuse();
    peer.refuse_with(Fault::Fatal, None);
    assert_eq!(peer.wait(), Some(0.0), "one node may recover soon: the rounds' delay");
}

#[test]
fn another_lineage_is_left_at_once_and_remembered() {
    let mut peer = Peer::new();
    peer.start();
    for name in ["n0", "n1"] {
        let effects = peer.accept_as(LineageMatch::Foreign);
        assert_eq!(told(&effects), [Report::SplitBrain { central: central(name) }]);
        assert!(matches!(effects[0], Effect::Disconnect { reason: DisconnectReason::Error, .. }));
    }
    peer.accept_as(LineageMatch::Foreign);
    assert_eq!(peer.shown(), PeerState::Isolated);
    assert_eq!(peer.state.memory.split_brain, Some(central("n2")));
    peer.tick();
    peer.accept_as(LineageMatch::Unknown);
    assert!(peer.state.memory.split_brain.is_some(), "a node without a lineage proves nothing");
    peer.send(Event::ReconnectRequested);
    peer.accept();
    assert_eq!(peer.state.memory.split_brain, None);
}

#[test]
fn asking_in_vain_does_not_lengthen_the_rounds() {
    let mut peer = Peer::knowing("n0");
    peer.start();
    peer.refuse_with(Fault::Passing, Some(20.0));
    for _ in 0..9 {
        assert_eq!(peer.send(Event::ReconnectRequested), []);
    }
    peer.tick();
    peer.refuse();
    assert_eq!(peer.wait(), Some(2.0));
}

#[test]
fn hints_are_forgotten_when_their_time_is_over() {
    let mut peer = Peer::new();
    peer.start();
    for name in ["n3", "n4", "n5"] {
        peer.refuse_with(Fault::Passing, Some(5.0));
        peer.advance(6.0);
        peer.list(name);
    }
    assert!(peer.state.memory.barred.len() <= 1, "{:?}", peer.state.memory.barred);
}
