mod aggregates;
mod bounds;
mod changes;
mod conversations;
mod fields;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use sorcha_crds::{
    SorchaPeer, SorchaPeerStatus,
    conditions::{CONNECTED, HISTORY_INTACT, ISOLATED, READY, SYNCED, is_true},
};

use super::{desired, status};
use crate::{
    cache::Writers,
    fixtures::{Call, IMAGE, Scene, peer, pod, put, settle, writes},
    reconcile::{Error, Pipeline as _, Progress, reconcile},
};

fn report(name: &str, state: &str, central: &str, version: i64, lag: i64) -> Value {
    json!({
        "name": name, "state": state, "centralNode": central, "version": version, "lag": lag, "failovers": 1,
        "freshAsOf": "2026-11-22T10:00:00Z", "digest": "sha256:aa", "rttMs": 1.25,
    })
}

fn with_reports(mut peer: SorchaPeer, nodes: &[Value]) -> SorchaPeer {
    peer.status = Some(serde_json::from_value(json!({"nodes": nodes})).expect("a status"));
    peer
}

/// Everything as after a good start.
fn settle_in(writers: &mut Writers, peer: &SorchaPeer) {
    let objects = desired::desired(peer, IMAGE, "IfNotPresent");
    let mut set = objects.stateful_set;
    settle(&mut set);
    put(&mut writers.stateful_sets, set);
    let name = peer.metadata.name.as_deref().unwrap_or_default();
    for ordinal in 0..peer.spec.replicas {
        put(&mut writers.pods, pod(&format!("{name}-{ordinal}"), "peer", name, true));
    }
}

fn status_of(scene: &Scene, peer: &SorchaPeer) -> SorchaPeerStatus {
    let now = serde_json::from_value(json!("2026-11-22T10:00:00Z")).expect("a time");
    peer.summarise(&peer.observe(&scene.ctx), &Ok(Progress::Applied), &now).expect("a status")
}

#[test]
fn desired_objects() {
    let objects = desired::desired(&peer("edge", 3), IMAGE, "IfNotPresent");
    let values = [
        json!(objects.service_account),
        json!(objects.role),
        json!(objects.role_binding),
        json!(objects.config_map),
        json!(objects.headless),
        json!(objects.service),
        json!(objects.network_policy),
        json!(objects.budget),
        json!(objects.stateful_set),
    ];
    insta::assert_yaml_snapshot!(values);
}

#[tokio::test]
async fn aggregates_what_peers_report() {
    let mut scene = Scene::new(|_| None);
    let nodes = [
        report("edge-0", "HeartbeatMonitoring", "n0", 17, 0),
        report("edge-1", "HeartbeatMonitoring", "n0", 16, 1),
        report("edge-2", "Isolated", "", 12, 5),
    ];
    let peer = with_reports(peer("edge", 3), &nodes);
    settle_in(&mut scene.writers, &peer);
    let status = status_of(&scene, &peer);
    assert_eq!(status.ready.as_deref(), Some("3/3"), "an isolated peer stays ready");
    assert_eq!(status.state.as_deref(), Some("Isolated 1/3"));
    assert_eq!(status.central.as_deref(), Some("n0"));
    assert_eq!((status.connected, status.isolated), (Some(2), Some(1)));
    assert_eq!((status.min_version, status.max_lag, status.failovers), (Some(12), Some(5), Some(3)));
    assert!(is_true(&status.conditions, READY) && is_true(&status.conditions, ISOLATED));
    assert!(!is_true(&status.conditions, CONNECTED) && !is_true(&status.conditions, SYNCED));
}

#[tokio::test]
async fn another_history_and_a_lost_one_are_a_condition_and_an_event() {
    let mut scene = Scene::new(|_| None);
    let with = |name: &str, more: Value| {
        let mut report = report(name, "HeartbeatMonitoring", "n0", 17, 0);
        report.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        report
    };
    let refused = json!({"refused": "n1", "refusal": "blueprint a has another published_by"});
    let steps = [
        (json!({}), "True", "Intact"),
        (refused.clone(), "False", "RegisterRefused"),
        (json!({"ahead": 3, "lag": null}), "False", "AheadOfCentralNode"),
        (json!({}), "True", "Intact"),
    ];
    let (mut before, mut told) = (Vec::new(), Vec::new());
    for (more, state, reason) in steps {
        let edge = with_reports(peer("edge", 2), &[with("edge-0", json!({})), with("edge-1", more)]);
        settle_in(&mut scene.writers, &edge);
        let status = status_of(&scene, &edge);
        let found = status.conditions.iter().find(|c| c.type_ == HISTORY_INTACT).expect("a condition");
        assert_eq!((found.status.as_str(), found.reason.as_str()), (state, reason));
        assert_eq!(is_true(&status.conditions, SYNCED), reason != "AheadOfCentralNode");
        let events = crate::events::transitions(&before, &status.conditions, false).events;
        let intact = events.into_iter().filter(|event| event.reason != "Serving" && event.reason != "Behind");
        told.extend(intact.map(|event| (event.reason, format!("{:?}", event.type_))));
        before = status.conditions;
    }
    let told: Vec<_> = told.iter().map(|(reason, kind)| (reason.as_str(), kind.as_str())).collect();
    assert_eq!(
        told,
        [("RegisterRefused", "Warning"), ("AheadOfCentralNode", "Warning"), ("Intact", "Normal")]
    );
}

#[tokio::test]
async fn what_a_dead_pod_said_last_is_no_state() {
    let mut scene = Scene::new(|_| None);
    let peer = with_reports(peer("edge", 1), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0)]);
    let set = desired::desired(&peer, IMAGE, "IfNotPresent").stateful_set;
    put(&mut scene.writers.stateful_sets, set);
    let status = status_of(&scene, &peer);
    assert_eq!(status.state.as_deref(), Some("Down"));
    assert_eq!((status.connected, status.central), (Some(0), None));
}

#[tokio::test]
async fn freshness_alone_is_written_every_other_minute() {
    let at = |text: &str| SorchaPeerStatus {
        fresh_as_of: Some(serde_json::from_value(json!(text)).expect("a time")),
        ..SorchaPeerStatus::default()
    };
    let before = at("2026-11-22T10:00:00Z");
    assert!(!status::differs(&before, &at("2026-11-22T10:01:40Z")));
    assert!(status::differs(&before, &at("2026-11-22T10:02:00Z")));
    let changed = SorchaPeerStatus { connected: Some(1), ..at("2026-11-22T10:00:01Z") };
    assert!(status::differs(&before, &changed));
}

/// Reports of pods that were scaled away, or never were, leave the status, whatever name they were written under; unless the
/// status has changed since it was looked at.
#[tokio::test]
async fn reports_of_pods_that_do_not_exist_are_removed() {
    let mut scene = Scene::new(|_| None);
    let names = ["edge-0", "edge-4", "edge-00", "edge--1", "edge-99999999999", "other-0", "theirs"];
    let nodes = names.map(|name| report(name, "HeartbeatMonitoring", "n0", 1, 0));
    let edge = with_reports(peer("edge", 1), &nodes);
    settle_in(&mut scene.writers, &edge);
    reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    let removal = calls.iter().find(|call| call.body["status"]["nodes"].is_array()).expect("a removal");
    let kept: Vec<_> = removal.body["status"]["nodes"].as_array().expect("reports").iter().collect();
    assert_eq!((kept.len(), &kept[0]["name"]), (1, &json!("edge-0")));
    assert_eq!(removal.body["metadata"], json!({"uid": "uid-edge", "resourceVersion": "5"}));
}

#[tokio::test]
async fn pods_of_others_with_the_names_of_ours_do_not_count() {
    let mut scene = Scene::new(|_| None);
    let edge = with_reports(peer("edge", 1), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0)]);
    put(&mut scene.writers.pods, pod("edge-0", "peer", "other", true));
    put(&mut scene.writers.pods, pod("stranger", "peer", "edge", true));
    let status = status_of(&scene, &edge);
    assert_eq!((status.ready_replicas, status.state.as_deref()), (Some(0), Some("Down")));
}

#[tokio::test]
async fn what_a_peer_says_that_can_not_be_true_is_told_and_does_not_count() {
    let mut scene = Scene::new(|_| None);
    let lie = json!({"name": "edge-1", "state": "HeartbeatMonitoring", "version": i64::MAX, "lag": 0, "failovers": i64::MAX});
    let edge = with_reports(peer("edge", 2), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0), lie]);
    settle_in(&mut scene.writers, &edge);
    let mut central = crate::fixtures::central("n0", 0);
    let ready = json!({"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"});
    central.status = serde_json::from_value(
        json!({"node": {"name": "n0-0", "version": 17}, "version": 17, "conditions": [ready]}),
    )
    .expect("a status");
    put(&mut scene.writers.central_nodes, central);
    let status = status_of(&scene, &edge);
    assert_eq!(status.min_version, None, "what one of them holds is not known");
    let synced = status.conditions.iter().find(|condition| condition.type_ == SYNCED).expect("a condition");
    assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("False", "ImplausibleReport"));
    assert!(
        synced.message.contains("edge-1") && synced.message.contains(&i64::MAX.to_string()),
        "{}",
        synced.message
    );
}

/// The authority of one listed central node is trusted for that one only: it is in a file of its own, and in no bundle.
#[test]
fn the_authority_of_one_central_node_is_mounted_for_it_alone() {
    let spec = json!({"replicas": 1, "centralNodes": [
        {"host": "n0.shop.svc"}, {"host": "n1.far.example", "priority": 1, "caSecretRef": {"name": "far-ca"}},
    ]});
    let edge = crate::fixtures::peer_with("edge", &spec);
    let objects = desired::desired(&edge, IMAGE, "IfNotPresent");
    let config = objects.config_map.data.expect("data").remove("sorcha.toml").expect("a file");
    let (own, far) = config.split_once("n1.far.example").expect("both");
    assert_eq!(config.matches("/etc/sorcha/authorities/1.crt").count(), 1, "{config}");
    assert!((own.to_owned() + far).contains("ca_file"), "{config}");
    let spec = json!(objects.stateful_set.spec)["template"]["spec"].clone();
    let volume =
        spec["volumes"].as_array().expect("volumes").iter().find(|volume| volume["name"] == "authorities");
    let source = &volume.expect("the volume")["projected"]["sources"][0]["secret"];
    assert_eq!(source, &json!({"name": "far-ca", "items": [{"key": "ca.crt", "path": "1.crt"}]}));
    let holder = crate::pki::holder::Holder::peer(&edge);
    assert!(
        holder.trust.is_empty() && holder.listed.len() == 1,
        "it is in the bundle for all: {:?}",
        holder.trust
    );
    assert!(
        !json!(desired::desired(&peer("edge", 1), IMAGE, "IfNotPresent").stateful_set)
            .to_string()
            .contains("authorities")
    );
}

/// An Event says which peer moved, and from where to where.
#[tokio::test]
async fn a_move_is_told_with_who_moved_from_where_to_where() {
    let mut scene = Scene::new(|_| None);
    let at = |central: &str, failovers: i64| {
        let mut report = report("edge-0", "HeartbeatMonitoring", central, 17, 0);
        report["failovers"] = failovers.into();
        with_reports(peer("edge", 1), &[report])
    };
    settle_in(&mut scene.writers, &peer("edge", 1));
    for edge in [at("n0", 0), at("n1", 1)] {
        reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    }
    let told: Vec<_> = scene
        .take_calls()
        .iter()
        .filter(|call| call.path.contains("/events") && call.body["reason"] == "FailedOver")
        .map(|call| call.body["note"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(told, ["edge-0 moved from n0 to n1 (n0 is deleted)"]);
}

/// A peer whose heartbeats go on while nothing is replicated is not in step, whatever its lag says.
#[tokio::test]
async fn a_peer_whose_replication_is_over_is_not_synced() {
    let mut scene = Scene::new(|_| None);
    let mut failing = report("edge-1", "HeartbeatMonitoring", "n0", 17, 0);
    failing["replicationFault"] = "the pull died: it panicked".into();
    let peer =
        with_reports(peer("edge", 2), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0), failing]);
    settle_in(&mut scene.writers, &peer);
    let status = status_of(&scene, &peer);
    assert!(is_true(&status.conditions, CONNECTED));
    let synced = status.conditions.iter().find(|condition| condition.type_ == SYNCED).expect("a condition");
    assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("False", "ReplicationFailed"));
    assert_eq!(synced.message, "edge-1: the pull died: it panicked");
}
