//! What central nodes' pods never get, and budgets that are not wanted.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::json;

use super::secret;
use crate::{
    central::desired,
    config::Settings,
    fixtures::{IMAGE, Scene, assert_confined, central, central_with, every_override, put, settings},
    network::Network,
    reconcile::reconcile,
};

/// What the right to create central nodes gives, and what it does not (docs/security.md).
#[test]
fn no_spec_gives_a_pod_more_than_the_standard_or_the_identity_of_another() {
    let image = "localhost/any:1";
    let mut spec = json!({
        "priority": 0, "image": image, "pod": every_override(), "store": {"embedded": {}},
        "tls": {"mode": "Secret", "secretName": "any-tls"},
        "publishers": {"tokensSecretRef": {"name": "any-tokens", "key": "k"}},
        "backup": {"schedule": "@daily", "claimName": "any-claim"},
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}, "advertise": {"host": "any.example.org"}},
    });
    let objects = desired::desired(&central_with("n0", &spec), IMAGE, "IfNotPresent", true);
    let pod = |template: PodTemplateSpec| template.spec.expect("a pod");
    let node = objects.stateful_set.spec.expect("a spec").template;
    let labels = node.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    assert_eq!(labels["app.kubernetes.io/component"], "central-node", "the controller's labels win");
    assert_confined(&pod(node), Some("n0"));
    let job = objects.backup.expect("a CronJob").spec.expect("a spec").job_template.spec.expect("a Job");
    assert_confined(&pod(job.template), None);
    spec["store"] = json!({"mongodb": {"managed": {"image": image}}});
    let network = Network::new("sorcha.dev", "shop", vec![Arc::new(central_with("n0", &spec))]);
    let server = desired::shared(&settings(), &network, |_| None).mongodb.expect("a server");
    assert_confined(&pod(server.stateful_set.spec.expect("a spec").template), None);
}

#[tokio::test]
async fn central_nodes_of_a_cluster_of_one_machine_have_no_budget() {
    let without = Settings { disruption_budgets: false, ..settings() };
    let mut scene = Scene::with(without.clone(), secret);
    let node = Arc::new(central("n0", 0));
    put(&mut scene.writers.central_nodes, (*node).clone());
    let network = Network::new("sorcha.dev", "shop", vec![Arc::clone(&node)]);
    let made = desired::shared(&settings(), &network, |_| None).budget.expect("a budget");
    put(&mut scene.writers.budgets, made);
    assert_eq!(desired::shared(&without, &network, |_| None).budget, None);
    reconcile(node, Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    let budgets: Vec<_> = calls.iter().filter(|call| call.path.contains("/poddisruptionbudgets/")).collect();
    assert_eq!(budgets.iter().map(|call| call.method.as_str()).collect::<Vec<_>>(), ["DELETE"]);
}
