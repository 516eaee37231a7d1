//! A central node that is suspended, with a spec that changes meanwhile.

use std::sync::Arc;

use serde_json::{Value, json};
use sorcha_crds::SorchaCentralNode;

use super::{running, secret};
use crate::{
    fixtures::{Scene, central, condition, put, writes},
    reconcile::reconcile,
};

/// One that runs, suspended; then its spec is changed.
fn changed(scene: &mut Scene, name: &str) -> SorchaCentralNode {
    let mut node = central(name, 0);
    running(scene, &node, true);
    node.metadata.generation = Some(2);
    node.spec.suspend = true;
    (node.spec.priority, node.spec.image) = (7, Some("localhost/other:1".to_owned()));
    node.spec.log.filter = "debug".to_owned();
    put(&mut scene.writers.central_nodes, node.clone());
    node
}

/// Status and reason of a condition.
fn told(status: &Value, type_: &str) -> String {
    let condition = condition(status, type_);
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    format!("{} {}", text("status"), text("reason"))
}

/// Conversation: nothing of the new spec is applied, not even a certificate, and the status tells how that stands which runs.
/// Then all of it is.
#[tokio::test]
async fn nothing_of_a_changed_spec_is_applied_before_it_goes_on() {
    let mut scene = Scene::new(secret);
    let mut node = changed(&mut scene, "n0");
    reconcile(Arc::new(node.clone()), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    assert_eq!(writes(&calls), ["PATCH sorchacentralnodes/n0/status"]);
    let status = &calls.last().expect("a status").body["status"];
    assert_eq!(status["observedGeneration"], 2);
    let conditions = ["Paused", "Ready", "Progressing"].map(|type_| told(status, type_));
    assert_eq!(conditions, ["True Suspended", "True Serving", "False Suspended"]);

    node.spec.suspend = false;
    put(&mut scene.writers.central_nodes, node.clone());
    reconcile(Arc::new(node), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    let set = calls.iter().find(|call| call.method == "PATCH" && call.path.ends_with("/statefulsets/n0"));
    let container = &set.expect("its pod").body["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "localhost/other:1");
    assert_eq!(told(&calls.last().expect("a status").body["status"], "Paused"), "False Reconciling");
}

/// Conversation: another central node of the network is looked at, and what they share follows.
#[tokio::test]
async fn what_it_shares_with_others_follows_its_spec() {
    let mut scene = Scene::new(secret);
    let other = central("n1", 1);
    running(&mut scene, &other, true);
    changed(&mut scene, "n0");
    reconcile(Arc::new(other), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    assert!(writes(&calls).iter().all(|path| !path.ends_with("/n0") && !path.contains("/n0/")), "{calls:#?}");
    let map = calls.iter().find(|call| {
        call.method == "PATCH" && call.path.ends_with("/configmaps/sorcha-central-nodes.sorcha.dev")
    });
    let text =
        map.expect("endpoints").body["data"]["central-nodes.json"].as_str().expect("a file").to_owned();
    let endpoints: Value = serde_json::from_str(&text).expect("JSON");
    let order: Vec<_> = endpoints["central_nodes"]
        .as_array()
        .expect("endpoints")
        .iter()
        .map(|endpoint| (endpoint["id"].clone(), endpoint["priority"].clone()))
        .collect();
    assert_eq!(order, [(json!("n1"), json!(1)), (json!("n0"), json!(7))]);
}
