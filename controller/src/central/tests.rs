mod bounds;
mod fields;
mod findings;
mod managed;
mod neighbours;
mod paused;
mod publishing;

use std::sync::Arc;

use serde_json::{Value, json};
use sorcha_crds::{
    SorchaCentralNode, SorchaCentralNodeStatus,
    conditions::{CONVERGED, READY, REGISTER_VALID, STORE_REACHABLE, is_true},
};

use super::desired;
use crate::{
    fixtures::{Call, IMAGE, Scene, central, central_with, pod, put, settings, settle},
    network::{self, Contradiction, Network},
    reconcile::{Pipeline as _, Progress, reconcile},
    reviews::State,
};

fn secret(call: &Call) -> Option<(u16, Value)> {
    let found =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"uri": "eA=="}});
    call.path.ends_with("/secrets/db").then_some((200, found))
}

fn reported(mut node: SorchaCentralNode, report: &Value) -> SorchaCentralNode {
    node.status = Some(serde_json::from_value(json!({"node": report})).expect("a status"));
    node
}

fn running(scene: &mut Scene, node: &SorchaCentralNode, ready: bool) {
    let name = node.metadata.name.clone().unwrap_or_default();
    let mut set = desired::desired(node, IMAGE, "IfNotPresent", true).stateful_set;
    settle(&mut set);
    if !ready && let Some(status) = &mut set.status {
        status.ready_replicas = Some(0);
    }
    let hash = crate::apply::hash_of(&set_without_status(&set)).expect("a hash");
    set.metadata.annotations = Some([(crate::apply::HASH_ANNOTATION.to_owned(), hash)].into());
    put(&mut scene.writers.stateful_sets, set);
    put(&mut scene.writers.pods, pod(&format!("{name}-0"), "central-node", &name, ready));
    put(&mut scene.writers.central_nodes, node.clone());
}

fn set_without_status(
    set: &k8s_openapi::api::apps::v1::StatefulSet,
) -> k8s_openapi::api::apps::v1::StatefulSet {
    let mut set = set.clone();
    set.status = None;
    set.metadata.generation = None;
    set
}

fn status_of(scene: &Scene, node: &SorchaCentralNode) -> SorchaCentralNodeStatus {
    let now = serde_json::from_value(json!("2026-11-22T10:05:00Z")).expect("a time");
    node.summarise(&node.observe(&scene.ctx), &Ok(Progress::Applied), &now).expect("a status")
}

#[test]
fn desired_objects() {
    let objects = desired::desired(&central("n0", 0), IMAGE, "IfNotPresent", true);
    let values = [
        json!(objects.role),
        json!(objects.config_map),
        json!(objects.service),
        json!(objects.network_policy),
        json!(objects.stateful_set),
    ];
    insta::assert_yaml_snapshot!(values);
}

#[test]
fn scheduled_backups() {
    let spec = json!({
        "priority": 0, "store": {"embedded": {}},
        "backup": {"schedule": "17 3 * * *", "timeZone": "Europe/Vienna", "claimName": "register-backups"},
    });
    let objects = desired::desired(&central_with("n0", &spec), IMAGE, "IfNotPresent", true);
    insta::assert_yaml_snapshot!(json!(objects.backup.expect("a CronJob")));
    assert!(desired::desired(&central("n0", 0), IMAGE, "IfNotPresent", true).backup.is_none());
}

#[test]
fn objects_that_a_network_shares() {
    let managed = json!({"priority": 0, "store": {"mongodb": {"managed": {}}}});
    let nodes = vec![Arc::new(central_with("n1", &managed)), Arc::new(central_with("n0", &managed))];
    let shared = desired::shared(&settings(), &Network::new("sorcha.dev", "shop", nodes), |_| None);
    let server = shared.mongodb.expect("a server");
    let values = [
        json!(shared.config_map),
        json!(shared.budget),
        json!(server.service),
        json!(server.network_policy),
        json!(server.stateful_set),
    ];
    insta::assert_yaml_snapshot!(values);
}

#[tokio::test]
async fn converged_when_every_connected_peer_holds_the_newest_version() {
    let mut scene = Scene::new(|_| None);
    let report = |up_to_date: i64| {
        json!({
            "name": "n0-0", "state": "Healthy", "since": "2026-11-22T10:00:00Z", "version": 17, "lineage": "l", "digest": "d",
            "peers": {"connected": 5, "upToDate": up_to_date}, "storeReachable": true, "findings": 0,
        })
    };
    let behind = reported(central("n0", 0), &report(4));
    running(&mut scene, &behind, true);
    let status = status_of(&scene, &behind);
    assert!(is_true(&status.conditions, READY) && is_true(&status.conditions, STORE_REACHABLE));
    assert!(!is_true(&status.conditions, CONVERGED));
    assert_eq!((status.version, status.converged_version), (Some(17), None));
    let status = status_of(&scene, &reported(central("n0", 0), &report(5)));
    assert!(is_true(&status.conditions, CONVERGED));
    assert_eq!(status.converged_version, Some(17));
    let mut lagging = report(4);
    lagging["peers"]["lagging"] = 1.into();
    let status = status_of(&scene, &reported(central("n0", 0), &lagging));
    let converged =
        status.conditions.iter().find(|condition| condition.type_ == CONVERGED).expect("a condition");
    assert_eq!((converged.status.as_str(), converged.reason.as_str()), ("False", "PeersLagging"));
    assert!(converged.message.contains("1 have been behind for too long"), "{}", converged.message);
}

#[tokio::test]
async fn a_node_that_does_not_run_has_no_peers() {
    let scene = Scene::new(|_| None);
    let report =
        json!({"name": "n0-0", "state": "Healthy", "version": 17, "peers": {"connected": 5, "upToDate": 5}});
    let status = status_of(&scene, &reported(central("n0", 0), &report));
    assert_eq!(status.peers.map(|peers| peers.connected), Some(0));
    assert!(!is_true(&status.conditions, CONVERGED) && !is_true(&status.conditions, READY));
    assert_eq!(status.version, Some(17), "the register is where it was");
}

/// Conversation: a Secret is missing: no pod is made, the status names Secret, key and remedy.
#[tokio::test]
async fn a_missing_secret_is_told() {
    let mut scene = Scene::new(|call| {
        let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": "no"});
        call.path.contains("/secrets/").then_some((404, missing))
    });
    let node = central("n0", 0);
    put(&mut scene.writers.central_nodes, node.clone());
    let error = reconcile(Arc::new(node), Arc::clone(&scene.ctx)).await.expect_err("missing");
    assert_eq!(error.reason(), "SecretNotFound");
    let calls = scene.take_calls();
    assert!(!calls.iter().any(|call| call.path.contains("statefulsets")));
    let told = calls.last().expect("a status").body["status"]["conditions"][0]["message"].clone();
    assert_eq!(told, "Secret db has no key uri, or does not exist: create it in namespace shop");
}

#[test]
fn advertised_addresses_follow_the_service() {
    let service = |value: Value| Some(serde_json::from_value(value).expect("a service"));
    let spec = |service: Value| json!({"store": {"embedded": {}}, "service": service});
    let address = |spec: &Value, service: Option<k8s_openapi::api::core::v1::Service>| {
        network::external(&central_with("n0", spec), "shop", service.as_ref())
            .map(|endpoint| endpoint.address())
    };
    let inside = spec(json!({}));
    assert_eq!(address(&inside, None).as_deref(), Some("n0.shop.svc:5000"));
    let balanced = spec(json!({"type": "LoadBalancer"}));
    assert_eq!(address(&balanced, service(json!({"metadata": {}}))), None, "no address yet");
    let with_address =
        |ip: &str| service(json!({"metadata": {}, "status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}));
    assert_eq!(address(&balanced, with_address("192.0.2.7")).as_deref(), Some("192.0.2.7:5000"));
    assert_eq!(address(&balanced, with_address("2001:db8::7")).as_deref(), Some("[2001:db8::7]:5000"));
    let on_nodes = spec(json!({"type": "NodePort", "advertise": {"host": "edge.example"}}));
    let node_port = service(
        json!({"metadata": {}, "spec": {"ports": [{"name": "grpc", "port": 5000, "nodePort": 31000}]}}),
    );
    assert_eq!(address(&on_nodes, node_port).as_deref(), Some("edge.example:31000"));
}

fn healthy(pod: &str, lineage: &str) -> Value {
    json!({
        "name": pod, "state": "Healthy", "since": "2026-11-22T10:00:00Z", "version": 17, "lineage": lineage, "digest": "d",
        "peers": {"connected": 0, "upToDate": 0}, "storeReachable": true, "findings": 0,
    })
}

fn bounded_report(version: i64) -> Value {
    json!({
        "name": "n0-0", "state": "Healthy", "since": "2026-11-22T10:00:00Z", "version": version, "lineage": "l", "digest": "d",
        "peers": {"connected": 2, "upToDate": 2}, "storeReachable": true, "findings": 0,
    })
}

#[tokio::test]
async fn a_version_that_no_register_has_does_not_stick() {
    let mut scene = Scene::new(|_| None);
    let lie = reported(central("n0", 0), &bounded_report(i64::MAX));
    running(&mut scene, &lie, true);
    let status = status_of(&scene, &lie);
    let converged = status.conditions.iter().find(|c| c.type_ == CONVERGED).expect("a condition");
    assert_eq!((converged.status.as_str(), converged.reason.as_str()), ("Unknown", "ImplausibleReport"));
    assert_eq!(status.converged_version, None);
    // One that was believed once, or was written by the node itself, goes with the next report.
    let mut honest = reported(central("n0", 0), &bounded_report(17));
    if let Some(status) = &mut honest.status {
        (status.converged_version, status.lineage) = (Some(i64::MAX), Some("l".into()));
    }
    let status = status_of(&scene, &honest);
    assert_eq!((status.version, status.converged_version), (Some(17), Some(17)));
}

#[tokio::test]
async fn a_database_that_lost_its_register_makes_it_invalid() {
    let mut scene = Scene::new(|_| None);
    let mut report = healthy("n0-0", "l");
    (report["state"], report["registerFault"]) = ("Unhealthy".into(), "RegisterLost".into());
    report["message"] = "no genesis record instead of lineage ab12".into();
    let node = reported(central("n0", 0), &report);
    running(&mut scene, &node, false);
    let status = status_of(&scene, &node);
    let valid = status.conditions.iter().find(|c| c.type_ == REGISTER_VALID).expect("a condition");
    assert_eq!((valid.status.as_str(), valid.reason.as_str()), ("False", "RegisterLost"));
    assert_eq!(valid.message, "no genesis record instead of lineage ab12");
    assert!(!is_true(&status.conditions, READY) && is_true(&status.conditions, STORE_REACHABLE));
}
