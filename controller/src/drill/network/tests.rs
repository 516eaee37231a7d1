use serde_json::{Value, json};

use super::*;

fn replica(name: &str, central: &str, connected: bool, failovers: i64) -> DrillReplica {
    DrillReplica { name: name.into(), central: Some(central.into()), connected, failovers, since: None }
}

fn peer(generation: i64, status: &Value) -> SorchaPeer {
    let peer = json!({
        "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaPeer",
        "metadata": {"name": "edge", "generation": generation}, "spec": {"replicas": 2}, "status": status,
    });
    serde_json::from_value(peer).unwrap()
}

fn network(status: &Value) -> DrillNetwork {
    DrillNetwork::new(Vec::new(), vec![peer(2, status)], "sorcha.dev")
}

#[test]
fn those_of_the_lost_node_need_a_newer_session_the_others_one_at_all() {
    let before = [replica("a", "n0", true, 1), replica("b", "n1", true, 0), replica("c", "n0", true, 0)];
    let now = |a, b, c| not_recovered("n0", false, &before, &[a, b, c]);
    let (moved, stayed) = (replica("a", "n1", true, 2), replica("b", "n1", true, 0));
    let back = replica("c", "n0", true, 1);
    assert_eq!(now(moved.clone(), stayed.clone(), back.clone()), Vec::<String>::new());
    let stale = replica("c", "n0", true, 0);
    assert_eq!(now(moved.clone(), stayed, stale), ["c still reports n0"]);
    let cut_off = replica("b", "n1", false, 0);
    assert_eq!(now(moved, cut_off, back), ["b is not connected"]);
}

#[test]
fn with_one_central_node_a_newer_session_at_the_same_one_counts() {
    let at = |second: i64| DrillReplica {
        since: Some(Timestamp::from_second(second).unwrap()),
        ..replica("a", "n0", true, 0)
    };
    assert_eq!(not_recovered("n0", true, &[at(1)], &[at(2)]), Vec::<String>::new());
    assert_eq!(not_recovered("n0", true, &[at(1)], &[at(1)]), ["a still reports n0"]);
    assert_eq!(not_recovered("n0", false, &[at(1)], &[at(2)]), ["a still reports n0"]);
}

#[test]
fn a_condition_of_an_older_spec_does_not_count() {
    let condition = json!([{"type": "Ready", "status": "True", "reason": "Serving", "message": "",
        "lastTransitionTime": "2026-11-22T10:00:00Z"}]);
    assert_eq!(
        network(&json!({"observedGeneration": 2, "conditions": condition})).not_ready(),
        Vec::<String>::new()
    );
    let old = network(&json!({"observedGeneration": 1, "conditions": condition})).not_ready();
    assert_eq!(old, ["edge was not looked at since its spec changed: does the controller run?"]);
    let not = json!([{"type": "Ready", "status": "False", "reason": "PodMissing", "message": "0 of 2",
        "lastTransitionTime": "2026-11-22T10:00:00Z"}]);
    let not = network(&json!({"observedGeneration": 2, "conditions": not})).not_ready();
    assert_eq!(not, ["edge is not Ready (PodMissing: 0 of 2)"]);
}

#[test]
fn a_version_that_is_not_known_is_not_held() {
    assert_eq!(network(&json!({})).behind(1), ["edge reports no version of all its replicas"]);
    assert_eq!(network(&json!({"minVersion": 4})).behind(5), ["edge reports version 4"]);
    assert_eq!(network(&json!({"minVersion": 5})).behind(5), Vec::<String>::new());
}

#[test]
fn a_replica_without_report_is_not_connected() {
    let nodes = json!([{"name": "edge-0", "state": "Connected", "centralNode": "n0"}]);
    assert_eq!(network(&json!({"nodes": nodes})).not_connected(), ["edge-1 is not connected"]);
}

#[test]
fn a_pod_is_replaced_when_another_one_is_ready() {
    let pod = |uid: &str, ready: &str| -> Pod {
        let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
        serde_json::from_value(json!({"metadata": {"uid": uid}, "status": status})).unwrap()
    };
    assert_eq!(replacement(None, "1").as_deref(), Some("does not exist"));
    assert_eq!(replacement(Some(&pod("1", "True")), "1").as_deref(), Some("is still the old one"));
    assert_eq!(replacement(Some(&pod("2", "False")), "1").as_deref(), Some("is not ready"));
    assert_eq!(replacement(Some(&pod("2", "True")), "1"), None);
}

#[test]
fn waiting_helps_against_outages_only() {
    let refused = |code: u16| {
        let status = json!({"status": "Failure", "code": code, "message": "so"});
        passing::<()>(Err(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))))
    };
    assert_eq!(refused(403).unwrap_err().to_string(), "the API server refuses: so");
    assert_eq!(refused(503).unwrap().unwrap_err(), "the API server says: so");
    assert_eq!(refused(429).unwrap().unwrap_err(), "the API server says: so");
}
