//! The way back to a better central node.

use super::*;
use crate::{
    failover::Failback,
    machine::effect::{Cause, DisconnectReason},
};

/// Connected to the last node, with failback after ten minutes.
fn demoted() -> Peer {
    let mut peer = Peer::with(Policy { failback: Failback::AfterStable(secs(600.0)), ..Policy::default() });
    peer.start();
    peer.refuse();
    peer.refuse();
    peer.accept();
    assert_eq!(peer.wait(), None, "not before heartbeats are acknowledged");
    peer.ack(Action::None);
    assert_eq!(peer.wait(), Some(600.0));
    peer
}

fn probed(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::Probe { central, .. } => Some(central.as_str()),
        _ => None,
    })
}

#[test]
fn failback_moves_after_two_successful_probes() {
    let mut peer = demoted();
    assert_eq!(probed(&peer.tick()), Some("n0"));
    assert_eq!(peer.probe("n0", true), []);
    assert_eq!(peer.wait(), Some(30.0));
    assert_eq!(probed(&peer.tick()), Some("n0"));
    let effects = peer.probe("n0", true);
    assert!(matches!(effects[0], Effect::Disconnect { reason: DisconnectReason::Failover, .. }));
    assert_eq!(dialled(&effects), Some("n0"));
    assert_eq!(dialled(&peer.refuse()), Some("n2"), "else back to the node just left");
    let noticed_at = peer.now;
    let reconnected = Report::Reconnected { central: central("n2"), cause: Cause::Failback, noticed_at };
    assert_eq!(told(&peer.accept()), [reconnected]);
    peer.ack(Action::None);
    assert_eq!(peer.wait(), Some(600.0), "the next try takes as long again");
}

#[test]
fn a_failed_probe_starts_the_count_anew() {
    let mut peer = demoted();
    peer.tick();
    peer.probe("n0", true);
    peer.tick();
    assert_eq!(probed(&peer.probe("n0", false)), Some("n1"), "the next better node gets its chance");
    peer.probe("n1", false);
    peer.tick();
    assert_eq!(peer.probe("n0", true), [], "one in a row, not two");
    peer.tick();
    assert_eq!(dialled(&peer.probe("n0", true)), Some("n0"));
}

#[test]
fn failback_takes_the_second_best_when_the_best_stays_away() {
    let mut peer = demoted();
    for _ in 0..2 {
        assert_eq!(probed(&peer.tick()), Some("n0"));
        assert_eq!(probed(&peer.probe("n0", false)), Some("n1"));
        if let Some(moved) = dialled(&peer.probe("n1", true)) {
            assert_eq!(moved, "n1");
            return;
        }
    }
    panic!("did not move");
}

#[test]
fn an_unanswered_probe_counts_as_failed() {
    let mut peer = demoted();
    peer.tick();
    peer.probe("n0", true);
    peer.tick();
    assert_eq!(probed(&peer.tick()), Some("n0"), "silence for a whole interval: asked again");
    assert_eq!(peer.probe("n0", true), [], "and the count starts anew");
    assert_eq!(peer.probe("n0", true), [], "an answer nobody waits for does not count");
}

#[test]
fn the_best_node_needs_no_failback() {
    let mut peer =
        Peer::monitoring(Policy { failback: Failback::AfterStable(secs(9.0)), ..Policy::default() });
    assert_eq!(peer.wait(), None);
    peer.list("n3 n0");
    assert_eq!(peer.wait(), Some(9.0), "a better one came into the list");
    assert_eq!(probed(&peer.tick()), Some("n3"));
    peer.list("n0 n3");
    assert_eq!(peer.wait(), None);
    assert_eq!(peer.probe("n3", true), []);
}

#[test]
fn successes_of_different_nodes_do_not_add_up() {
    let mut peer = demoted();
    peer.tick();
    peer.probe("n0", false);
    peer.probe("n1", true);
    peer.tick();
    assert_eq!(peer.probe("n0", true), []);
    peer.tick();
    assert_eq!(dialled(&peer.probe("n0", true)), Some("n0"));
}
