//! What peers' pods never get, and a budget that is not wanted.

use std::sync::Arc;

use serde_json::json;

use crate::{
    config::Settings,
    fixtures::{IMAGE, Scene, assert_confined, every_override, peer, peer_with, put, settings, writes},
    peer::desired,
    reconcile::reconcile,
};

/// What the right to create peers gives, and what it does not (docs/security.md).
#[test]
fn no_spec_gives_a_pod_more_than_the_standard_or_the_identity_of_another() {
    let spec = json!({
        "replicas": 2, "image": "localhost/any:1", "pod": every_override(),
        "store": {"mongodb": {"uriSecretRef": {"name": "any", "key": "k"}}},
        "tls": {"mode": "Secret", "secretName": "any-tls"},
        "centralNodes": [{"host": "any.example.org", "caSecretRef": {"name": "any-ca"}}],
    });
    let set = desired::desired(&peer_with("edge", &spec), IMAGE, "IfNotPresent").stateful_set;
    assert_confined(&set.spec.and_then(|spec| spec.template.spec).expect("a pod"), Some("edge"));
}

/// Conversation: on a cluster of one machine no budget keeps it from being drained, not even one that was made before.
#[tokio::test]
async fn a_cluster_of_one_machine_can_be_drained() {
    let settings = Settings { disruption_budgets: false, ..settings() };
    let mut scene = Scene::with(settings, |_| None);
    let edge = Arc::new(peer("edge", 2));
    let made = desired::desired(&edge, IMAGE, "IfNotPresent").budget.expect("a budget");
    put(&mut scene.writers.budgets, made);
    reconcile(edge, Arc::clone(&scene.ctx)).await.expect("reconciled");
    let budgets: Vec<_> =
        writes(&scene.take_calls()).into_iter().filter(|call| call.contains("budget")).collect();
    assert_eq!(budgets, ["DELETE poddisruptionbudgets/edge"]);
}
