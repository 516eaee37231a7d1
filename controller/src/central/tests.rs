mod bounds;
mod fields;
mod findings;
mod managed;
mod paused;

use std::sync::Arc;

use serde_json::{Value, json};
use sorcha_crds::{
    SorchaCentralNode, SorchaCentralNodeStatus,
    conditions::{CONVERGED, READY, REGISTER_VALID, STORE_REACHABLE, is_true},
};

use super::{desired, publishers};
use crate::{
    fixtures::{Call, IMAGE, Scene, central, central_with, pod, put, settle},
    network::{self, Contradiction, Network},
    reconcile::{Progress, Subject as _, reconcile},
    reviews::{Reviews, State},
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
    node.status(&scene.ctx, &Ok(Progress::Applied), &now)
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

#[tokio::test]
async fn objects_that_a_network_shares() {
    let scene = Scene::new(|_| None);
    let managed = json!({"priority": 0, "store": {"mongodb": {"managed": {}}}});
    let nodes = vec![Arc::new(central_with("n1", &managed)), Arc::new(central_with("n0", &managed))];
    let shared = desired::shared(&scene.ctx, &Network::new("sorcha.dev", "shop", nodes));
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

/// Conversation: another central node is down, so this one waits with its change, and says so.
#[tokio::test]
async fn central_nodes_take_turns() {
    let mut scene = Scene::new(secret);
    let (old, other) = (central("n0", 0), central("n1", 1));
    running(&mut scene, &old, true);
    running(&mut scene, &other, false);
    let mut changed = old.clone();
    changed.spec.log.filter = "debug".into();
    reconcile(Arc::new(changed.clone()), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    assert!(!calls.iter().any(|call| call.path.contains("/statefulsets/n0")), "{calls:#?}");
    let conditions = calls.last().expect("a status").body["status"]["conditions"].clone();
    assert_eq!(conditions[0]["reason"], "WaitingForTurn");

    running(&mut scene, &other, true);
    reconcile(Arc::new(changed), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert!(scene.take_calls().iter().any(|call| call.path.contains("/statefulsets/n0")));
    let mut second = other;
    second.spec.log.filter = "debug".into();
    reconcile(Arc::new(second), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert!(!scene.take_calls().iter().any(|call| call.path.contains("/statefulsets/n1")), "n0 has the turn");
}

#[test]
fn contradictions_tell_the_remedy() {
    let embedded = json!({"store": {"embedded": {}}});
    let two = |a: &SorchaCentralNode, b: &SorchaCentralNode| {
        Network::new("sorcha.dev", "shop", vec![Arc::new(a.clone()), Arc::new(b.clone())]).check(b)
    };
    let error =
        two(&central_with("n0", &embedded), &central_with("n1", &embedded)).expect_err("two registers");
    assert!(matches!(&error, Contradiction::Embedded { other, .. } if other == "n0"), "{error}");
    let named = json!({"hostname": "n0.sorcha.dev", "store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}}}});
    assert!(matches!(
        two(&central("n0", 0), &central_with("n9", &named)),
        Err(Contradiction::Hostname { .. })
    ));
    let managed = |image: &str| json!({"store": {"mongodb": {"managed": {"image": image}}}});
    let error = two(&central_with("n0", &managed("a")), &central_with("n1", &managed("b")));
    assert!(matches!(error, Err(Contradiction::Managed { .. })));
    let database =
        json!({"store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}, "database": "other"}}});
    let error = two(&central("n0", 0), &central_with("n1", &database));
    assert!(matches!(error, Err(Contradiction::Database { .. })));
    assert_eq!(two(&central("n0", 0), &central("n1", 0)), Ok(()));
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

#[test]
fn who_may_publish_is_told_as_it_is() {
    let fault = State::Fault("the binding is not there".into());
    let tokens = json!({"name": "db", "key": "tokens"});
    for (publishers, reviews, status, reason, parts) in [
        (
            json!({}),
            State::Given,
            true,
            "Kubernetes",
            vec!["publish on sorchacentralnodes.sorcha.dev/n0", "for publish.sorcha.dev/shop/sorcha.dev"],
        ),
        (
            json!({"tokensSecretRef": tokens}),
            State::Given,
            true,
            "Kubernetes",
            vec!["Secret db are taken too"],
        ),
        (json!({}), fault, false, "RightsNotGiven", vec!["the binding is not there"]),
        (
            json!({"tokensSecretRef": tokens}),
            State::NotHere,
            true,
            "TokensOnly",
            vec!["Secret db", "scope Namespace"],
        ),
        (
            json!({}),
            State::NotHere,
            false,
            "NoClusterRights",
            vec!["nobody", "spec.publishers.tokensSecretRef"],
        ),
        (
            json!({"tokensSecretRef": tokens, "kubernetes": {"enabled": false}}),
            State::Given,
            true,
            "TokensOnly",
            vec!["db"],
        ),
        (
            json!({"kubernetes": {"enabled": false}}),
            State::Given,
            false,
            "Nobody",
            vec!["nobody may publish"],
        ),
    ] {
        let node = central_with("n0", &json!({"store": {"embedded": {}}, "publishers": publishers}));
        let finding = publishers::finding(&node, &Reviews::of(reviews));
        assert_eq!((finding.status, finding.reason), (status.into(), reason), "{publishers}");
        assert!(parts.iter().all(|part| finding.message.contains(part)), "{}", finding.message);
    }
}

#[test]
fn the_configuration_follows_publishers_and_rights() {
    let config = |publishers: &Value, may_review: bool| {
        let node = central_with("n0", &json!({"store": {"embedded": {}}, "publishers": publishers}));
        let map = desired::desired(&node, IMAGE, "IfNotPresent", may_review).config_map;
        map.data.expect("data").into_values().next().expect("a file")
    };
    let with_tokens = json!({"tokensSecretRef": {"name": "db", "key": "tokens"}});
    let both = config(&with_tokens, true);
    assert!(both.contains("token_file = \"/etc/sorcha/publishers/tokens\""), "{both}");
    assert!(both.contains("[http.kubernetes]\nenabled = true"), "{both}");
    assert!(!config(&with_tokens, false).contains("kubernetes"), "without the right it would only fail");
    assert!(!config(&json!({"kubernetes": {"enabled": false}}), true).contains("kubernetes"));
    assert!(
        config(&json!({}), true).contains("enabled = true")
            && !config(&json!({}), true).contains("token_file")
    );
}

#[test]
fn http_is_open_to_all_or_to_those_named_backups_and_the_controller() {
    let from = |spec: &Value| {
        let node = central_with("n0", spec);
        let mut policy = desired::desired(&node, IMAGE, "IfNotPresent", true).network_policy;
        crate::desired::admit_controller(&mut policy, "sorcha-system");
        let rules = policy.spec.expect("a spec").ingress.expect("rules");
        let http = json!(rules.into_iter().find(|rule| json!(rule.ports)[0]["port"] == "http"));
        assert_eq!(json!(http["ports"]).as_array().map(Vec::len), Some(2), "HTTPS, too");
        http["from"].clone()
    };
    assert_eq!(from(&json!({"store": {"embedded": {}}})), Value::Null);
    let apps = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    let named = from(&json!({"store": {"embedded": {}}, "httpFrom": [apps]}));
    let component = |name: &str| json!({"app.kubernetes.io/component": name});
    let expected = json!([
        apps,
        {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "n0", "app.kubernetes.io/component": "backup"}}},
        {
            "podSelector": {"matchLabels": component("controller")},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "sorcha-system"}},
        },
    ]);
    assert_eq!(named, expected);
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
async fn a_version_far_beyond_that_of_the_other_central_nodes_is_not_taken() {
    let mut scene = Scene::new(|_| None);
    let ready = json!({"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"});
    let mut other = made(central("n1", 1), "2026-11-22T10:00:00Z");
    other.status = serde_json::from_value(
        json!({"node": {"name": "n1-0", "version": 17}, "version": 17, "conditions": [ready]}),
    )
    .expect("a status");
    put(&mut scene.writers.central_nodes, other.clone());
    let younger = || made(central("n0", 0), "2026-11-22T10:00:01Z");
    let lie = reported(younger(), &bounded_report(1 << 40));
    running(&mut scene, &lie, true);
    let status = status_of(&scene, &lie);
    assert_eq!((status.version, status.converged_version), (None, None), "no lower one is claimed for it");
    // What a younger one says bounds an older one neither way.
    let mut network = crate::central::network(&scene.ctx.caches, &other);
    assert_eq!((network.head(Some(&other)), network.head(None)), (None, Some(17)));
    network.nodes.retain(|node| node.metadata.name.as_deref() == Some("n0"));
    assert_eq!(network.head(None), None, "what was not believed is no head");
    let near = reported(younger(), &bounded_report(20));
    running(&mut scene, &near, true);
    assert_eq!(status_of(&scene, &near).converged_version, Some(20), "reports don't come at once");
}

fn made(mut node: SorchaCentralNode, at: &str) -> SorchaCentralNode {
    node.metadata.creation_timestamp = serde_json::from_value(json!(at)).expect("a time");
    node
}

/// Conversation: a second central node with a register of its own comes into a network: the first one goes on.
#[tokio::test]
async fn of_two_contradictory_central_nodes_the_older_one_goes_on_and_the_newer_is_not_started() {
    let embedded = json!({"priority": 5, "store": {"embedded": {}}});
    let older = made(central_with("n5", &embedded), "2026-11-22T10:00:00Z");
    let newer = made(central_with("n0", &json!({"store": {"embedded": {}}})), "2026-11-22T10:00:01Z");
    let mut scene = Scene::new(|_| None);
    for node in [&older, &newer] {
        put(&mut scene.writers.central_nodes, node.clone());
    }
    let error = reconcile(Arc::new(newer), Arc::clone(&scene.ctx)).await.expect_err("refused");
    assert_eq!(error.reason(), "Conflict");
    assert!(error.to_string().contains("n5 is older"), "{error}");
    let calls = scene.take_calls();
    let written: Vec<_> =
        calls.iter().filter(|call| call.method != "GET").map(|call| call.path.as_str()).collect();
    assert!(
        written.iter().all(|path| path.contains("/sorchacentralnodes/n0/status") || path.contains("/events")),
        "{written:?}"
    );
    reconcile(Arc::new(older), Arc::clone(&scene.ctx)).await.expect("the older one is right");
    let calls = scene.take_calls();
    assert!(calls.iter().any(|call| call.path.ends_with("/statefulsets/n5")));
    let map = calls.iter().find(|call| {
        call.method == "PATCH" && call.path.ends_with("/configmaps/sorcha-central-nodes.sorcha.dev")
    });
    let published = map.expect("endpoints").body["data"]["central-nodes.json"].to_string();
    assert!(published.contains("n5") && !published.contains("n0.shop"), "{published}");
}

#[tokio::test]
async fn two_lineages_in_one_network_are_told_at_both_central_nodes() {
    let mut scene = Scene::new(|_| None);
    let (ours, theirs) = ("a".repeat(64), "b".repeat(64));
    let first = reported(central("n0", 0), &healthy("n0-0", &ours));
    let second = reported(central("n1", 1), &healthy("n1-0", &theirs));
    running(&mut scene, &first, true);
    running(&mut scene, &second, true);
    for node in [&first, &second] {
        let status = status_of(&scene, node);
        let converged = status.conditions.iter().find(|c| c.type_ == CONVERGED).expect("a condition");
        assert_eq!((converged.status.as_str(), converged.reason.as_str()), ("False", "LineagesDiffer"));
        for told in ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "n0", "n1"] {
            assert!(converged.message.contains(told), "{}", converged.message);
        }
    }
    let same = reported(central("n1", 1), &healthy("n1-0", &ours));
    running(&mut scene, &same, true);
    assert!(is_true(&status_of(&scene, &first).conditions, CONVERGED));
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
