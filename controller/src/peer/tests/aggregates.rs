//! What is said of all pods together.

use serde_json::{Value, json};
use sorcha_crds::{
    SorchaPeerStatus,
    conditions::{Finding, SPLIT_BRAIN, merge},
};

use super::{report, settle_in, status_of, with_reports};
use crate::{
    events,
    fixtures::{Scene, peer},
    peer::status,
};

/// Two peers that are well, the second with these fields besides.
fn two(more: &Value) -> SorchaPeerStatus {
    let mut second = report("edge-1", "HeartbeatMonitoring", "n0", 17, 0);
    second.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let mut scene = Scene::new(|_| None);
    let edge = with_reports(peer("edge", 2), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0), second]);
    settle_in(&mut scene.writers, &edge);
    status_of(&scene, &edge)
}

#[tokio::test]
async fn the_longest_round_trip_is_shown() {
    for (second, shown) in [(json!(1.84), "1.8ms"), (json!(0.5), "1.2ms"), (json!(null), "1.2ms")] {
        assert_eq!(two(&json!({"rttMs": second})).rtt.as_deref(), Some(shown), "{second}");
    }
}

#[tokio::test]
async fn one_digest_is_shown_or_that_they_differ() {
    let digest = |second: Value| two(&json!({"digest": second})).digest;
    assert_eq!(digest(json!("sha256:aa")).as_deref(), Some("sha256:aa"));
    assert_eq!(digest(json!("sha256:ab")).as_deref(), Some("differs"));
    assert_eq!(digest(json!(null)).as_deref(), Some("sha256:aa"), "of those that have reported one");
    let mut scene = Scene::new(|_| None);
    let mut long = report("edge-0", "HeartbeatMonitoring", "n0", 17, 0);
    long["digest"] = "c".repeat(64).into();
    let edge = with_reports(peer("edge", 1), &[long]);
    settle_in(&mut scene.writers, &edge);
    assert_eq!(status_of(&scene, &edge).digest, Some("c".repeat(12)));
}

#[tokio::test]
async fn all_are_as_fresh_as_the_one_that_is_furthest_behind() {
    let fresh = |second: Value| two(&json!({"freshAsOf": second})).fresh_as_of.map(|time| time.0.to_string());
    assert_eq!(fresh(json!("2026-11-22T09:58:00Z")).as_deref(), Some("2026-11-22T09:58:00Z"));
    assert_eq!(fresh(json!("2026-11-22T10:00:02Z")).as_deref(), Some("2026-11-22T10:00:00Z"));
    assert_eq!(fresh(json!(null)), None, "one never was");
}

#[tokio::test]
async fn what_one_peer_does_not_tell_is_not_known_of_all() {
    let status = two(&json!({"version": 12, "lag": 5}));
    assert_eq!((status.min_version, status.max_lag), (Some(12), Some(5)));
    for unknown in ["version", "lag"] {
        let status = two(&json!({unknown: null}));
        assert_eq!(status.min_version, (unknown != "version").then_some(17), "{unknown}");
        assert_eq!(status.max_lag, (unknown != "lag").then_some(0), "{unknown}");
    }
    let mut scene = Scene::new(|_| None);
    let edge = with_reports(peer("edge", 2), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0)]);
    settle_in(&mut scene.writers, &edge);
    let status = status_of(&scene, &edge);
    assert_eq!((status.min_version, status.max_lag, status.fresh_as_of), (None, None, None));
    assert_eq!((status.state.as_deref(), status.connected), (Some("Starting 1/2"), Some(1)));
}

#[tokio::test]
async fn one_central_node_is_shown_or_that_there_are_several() {
    let central = |more: Value| two(&more).central;
    assert_eq!(central(json!({})).as_deref(), Some("n0"));
    assert_eq!(central(json!({"centralNode": "n1"})).as_deref(), Some("mixed"));
    assert_eq!(central(json!({"centralNode": "n1", "state": "Isolated"})).as_deref(), Some("n0"));
}

#[tokio::test]
async fn the_state_of_all_or_the_worst_with_its_count_is_shown() {
    for (second, shown) in [
        ("HeartbeatMonitoring", "HeartbeatMonitoring"),
        ("Connected", "Connected 1/2"),
        ("Connecting", "Connecting 1/2"),
        ("Disconnected", "Disconnected 1/2"),
        ("Isolated", "Isolated 1/2"),
    ] {
        assert_eq!(two(&json!({"state": second})).state.as_deref(), Some(shown));
    }
}

#[tokio::test]
async fn counts_of_pods_and_moves_are_those_of_all() {
    let status = two(&json!({"failovers": 4, "state": "Isolated"}));
    assert_eq!((status.failovers, status.connected, status.isolated), (Some(5), Some(1), Some(1)));
    assert_eq!(
        (status.replicas, status.ready_replicas, status.ready.as_deref()),
        (Some(2), Some(2), Some("2/2"))
    );
    let selector = status.selector.expect("a selector");
    for label in ["app.kubernetes.io/instance=edge", "app.kubernetes.io/component=peer"] {
        assert!(selector.split(',').any(|of| of == label), "{selector}");
    }
}

#[tokio::test]
async fn a_resync_is_done_when_every_peer_has_done_it() {
    let done = |first: &str, second: &str| {
        let mut edge = peer("edge", 2);
        edge.spec.force_resync = Some("friday".to_owned());
        let nodes = [("edge-0", first), ("edge-1", second)].map(|(name, done)| {
            let mut report = report(name, "HeartbeatMonitoring", "n0", 17, 0);
            report["forceResync"] = done.into();
            report
        });
        let mut edge = with_reports(edge, &nodes);
        if let Some(status) = &mut edge.status {
            status.force_resync = Some("monday".to_owned());
        }
        let mut scene = Scene::new(|_| None);
        settle_in(&mut scene.writers, &edge);
        status_of(&scene, &edge).force_resync
    };
    assert_eq!(
        done("friday", "monday").as_deref(),
        Some("monday"),
        "the one before is the last that all did"
    );
    assert_eq!(done("friday", "friday").as_deref(), Some("friday"));
}

/// Round trips move all the time: they are shown as of the last change of anything else.
#[tokio::test]
async fn a_round_trip_alone_is_not_written() {
    let (before, after) = (two(&json!({"rttMs": 1.5})), two(&json!({"rttMs": 900.0})));
    assert!(before.rtt != after.rtt && !status::differs(&before, &after));
    assert!(status::differs(&before, &two(&json!({"rttMs": 900.0, "state": "Isolated"}))));
}

#[tokio::test]
async fn another_lineage_is_told_with_who_met_it_where_and_what_to_do() {
    let of = |status: &SorchaPeerStatus| {
        let found = status.conditions.iter().find(|found| found.type_ == SPLIT_BRAIN).expect("a condition");
        (format!("{} {}", found.status, found.reason), found.message.clone())
    };
    let (well, split) = (two(&json!({})), two(&json!({"splitBrain": "n9"})));
    assert_eq!(of(&well).0, "False OneLineage");
    let (found, message) = of(&split);
    assert_eq!(found, "True ForeignLineage");
    for part in ["n9", "edge-1", "nothing was merged", "register adopt"] {
        assert!(message.contains(part), "{message}");
    }
    let now = serde_json::from_value(json!("2026-11-22T10:00:00Z")).expect("a time");
    let known = merge(&[], vec![Finding::new(SPLIT_BRAIN, false, "OneLineage", "")], Some(1), &now);
    let told = events::transitions(&known, &split.conditions, false).events;
    let told: Vec<_> = told.iter().filter(|event| event.reason == "ForeignLineage").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(format!("{:?}", told[0].type_), "Warning");
    // What a pod that is gone met last is no state.
    let mut gone = report("edge-0", "HeartbeatMonitoring", "n0", 17, 0);
    gone["splitBrain"] = "n9".into();
    assert_eq!(
        of(&status_of(&Scene::new(|_| None), &with_reports(peer("edge", 1), &[gone]))).0,
        "False OneLineage"
    );
}
