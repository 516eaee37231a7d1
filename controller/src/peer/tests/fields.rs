//! What a spec says of peers reaches their pods.

use std::sync::Arc;

use serde_json::json;

use crate::{
    fixtures::{IMAGE, Scene, assert_configured, assert_overridden, every_override, peer_with, put},
    peer::desired,
    reconcile::reconcile,
};

#[test]
fn every_setting_of_the_spec_reaches_the_peers() {
    let spec = json!({
        "replicas": 2,
        "sync": {"interval": "7m", "push": false, "maxStaleness": {"after": "9m", "policy": "RefuseReads"}},
        "heartbeat": {"interval": "11s", "timeout": "12s", "maxMissed": 7}, "failback": "AfterStable",
        "log": {"filter": "debug", "format": "Human"}, "telemetry": {"otlpEndpoint": "http://collector:4317"},
        "centralNodes": [{"host": "n7.example.org", "port": 5001, "priority": 3}],
    });
    let objects = desired::desired(&peer_with("edge", &spec), IMAGE, "IfNotPresent");
    assert_configured(
        &objects.config_map,
        &[
            "interval = \"7m\"",
            "push = false",
            "after = \"9m\"",
            "refuse_reads = true",
            "interval = \"11s\"",
            "timeout = \"12s\"",
            "max_missed = 7",
            "failback_after = \"10m\"",
            "filter = \"debug\"",
            "format = \"human\"",
            "otlp_endpoint = \"http://collector:4317\"",
            "host = \"n7.example.org\"",
            "id = \"n7.example.org\"",
            "port = 5001",
            "priority = 3",
        ],
    );
}

#[test]
fn every_other_field_of_the_spec_reaches_the_pods_or_the_policy() {
    let spec = json!({
        "replicas": 2, "pod": every_override(), "imagePullPolicy": "Always", "resources": {"limits": {"memory": "2Gi"}},
        "store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}, "databasePrefix": "replica-"}},
        "httpFrom": [{"podSelector": {"matchLabels": {"reads": "yes"}}}],
    });
    let objects = desired::desired(&peer_with("edge", &spec), IMAGE, "IfNotPresent");
    let set = objects.stateful_set.spec.expect("a spec");
    assert_overridden(&set.template);
    let container =
        serde_json::to_value(&set.template.spec.expect("a pod").containers[0]).expect("a container");
    assert_eq!(
        (&container["imagePullPolicy"], &container["resources"]["limits"]["memory"]),
        (&json!("Always"), &json!("2Gi"))
    );
    let names: Vec<_> = container["env"]
        .as_array()
        .expect("variables")
        .iter()
        .map(|variable| variable["name"].as_str().unwrap_or_default())
        .collect();
    let place = |name| {
        names.iter().position(|of| *of == name).unwrap_or_else(|| panic!("{name} is not in {names:?}"))
    };
    let database = &container["env"][place("SORCHA_STORE__MONGODB__DATABASE")];
    assert_eq!(database["value"], "replica-$(SORCHA_NODE__ID)", "one database for each");
    assert!(place("SORCHA_NODE__ID") < place("SORCHA_STORE__MONGODB__DATABASE"), "or it would not be put in");
    let policy = serde_json::to_value(&objects.network_policy).expect("a policy");
    let rules = policy["spec"]["ingress"].as_array().expect("rules");
    let of = |port: &str| rules.iter().find(|rule| rule["ports"].to_string().contains(port)).expect("a rule");
    assert_eq!(of("http")["from"][0]["podSelector"]["matchLabels"]["reads"], "yes");
    assert!(of("probes").get("from").is_none(), "kubelets come from anywhere");
}

/// Conversation: an annotation would change how the container is confined; nothing is made, and it is told.
#[tokio::test]
async fn an_annotation_that_changes_the_confinement_makes_no_pod() {
    let mut scene = Scene::new(|_| None);
    let edge =
        peer_with("edge", &json!({"pod": {"annotations": {"seccomp-profile.crio.io/node": "unconfined"}}}));
    put(&mut scene.writers.peers, edge.clone());
    let error = reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect_err("refused");
    assert!(
        error.reason() == "InvalidSpec" && error.to_string().contains("seccomp-profile.crio.io"),
        "{error}"
    );
    assert!(!scene.take_calls().iter().any(|call| call.path.contains("statefulsets")));
}
