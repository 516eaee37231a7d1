//! What a changed spec does to pods that run, suspended or not.

use std::sync::Arc;

use serde_json::json;
use sorcha_crds::SorchaPeer;

use super::settle_in;
use crate::{
    fixtures::{IMAGE, Scene, condition, peer, peer_with, put, writes},
    peer::desired,
    reconcile::reconcile,
};

/// Conversation: nothing of the new spec is applied, not even a certificate, and the status tells how that stands which runs.
/// Then all of it is.
#[tokio::test]
async fn nothing_of_a_changed_spec_is_applied_before_suspended_peers_go_on() {
    let mut scene = Scene::new(|_| None);
    let mut edge = peer("edge", 1);
    settle_in(&mut scene.writers, &edge);
    edge.metadata.generation = Some(2);
    (edge.spec.suspend, edge.spec.replicas) = (true, 3);
    (edge.spec.sync.push, edge.spec.force_resync) = (false, Some("today".to_owned()));
    reconcile(Arc::new(edge.clone()), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    assert_eq!(writes(&calls), ["PATCH sorchapeers/edge/status"]);
    let status = &calls.last().expect("a status").body["status"];
    assert_eq!((&status["observedGeneration"], &status["ready"]), (&json!(2), &json!("1/3")));
    assert_eq!(condition(status, "Paused")["status"], "True");

    edge.spec.suspend = false;
    put(&mut scene.writers.peers, edge.clone());
    reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    let body = |path: &str| {
        let call = calls.iter().find(|call| call.method == "PATCH" && call.path.ends_with(path));
        call.expect("a write").body.clone()
    };
    assert_eq!(body("/statefulsets/edge")["spec"]["replicas"], 3);
    assert_eq!(body("/configmaps/edge")["data"]["force-resync"], "today");
}

fn pods(edge: &SorchaPeer) -> serde_json::Value {
    json!(desired::desired(edge, IMAGE, "IfNotPresent").stateful_set)
}

/// Pods read endpoints and requests for a resync again; a setting is read at the start.
#[test]
fn a_setting_restarts_pods_and_a_resync_does_not() {
    let before = pods(&peer("edge", 1));
    let resync = peer_with("edge", &json!({"replicas": 1, "forceResync": "today"}));
    assert_eq!(pods(&resync), before);
    let map = desired::desired(&resync, IMAGE, "IfNotPresent").config_map;
    assert_eq!(map.data.expect("data")["force-resync"], "today");
    // Of endpoints the pods know where they are mounted, and not what they are.
    assert!(
        before.to_string().contains("sorcha-central-nodes.sorcha.dev")
            && !before.to_string().contains("5000")
    );
    for setting in [
        json!({"sync": {"push": false}}),
        json!({"heartbeat": {"maxMissed": 3}}),
        json!({"log": {"filter": "debug"}}),
        json!({"failback": "AfterStable"}),
    ] {
        assert_ne!(
            pods(&peer_with("edge", &setting))["spec"]["template"],
            before["spec"]["template"],
            "{setting}"
        );
    }
}
