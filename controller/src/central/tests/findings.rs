//! What a central node reports of itself shows in its status.

use std::sync::Arc;

use serde_json::{Value, json};
use sorcha_crds::{
    SorchaCentralNodeStatus,
    conditions::{CONVERGED, READY, REGISTER_VALID, STORE_REACHABLE},
};

use super::{healthy, reported, running, secret, status_of};
use crate::{
    fixtures::{Scene, central, put},
    reconcile::reconcile,
};

/// The status of a central node that reports this beside what a healthy one does.
fn told(more: &Value, ready: bool) -> SorchaCentralNodeStatus {
    let mut scene = Scene::new(|_| None);
    let mut report = healthy("n0-0", &"a".repeat(64));
    report.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let node = reported(central("n0", 0), &report);
    running(&mut scene, &node, ready);
    status_of(&scene, &node)
}

/// Status and reason of a condition, and its message.
fn condition(status: &SorchaCentralNodeStatus, type_: &str) -> (String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_).expect("a condition");
    (format!("{} {}", found.status, found.reason), found.message.clone())
}

#[tokio::test]
async fn what_is_wrong_with_a_register_is_told_the_gravest_first() {
    let damaged = json!({"findings": 2, "message": "version 7 of blueprint a"});
    let contradicted = json!({"refusal": "version 9 rewrites blueprint b", "findings": 2});
    let lost = |fault: &str| json!({"registerFault": fault, "message": "lineage cd34", "refusal": "x", "findings": 2});
    for (more, expected, parts) in [
        (json!({}), "True Verified", vec!["every stored byte was checked"]),
        (json!({"findings": null}), "Unknown NoReport", vec!["not checked yet"]),
        (damaged, "False Damaged", vec!["2 findings", "version 7 of blueprint a", "register restore"]),
        (
            contradicted,
            "False Contradicted",
            vec!["version 9 rewrites blueprint b", "does not serve that", "publications are refused"],
        ),
        (lost("RegisterLost"), "False RegisterLost", vec!["lineage cd34"]),
        (lost("RegisterExchanged"), "False RegisterExchanged", vec!["lineage cd34"]),
        (lost("RegisterRolledBack"), "False RegisterRolledBack", vec!["lineage cd34"]),
        (lost("Whatever"), "False RegisterExchanged", vec!["lineage cd34"]),
    ] {
        let (found, message) = condition(&told(&more, true), REGISTER_VALID);
        assert_eq!(found, expected, "{more}");
        assert!(parts.iter().all(|part| message.contains(part)), "{more}: {message}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_before_the_start_and_after_it() {
    let away =
        |state: &str| json!({"state": state, "storeReachable": false, "storeMessage": "db:27017 refused"});
    let status = told(&away("Degraded"), true);
    let (found, message) = condition(&status, STORE_REACHABLE);
    assert_eq!((found.as_str(), condition(&status, READY).0.as_str()), ("False Unreachable", "True Serving"));
    for part in ["publications are refused", "peers are served from the log", "db:27017 refused"] {
        assert!(message.contains(part), "{message}");
    }
    let status = told(&away("Starting"), false);
    let (found, message) = condition(&status, STORE_REACHABLE);
    assert_eq!(found, "False Unreachable");
    assert!(message.contains("waits for its store") && !message.contains("log"), "{message}");
    let (found, message) = condition(&status, READY);
    assert_eq!((found.as_str(), message.as_str()), ("False StoreUnreachable", "db:27017 refused"));
    assert_eq!(
        condition(&told(&json!({"storeReachable": null}), true), STORE_REACHABLE).0,
        "Unknown NoReport"
    );
}

#[tokio::test]
async fn hashes_are_shown_by_their_first_twelve_digits() {
    let status = told(&json!({"digest": "b".repeat(64)}), true);
    assert_eq!((status.lineage, status.digest), (Some("a".repeat(12)), Some("b".repeat(12))),);
}

#[tokio::test]
async fn what_peers_held_is_remembered_of_one_register_and_follows_the_head_where_there_are_none() {
    let alone = told(&json!({"peers": {"connected": 0, "upToDate": 0}}), true);
    assert_eq!(
        (condition(&alone, CONVERGED).0.as_str(), alone.converged_version),
        ("True Converged", Some(17))
    );
    let behind = json!({"version": 20, "peers": {"connected": 2, "upToDate": 1}});
    for (lineage, reached) in [("a".repeat(12), Some(17)), ("b".repeat(12), None)] {
        let mut scene = Scene::new(|_| None);
        let mut report = healthy("n0-0", &"a".repeat(64));
        report.as_object_mut().expect("an object").extend(behind.as_object().cloned().expect("an object"));
        let mut node = reported(central("n0", 0), &report);
        if let Some(status) = &mut node.status {
            (status.converged_version, status.lineage) = (Some(17), Some(lineage));
        }
        running(&mut scene, &node, true);
        let status = status_of(&scene, &node);
        assert_eq!((status.version, status.converged_version), (Some(20), reached), "{:?}", status.lineage);
    }
}

/// Conversation: the API server fails where something is read, and where something is written.
#[tokio::test]
async fn an_api_server_that_fails_is_told() {
    for (method, part, reason) in
        [("GET", "/secrets/db", "ReadFailed"), ("PATCH", "/statefulsets/n0", "ApplyFailed")]
    {
        let mut scene = Scene::new(move |call| {
            let fault =
                json!({"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd is away"});
            let fails = call.method == method && call.path.ends_with(part);
            if fails { Some((500, fault)) } else { secret(call) }
        });
        let node = central("n0", 0);
        put(&mut scene.writers.central_nodes, node.clone());
        let error = reconcile(Arc::new(node), Arc::clone(&scene.ctx)).await.expect_err("a failure");
        assert_eq!(error.reason(), reason);
        let calls = scene.take_calls();
        let ready = &calls.last().expect("a status").body["status"]["conditions"][0];
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!(reason)));
        assert!(ready["message"].as_str().is_some_and(|told| told.contains("etcd is away")), "{ready}");
    }
}
