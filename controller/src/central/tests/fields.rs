//! What a spec says of a central node reaches its pod.

use std::sync::Arc;

use serde_json::json;

use crate::{
    central::desired,
    fixtures::{IMAGE, Scene, assert_configured, assert_overridden, central_with, every_override, put},
    reconcile::reconcile,
};

#[test]
fn every_field_of_the_spec_that_concerns_the_node_reaches_it() {
    let spec = json!({
        "store": {"embedded": {"storage": {"size": "7Gi", "className": "fast"}}}, "pod": every_override(),
        "imagePullPolicy": "Always",
        "limits": {"maxPeers": 20_001, "maxConcurrentFullSyncs": 4, "pushWindow": 5},
        "drain": {"spread": "4s", "timeout": "17s"},
        "heartbeat": {"interval": "11s", "timeout": "12s", "maxMissed": 7},
        "log": {"filter": "debug", "format": "Human"}, "telemetry": {"otlpEndpoint": "http://collector:4317"},
        "resources": {"limits": {"memory": "2Gi"}},
        "backup": {"schedule": "@daily", "claimName": "claim", "keep": 3},
        "service": {"type": "LoadBalancer", "loadBalancerClass": "class", "annotations": {"c": "d"}},
    });
    let objects = desired::desired(&central_with("n0", &spec), IMAGE, "IfNotPresent", true);
    assert_configured(
        &objects.config_map,
        &[
            "max_peers = 20001",
            "max_connections = 30001",
            "max_concurrent_full_syncs = 4",
            "push_window = 5",
            "spread = \"4s\"",
            "timeout = \"17s\"",
            "interval = \"11s\"",
            "timeout = \"12s\"",
            "max_missed = 7",
            "filter = \"debug\"",
            "format = \"human\"",
            "otlp_endpoint = \"http://collector:4317\"",
        ],
    );
    let set = objects.stateful_set.spec.expect("a spec");
    assert_overridden(&set.template);
    let claims = serde_json::to_value(&set.volume_claim_templates).expect("claims");
    assert_eq!(claims[0]["spec"]["storageClassName"], "fast");
    assert_eq!(claims[0]["spec"]["resources"]["requests"]["storage"], "7Gi");
    let pod = set.template.spec.expect("a pod");
    assert_eq!(pod.termination_grace_period_seconds, Some(32), "15 s more than the drain");
    let container = serde_json::to_value(&pod.containers[0]).expect("a container");
    assert_eq!(
        (&container["imagePullPolicy"], &container["resources"]["limits"]["memory"]),
        (&json!("Always"), &json!("2Gi"))
    );
    let rest = serde_json::to_string(&(objects.backup, objects.service)).expect("objects");
    for part in ["\"loadBalancerClass\":\"class\"", "\"c\":\"d\"", "--keep", "\"3\""] {
        assert!(rest.contains(part), "{part} is not in {rest}");
    }
    assert!(!rest.contains("timeZone"), "unset: that of the cluster's controllers");
}

/// Conversation: an annotation would change how the container is confined; nothing is made, and it is told.
#[tokio::test]
async fn an_annotation_that_changes_the_confinement_makes_no_pod() {
    let mut scene = Scene::new(|_| None);
    let annotation = json!({"devices.crio.io": "/dev/kvm"});
    let node = central_with("n0", &json!({"store": {"embedded": {}}, "pod": {"annotations": annotation}}));
    put(&mut scene.writers.central_nodes, node.clone());
    let error = reconcile(Arc::new(node), Arc::clone(&scene.ctx)).await.expect_err("refused");
    assert!(error.reason() == "InvalidSpec" && error.to_string().contains("devices.crio.io"), "{error}");
    assert!(!scene.take_calls().iter().any(|call| call.path.contains("statefulsets")));
}
