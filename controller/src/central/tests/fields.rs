//! What a spec says of a central node reaches its pod.

use std::sync::Arc;

use serde_json::json;

use crate::{
    central::desired,
    fixtures::{IMAGE, Scene, assert_configured, assert_overridden, central_with, every_override, put},
    network,
    reconcile::reconcile,
};

#[test]
fn every_setting_of_the_spec_reaches_the_node() {
    let spec = json!({
        "store": {"embedded": {}},
        "limits": {"maxPeers": 20_001, "maxConcurrentFullSyncs": 4, "pushWindow": 5},
        "drain": {"spread": "4s", "timeout": "17s"},
        "heartbeat": {"interval": "11s", "timeout": "12s", "maxMissed": 7},
        "log": {"filter": "debug", "format": "Human"}, "telemetry": {"otlpEndpoint": "http://collector:4317"},
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
}

#[test]
fn every_other_field_of_the_spec_reaches_the_pod_the_backup_or_the_service() {
    let spec = json!({
        "store": {"embedded": {"storage": {"size": "7Gi", "className": "fast"}}}, "pod": every_override(),
        "imagePullPolicy": "Always", "resources": {"limits": {"memory": "2Gi"}},
        "drain": {"spread": "4s", "timeout": "17s"},
        "backup": {"schedule": "@daily", "claimName": "claim", "keep": 3},
        "service": {"type": "LoadBalancer", "loadBalancerClass": "class", "annotations": {"c": "d"}},
    });
    let objects = desired::desired(&central_with("n0", &spec), IMAGE, "IfNotPresent", true);
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

/// gRPC is for the network's peers, in every namespace, and for everybody where the Service is open to the outside; whoever may
/// use HTTP, kubelets reach the probes.
#[test]
fn who_may_connect_follows_the_service() {
    for (type_, open) in [("ClusterIP", false), ("NodePort", true), ("LoadBalancer", true)] {
        let spec = json!({
            "store": {"embedded": {}}, "service": {"type": type_, "advertise": {"host": "a.example"}},
            "httpFrom": [{"podSelector": {"matchLabels": {"reads": "yes"}}}],
        });
        let policy = desired::desired(&central_with("n0", &spec), IMAGE, "IfNotPresent", true).network_policy;
        let rules = json!(policy.spec.expect("a spec").ingress.expect("rules"));
        let from = |port: &str| {
            let rule = rules.as_array().expect("rules").iter().find(|rule| rule["ports"][0]["port"] == port);
            rule.expect("a rule").get("from").cloned()
        };
        let peers = json!([{
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "peer", "sorcha.dev/network": "sorcha.dev"}},
        }]);
        assert_eq!(from("grpc"), (!open).then_some(peers), "{type_}");
        assert_eq!((from("probes"), from("http").is_some()), (None, true), "{type_}");
    }
}

#[test]
fn each_part_of_a_published_address_can_be_set_alone() {
    let balanced = |advertise: serde_json::Value| {
        let spec =
            json!({"store": {"embedded": {}}, "service": {"type": "LoadBalancer", "advertise": advertise}});
        let service =
            json!({"metadata": {}, "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}});
        let service = serde_json::from_value(service).expect("a Service");
        network::external(&central_with("n0", &spec), "shop", Some(&service))
            .map(|endpoint| endpoint.address())
    };
    assert_eq!(balanced(json!({})).as_deref(), Some("lb.example:5000"));
    assert_eq!(balanced(json!({"port": 443})).as_deref(), Some("lb.example:443"));
    assert_eq!(balanced(json!({"host": "n0.example"})).as_deref(), Some("n0.example:5000"));
}

#[test]
fn a_central_node_uses_the_database_that_is_named() {
    for (named, expected) in [(json!({}), "sorcha"), (json!({"database": "claims"}), "claims")] {
        let mut mongodb = json!({"uriSecretRef": {"name": "db", "key": "connection"}});
        mongodb.as_object_mut().expect("an object").extend(named.as_object().cloned().unwrap_or_default());
        let node = central_with("n0", &json!({"store": {"mongodb": mongodb}}));
        let objects = desired::desired(&node, IMAGE, "IfNotPresent", true);
        let database = format!("database = \"{expected}\"");
        assert_configured(&objects.config_map, &["uri_file = \"/etc/sorcha/mongodb/uri\"", &database]);
        let pod = json!(objects.stateful_set.spec.expect("a spec").template.spec);
        let mounted =
            pod["volumes"].as_array().expect("volumes").iter().find(|volume| volume["name"] == "mongodb");
        let source = json!({"secretName": "db", "items": [{"key": "connection", "path": "uri"}]});
        assert_eq!(mounted.map(|volume| &volume["secret"]), Some(&source));
    }
}
