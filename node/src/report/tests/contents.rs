//! What is reported of trouble: each field that is empty of a node that is well.

use sorcha_peer::status::{HeartbeatCounters, PeerStatus};
use sorcha_register::{
    integrity::{Fault, Finding},
    names::Version,
    testing::entry,
    view::RegisterView,
};
use sorcha_store::Loaded;

use super::{super::content::peer_report, *};

/// A replica at version 4.
fn replica(findings: Vec<Finding>) -> Loaded {
    let view = RegisterView::with_entries(None, vec![entry("a", 4).seal()], Version::ZERO);
    Loaded { view, checkpoint: None, findings }
}

/// A peer with a session at a central node whose register is at version 9.
fn status(change: impl FnOnce(&mut PeerStatus)) -> PeerStatus {
    let mut status = PeerStatus::new(START, &["n0=127.0.0.1:1".parse().unwrap()]);
    status.session_id = Some("s".into());
    status.central_version = Version::new("version", 9).unwrap();
    change(&mut status);
    status
}

#[test]
fn a_peer_says_how_far_it_is_behind_and_what_it_misses() {
    let missed = |heartbeat: &mut HeartbeatCounters| {
        heartbeat.miss("no answer in time");
        heartbeat.miss("no answer in time");
    };
    let report = peer_report("edge-0", &status(|status| missed(&mut status.heartbeat)), &replica(Vec::new()));
    assert_eq!((report.lag, report.missed_heartbeats), (Some(5), Some(2)));
    assert_eq!(report.message.as_deref(), Some("heartbeats are missed: no answer in time"));
    let unheard = status(|status| (status.session_id, status.central_version) = (None, Version::ZERO));
    assert_eq!(peer_report("edge-0", &unheard, &replica(Vec::new())).lag, None, "nobody told it of a head");
}

#[test]
fn a_peer_says_what_of_its_replica_is_damaged_and_who_serves_another_lineage() {
    let damaged = vec![Finding::whole(Fault::Seal("differs".into())); 3];
    let report = peer_report("edge-0", &status(|_| ()), &replica(damaged.clone()));
    assert_eq!((report.findings, report.split_brain), (Some(3), None));
    assert!(report.message.is_some_and(|message| message.starts_with("damaged replica: ")));
    let split = status(|status| status.split_brain = Some("n2".into()));
    let report = peer_report("edge-0", &split, &replica(damaged));
    assert_eq!((report.findings, report.split_brain.as_deref()), (Some(3), Some("n2")));
    assert!(report.message.is_some_and(|message| message.starts_with("split brain: n2 ")));
}
