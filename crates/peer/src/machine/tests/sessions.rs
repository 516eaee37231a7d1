//! Life and end of a session: heartbeats, advice, sync faults, and what is told about it.

use super::*;
use crate::machine::effect::{Cause, DisconnectReason, SyncPlan};

#[test]
fn the_second_miss_in_a_row_fails_over() {
    let mut peer = Peer::monitoring(Policy::default());
    peer.advance(60.0);
    assert_eq!(told(&peer.miss()), [Report::HeartbeatMissed { central: central("n0"), missed: 1 }]);
    assert_eq!(peer.shown(), PeerState::HeartbeatMonitoring);
    let noticed_at = peer.now;
    let session = SessionId::new("s1");
    assert_eq!(
        peer.miss(),
        [
            Effect::Disconnect { epoch: 1, session, reason: DisconnectReason::HeartbeatTimeout },
            Effect::CloseSession { epoch: 1 },
            Effect::Dial { epoch: 2, central: central("n1") },
        ]
    );
    peer.advance(4.0);
    assert_eq!(told(&peer.refuse()), [], "a failover counts when it succeeds");
    peer.advance(4.0);
    let (from, to) = (central("n0"), central("n2"));
    let failed_over = Report::FailedOver { from, to, cause: Cause::HeartbeatTimeout, noticed_at };
    assert_eq!(told(&peer.accept()), [failed_over]);
}

#[test]
fn an_acknowledgement_forgives_a_miss() {
    let mut peer = Peer::monitoring(Policy::default());
    for _ in 0..5 {
        peer.miss();
        peer.ack(Action::None);
    }
    assert_eq!(peer.central(), Some("n0"));
    peer.miss();
    assert_eq!(dialled(&peer.miss()), Some("n1"));
}

#[test]
fn misses_count_before_the_first_acknowledgement_too() {
    let mut peer = Peer::new();
    peer.start();
    peer.accept();
    peer.miss();
    assert_eq!(peer.shown(), PeerState::Connected);
    assert_eq!(dialled(&peer.miss()), Some("n1"));
}

#[test]
fn a_failover_through_isolation_keeps_the_instant_of_the_loss() {
    let mut peer = Peer::monitoring(Policy::default());
    peer.advance(100.0);
    let noticed_at = peer.now;
    peer.lose();
    (0..3).for_each(|_| drop(peer.refuse()));
    let since = peer.now;
    peer.tick();
    peer.refuse();
    let (from, to) = (central("n0"), central("n1"));
    let cause = Cause::ConnectionLost(Loss::Closed);
    assert_eq!(
        told(&peer.accept()),
        [Report::LeftIsolated { since }, Report::FailedOver { from, to, cause, noticed_at }]
    );
}

#[test]
fn coming_back_to_the_same_node_is_no_failover() {
    let mut peer = Peer::monitoring(Policy::default());
    peer.advance(100.0);
    let noticed_at = peer.now;
    let effects = peer.ack(Action::Reconnect);
    assert_eq!(dialled(&effects), Some("n0"), "RECONNECT: the same node first");
    assert_eq!(
        told(&peer.accept()),
        [Report::Reconnected { central: central("n0"), cause: Cause::SessionRejected, noticed_at }]
    );
}

#[test]
fn reconnect_advice_goes_on_behind_the_same_node() {
    let mut peer = Peer::new();
    peer.start();
    peer.refuse();
    peer.accept();
    peer.advance(100.0);
    assert_eq!(dialled(&peer.ack(Action::Reconnect)), Some("n1"));
    assert_eq!(dialled(&peer.refuse()), Some("n2"));
    assert_eq!(dialled(&peer.refuse()), Some("n0"));
}

#[test]
fn drain_advice_moves_the_peer_at_once() {
    let mut peer = Peer::monitoring(Policy { failover_jitter: secs(5.0), ..Policy::default() });
    peer.advance(100.0);
    let effects = peer.ack(Action::Failover);
    assert!(matches!(
        &effects[..],
        [
            Effect::Disconnect { reason: DisconnectReason::Failover, .. },
            Effect::CloseSession { .. },
            Effect::Dial { .. }
        ]
    ));
    let effects = peer.accept();
    assert!(effects.contains(&Effect::OpenSession {
        epoch: 2,
        central: central("n1"),
        session: SessionId::new("s2"),
        sync: SyncPlan::Resume
    }));
}

#[test]
fn a_session_begins_with_what_the_replica_is_worth() {
    let held = |owner: Option<&str>| Holdings::Held { checkpoint_of: owner.map(central) };
    let cases = [
        (LineageMatch::Same, held(Some("n2")), SyncPlan::Resume),
        (LineageMatch::Same, held(None), SyncPlan::Resume),
        (LineageMatch::Same, Holdings::Empty, SyncPlan::Full),
        (LineageMatch::Same, Holdings::Diverged, SyncPlan::Full),
        (LineageMatch::FirstVisit, Holdings::Empty, SyncPlan::Full),
        (LineageMatch::FirstVisit, held(Some("n0")), SyncPlan::Full),
        (LineageMatch::Unknown, held(Some("n0")), SyncPlan::Resume),
        (LineageMatch::Unknown, held(Some("n2")), SyncPlan::Full),
        (LineageMatch::Unknown, held(None), SyncPlan::Full),
        (LineageMatch::Unknown, Holdings::Diverged, SyncPlan::Full),
        (LineageMatch::Unknown, Holdings::Empty, SyncPlan::Full),
    ];
    for (lineage, replica, expected) in cases {
        let mut peer = Peer::new();
        peer.start();
        let info = SessionInfo { replica: replica.clone(), ..info(1, lineage) };
        let effects = peer.send(Event::ConnectOk { epoch: 1, info });
        assert!(
            matches!(&effects[..], [Effect::OpenSession { sync, .. }] if *sync == expected),
            "{lineage:?}, {replica:?}"
        );
    }
}

#[test]
fn three_failed_syncs_in_a_row_fail_over() {
    let mut peer = Peer::monitoring(Policy::default());
    let epoch = peer.epoch();
    peer.fail_sync(Fault::Passing);
    peer.fail_sync(Fault::Passing);
    peer.send(Event::SyncSucceeded { epoch });
    peer.fail_sync(Fault::Passing);
    let effects = peer.fail_sync(Fault::Fatal);
    assert_eq!(
        told(&effects),
        [Report::ConfigurationFault { central: central("n0"), message: "refused".into() }]
    );
    assert_eq!(peer.central(), Some("n0"));
    assert_eq!(dialled(&peer.fail_sync(Fault::Passing)), Some("n1"));
}

#[test]
fn a_slowed_heartbeat_returns_to_normal_once() {
    let mut peer = Peer::monitoring(Policy::default());
    let epoch = peer.epoch();
    let (slow, normal) = (Effect::SlowHeartbeat { epoch }, Effect::NormalHeartbeat { epoch });
    let sync = Effect::SyncNow { epoch, plan: SyncPlan::Resume };
    assert_eq!(peer.ack(Action::None), []);
    assert_eq!(peer.ack(Action::ReduceFrequency), std::slice::from_ref(&slow));
    assert_eq!(peer.ack(Action::ReduceFrequency), [slow], "the shell doubles again, up to its cap");
    assert_eq!(peer.ack(Action::Sync), [normal, sync.clone()]);
    assert_eq!(peer.ack(Action::Sync), [sync]);
}

#[test]
fn stopping_says_goodbye_and_lasts() {
    let mut peer = Peer::monitoring(Policy::default());
    let effects = peer.send(Event::Stop);
    let session = SessionId::new("s1");
    assert_eq!(
        effects,
        [
            Effect::Disconnect { epoch: 1, session, reason: DisconnectReason::Shutdown },
            Effect::CloseSession { epoch: 1 }
        ]
    );
    assert_eq!(peer.shown(), PeerState::Disconnected);
    assert_eq!(peer.start(), []);
    assert_eq!(peer.list("n7"), []);
}

#[test]
fn limits_of_zero_count_as_one() {
    let policy = Policy { max_missed: 0, max_sync_failures: 0, probe_successes: 0, ..Policy::default() };
    assert_eq!(dialled(&Peer::monitoring(policy.clone()).miss()), Some("n1"));
    assert_eq!(dialled(&Peer::monitoring(policy).fail_sync(Fault::Passing)), Some("n1"));
}

#[test]
fn public_names_and_numbers() {
    let shown = |state: PeerState| format!("{state} {}", state.gauge());
    assert_eq!(shown(PeerState::Disconnected), "Disconnected 0");
    assert_eq!(shown(PeerState::Connecting), "Connecting 0");
    assert_eq!(shown(PeerState::Connected), "Connected 1");
    assert_eq!(shown(PeerState::HeartbeatMonitoring), "HeartbeatMonitoring 1");
    assert_eq!(shown(PeerState::Isolated), "Isolated 2");
    assert_eq!(DisconnectReason::Shutdown as i32, 1);
    assert_eq!(DisconnectReason::ClientRequest as i32, 5);
}

#[test]
fn a_register_that_contradicts_is_left_at_once_and_met_again_with_growing_pauses() {
    let mut peer = Peer::monitoring(Policy::default());
    assert_eq!(dialled(&peer.fail_sync(Fault::Refused)), Some("n1"), "others may be right");
    let accepted = peer.accept();
    let moved = |report: &Report| matches!(report, Report::FailedOver { cause: Cause::Refused, .. });
    assert!(told(&accepted).iter().any(moved));

    let mut alone = Peer::knowing("n0");
    alone.start();
    alone.accept();
    for pause in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
        let left = alone.now;
        assert_eq!(dialled(&alone.fail_sync(Fault::Refused)), None, "it is not hammered");
        let mut again = false;
        while !again {
            again = dialled(&alone.tick()).is_some();
        }
        assert!(alone.now.since(left) >= secs(pause), "{:?}", alone.now.since(left));
        alone.accept();
    }
    assert_eq!(alone.state.memory.refusals.values().copied().collect::<Vec<_>>(), [8]);
    assert_eq!(alone.state.memory.short_sessions, 0, "nor does another central node pay for it");
    alone.send(Event::SyncSucceeded { epoch: alone.epoch() });
    assert!(alone.state.memory.refusals.is_empty(), "a true continuation makes it forget");
}

#[test]
fn a_node_that_the_peer_refuses_when_connecting_is_not_dialled_before_its_pause_is_over() {
    let mut peer = Peer::knowing("n0 n1");
    peer.start();
    assert_eq!(dialled(&peer.refuse_with(Fault::Refused, None)), Some("n1"));
    peer.refuse_with(Fault::Refused, None);
    assert_eq!(peer.state.memory.refusals.len(), 2);
    assert_eq!(dialled(&peer.send(Event::ReconnectRequested)), None);
    peer.list("n1");
    assert_eq!(peer.state.memory.refusals.len(), 1, "who has left is forgotten");
}
