mod aggregates;
mod bounds;
mod changes;
mod fields;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use sorcha_crds::{
    SorchaPeer, SorchaPeerStatus,
    conditions::{CONNECTED, HISTORY_INTACT, ISOLATED, READY, SYNCED, is_true},
};

use super::{desired, status};
use crate::{
    cache::Writers,
    fixtures::{Call, IMAGE, Scene, peer, pod, put, settle, writes},
    reconcile::{Error, Subject as _, reconcile},
};

fn report(name: &str, state: &str, central: &str, version: i64, lag: i64) -> Value {
    json!({
        "name": name, "state": state, "centralNode": central, "version": version, "lag": lag, "failovers": 1,
        "freshAsOf": "2026-11-22T10:00:00Z", "digest": "sha256:aa", "rttMs": 1.25,
    })
}

fn with_reports(mut peer: SorchaPeer, nodes: &[Value]) -> SorchaPeer {
    peer.status = Some(serde_json::from_value(json!({"nodes": nodes})).expect("a status"));
    peer
}

/// Everything as after a good start.
fn settle_in(writers: &mut Writers, peer: &SorchaPeer) {
    let objects = desired::desired(peer, IMAGE, "IfNotPresent");
    let mut set = objects.stateful_set;
    settle(&mut set);
    put(&mut writers.stateful_sets, set);
    let name = peer.metadata.name.as_deref().unwrap_or_default();
    for ordinal in 0..peer.spec.replicas {
        put(&mut writers.pods, pod(&format!("{name}-{ordinal}"), "peer", name, true));
    }
}

fn status_of(scene: &Scene, peer: &SorchaPeer) -> SorchaPeerStatus {
    let now = serde_json::from_value(json!("2026-11-22T10:00:00Z")).expect("a time");
    peer.status(&scene.ctx, &Ok(crate::reconcile::Progress::Applied), &now)
}

#[test]
fn desired_objects() {
    let objects = desired::desired(&peer("edge", 3), IMAGE, "IfNotPresent");
    let values = [
        json!(objects.service_account),
        json!(objects.role),
        json!(objects.role_binding),
        json!(objects.config_map),
        json!(objects.headless),
        json!(objects.service),
        json!(objects.network_policy),
        json!(objects.budget),
        json!(objects.stateful_set),
    ];
    insta::assert_yaml_snapshot!(values);
}

#[tokio::test]
async fn aggregates_what_peers_report() {
    let mut scene = Scene::new(|_| None);
    let nodes = [
        report("edge-0", "HeartbeatMonitoring", "n0", 17, 0),
        report("edge-1", "HeartbeatMonitoring", "n0", 16, 1),
        report("edge-2", "Isolated", "", 12, 5),
    ];
    let peer = with_reports(peer("edge", 3), &nodes);
    settle_in(&mut scene.writers, &peer);
    let status = status_of(&scene, &peer);
    assert_eq!(status.ready.as_deref(), Some("3/3"), "an isolated peer stays ready");
    assert_eq!(status.state.as_deref(), Some("Isolated 1/3"));
    assert_eq!(status.central.as_deref(), Some("n0"));
    assert_eq!((status.connected, status.isolated), (Some(2), Some(1)));
    assert_eq!((status.min_version, status.max_lag, status.failovers), (Some(12), Some(5), Some(3)));
    assert!(is_true(&status.conditions, READY) && is_true(&status.conditions, ISOLATED));
    assert!(!is_true(&status.conditions, CONNECTED) && !is_true(&status.conditions, SYNCED));
}

#[tokio::test]
async fn another_history_and_a_lost_one_are_a_condition_and_an_event() {
    let mut scene = Scene::new(|_| None);
    let with = |name: &str, more: Value| {
        let mut report = report(name, "HeartbeatMonitoring", "n0", 17, 0);
        report.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        report
    };
    let refused = json!({"refused": "n1", "refusal": "blueprint a has another published_by"});
    let steps = [
        (json!({}), "True", "Intact"),
        (refused.clone(), "False", "RegisterRefused"),
        (json!({"ahead": 3, "lag": null}), "False", "AheadOfCentralNode"),
        (json!({}), "True", "Intact"),
    ];
    let (mut before, mut told) = (Vec::new(), Vec::new());
    for (more, state, reason) in steps {
        let edge = with_reports(peer("edge", 2), &[with("edge-0", json!({})), with("edge-1", more)]);
        settle_in(&mut scene.writers, &edge);
        let status = status_of(&scene, &edge);
        let found = status.conditions.iter().find(|c| c.type_ == HISTORY_INTACT).expect("a condition");
        assert_eq!((found.status.as_str(), found.reason.as_str()), (state, reason));
        assert_eq!(is_true(&status.conditions, SYNCED), reason != "AheadOfCentralNode");
        let events = crate::events::transitions(&before, &status.conditions, false).events;
        let intact = events.into_iter().filter(|event| event.reason != "Serving" && event.reason != "Behind");
        told.extend(intact.map(|event| (event.reason, format!("{:?}", event.type_))));
        before = status.conditions;
    }
    let told: Vec<_> = told.iter().map(|(reason, kind)| (reason.as_str(), kind.as_str())).collect();
    assert_eq!(
        told,
        [("RegisterRefused", "Warning"), ("AheadOfCentralNode", "Warning"), ("Intact", "Normal")]
    );
}

#[tokio::test]
async fn what_a_dead_pod_said_last_is_no_state() {
    let mut scene = Scene::new(|_| None);
    let peer = with_reports(peer("edge", 1), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0)]);
    let set = desired::desired(&peer, IMAGE, "IfNotPresent").stateful_set;
    put(&mut scene.writers.stateful_sets, set);
    let status = status_of(&scene, &peer);
    assert_eq!(status.state.as_deref(), Some("Down"));
    assert_eq!((status.connected, status.central), (Some(0), None));
}

#[tokio::test]
async fn freshness_alone_is_written_every_other_minute() {
    let at = |text: &str| SorchaPeerStatus {
        fresh_as_of: Some(serde_json::from_value(json!(text)).expect("a time")),
        ..SorchaPeerStatus::default()
    };
    let before = at("2026-11-22T10:00:00Z");
    assert!(!status::differs(&before, &at("2026-11-22T10:01:40Z")));
    assert!(status::differs(&before, &at("2026-11-22T10:02:00Z")));
    let changed = SorchaPeerStatus { connected: Some(1), ..at("2026-11-22T10:00:01Z") };
    assert!(status::differs(&before, &changed));
}

/// A resource that was made anew under the name: nothing was written into it, and nothing is told of it.
#[tokio::test]
async fn what_was_not_written_is_not_told() {
    for (code, told) in [(409, false), (200, true)] {
        let scene = Scene::new(move |call| {
            let refused = json!({"kind": "Status", "code": 409, "reason": "Conflict", "message": "uid"});
            (code == 409 && call.path.ends_with("/sorchapeers/edge/status")).then_some((409, refused))
        });
        let mut edge = peer("edge", 1);
        edge.metadata.creation_timestamp =
            Some(serde_json::from_value(json!("2026-11-22T10:00:00Z")).expect("a time"));
        let ready = json!({"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"});
        edge.status = Some(serde_json::from_value(json!({"conditions": [ready]})).expect("a status"));
        reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
        let events = scene.take_calls().iter().filter(|call| call.path.ends_with("/events")).count();
        assert_eq!(events > 0, told, "{code}");
    }
}

/// The cache is behind: what was written a moment ago is neither written nor told again.
#[tokio::test]
async fn a_transition_is_told_once() {
    let mut edge = peer("edge", 1);
    edge.metadata.resource_version = Some("5".into());
    let whole = json!(edge);
    let scene = Scene::new(move |call| {
        let written = call.method == "PATCH" && call.path.ends_with("/sorchapeers/edge/status");
        written.then(|| {
            let mut edge = whole.clone();
            edge["status"] = call.body["status"].clone();
            (200, edge)
        })
    });
    let tells = |calls: &[Call]| {
        writes(calls).iter().filter(|call| call.contains("status") || call.contains("events")).count()
    };
    let edge = Arc::new(edge);
    reconcile(Arc::clone(&edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(tells(&scene.take_calls()), 1);
    reconcile(Arc::clone(&edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(tells(&scene.take_calls()), 0);
    let mut seen = (*edge).clone();
    seen.metadata.resource_version = Some("8".into());
    reconcile(Arc::new(seen), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(tells(&scene.take_calls()), 1, "the cache is ahead and shows no status: that counts");
}

/// Conversation: a new resource gets its objects in order, then a status.
#[tokio::test]
async fn creates_everything_once() {
    let scene = Scene::new(|_| None);
    let edge = Arc::new(peer("edge", 2));
    let action = reconcile(Arc::clone(&edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(action, Action::requeue(crate::apply::CACHE_LAG), "what was applied must show in the caches");
    let calls = scene.take_calls();
    assert_eq!(
        writes(&calls),
        [
            "POST secrets",
            "PATCH configmaps/sorcha-ca.sorcha.dev",
            "POST secrets",
            "PATCH serviceaccounts/edge",
            "PATCH roles/edge",
            "PATCH rolebindings/edge",
            "PATCH configmaps/edge",
            "PATCH services/edge-headless",
            "PATCH services/edge",
            "PATCH networkpolicies/edge",
            "PATCH poddisruptionbudgets/edge",
            "PATCH statefulsets/edge",
            "PATCH sorchapeers/edge/status",
        ]
    );
    let (first, last) = (calls.iter().find(|call| call.method == "PATCH"), calls.last());
    let (first, last) = (first.expect("a patch"), last.expect("a status"));
    assert!(first.query.contains("fieldManager=sorcha-controller"));
    assert!(!first.query.contains("force=true"), "what may be somebody else's is not taken");
    assert_eq!(last.body["status"]["observedGeneration"], 1);
    assert!(last.body["status"].get("nodes").is_none(), "the nodes' part is not touched");

    reconcile(edge, Arc::clone(&scene.ctx)).await.expect("reconciled");
    let again = writes(&scene.take_calls());
    assert_eq!(
        again,
        ["POST secrets", "POST secrets", "PATCH sorchapeers/edge/status"],
        "objects are not applied twice while the cache is behind, and a Secret that is there is not made again"
    );
}

/// Conversation: everything is as it should be.
#[tokio::test]
async fn nothing_to_do_makes_no_call() {
    let mut scene = Scene::new(|_| None);
    let first = Arc::new(peer("edge", 1));
    reconcile(Arc::clone(&first), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let made = scene.take_calls();
    fill(&mut scene.writers, &made);
    put(&mut scene.writers.pods, pod("edge-0", "peer", "edge", true));
    let mut edge = peer("edge", 1);
    edge.status = Some(status_of(&scene, &edge));
    reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(writes(&scene.take_calls()), Vec::<String>::new());
}

/// What was applied, as watches would show it.
fn fill(writers: &mut Writers, calls: &[Call]) {
    fn object<K: serde::de::DeserializeOwned>(call: &Call) -> K {
        let mut body = call.body.clone();
        body["metadata"]["resourceVersion"] = json!("8");
        serde_json::from_value(body).expect("an object")
    }
    for call in calls {
        match call.body["kind"].as_str().unwrap_or_default() {
            "ServiceAccount" => put(&mut writers.service_accounts, object(call)),
            "Role" => put(&mut writers.roles, object(call)),
            "RoleBinding" => put(&mut writers.role_bindings, object(call)),
            "Secret" => put(&mut writers.secrets, object(call)),
            "ConfigMap" => put(&mut writers.config_maps, object(call)),
            "Service" => put(&mut writers.services, object(call)),
            "NetworkPolicy" => put(&mut writers.network_policies, object(call)),
            "PodDisruptionBudget" => put(&mut writers.budgets, object(call)),
            "StatefulSet" => {
                let mut set: StatefulSet = object(call);
                settle(&mut set);
                put(&mut writers.stateful_sets, set);
            }
            _ => {}
        }
    }
}

/// Conversation: the API server says no; the status tells it.
#[tokio::test]
async fn a_refusal_reaches_the_user() {
    let scene = Scene::new(|call| {
        let refused = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422, "reason": "Invalid",
            "message": "StatefulSet.apps \"edge\" is invalid: spec.template: bad",
        });
        (call.method == "PATCH" && call.path.ends_with("/statefulsets/edge")).then_some((422, refused))
    });
    let error = reconcile(Arc::new(peer("edge", 1)), Arc::clone(&scene.ctx)).await.expect_err("refused");
    assert_eq!(error.reason(), "InvalidSpec");
    let calls = scene.take_calls();
    let told = &calls.last().expect("a status").body["status"]["conditions"][0];
    assert_eq!((told["type"].as_str(), told["status"].as_str()), (Some("Ready"), Some("False")));
    assert!(told["message"].as_str().is_some_and(|m| m.contains("spec.template: bad")), "{told}");
}

/// Conversation: somebody else's StatefulSet has the name; it is left alone.
#[tokio::test]
async fn nothing_is_taken_from_others() {
    let mut scene = Scene::new(|_| None);
    let mut theirs = desired::desired(&peer("edge", 1), IMAGE, "IfNotPresent").stateful_set;
    for owner in theirs.metadata.owner_references.iter_mut().flatten() {
        owner.uid = "another".into();
        owner.kind = "Deployment".into();
    }
    put(&mut scene.writers.stateful_sets, theirs);
    let error = reconcile(Arc::new(peer("edge", 1)), Arc::clone(&scene.ctx)).await.expect_err("taken");
    assert!(
        matches!(&error, Error::Apply(crate::apply::Error::Taken { owner, .. }) if owner.contains("Deployment"))
    );
    assert!(!writes(&scene.take_calls()).iter().any(|call| call.contains("statefulsets")));
}

/// Conversation: a user's own ConfigMap, which no cache shows, has the name; nothing is merged into it.
#[tokio::test]
async fn nothing_is_taken_from_users() {
    let scene = Scene::new(|call| {
        let theirs = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "edge", "namespace": "shop"},
        });
        (call.method == "GET" && call.path.ends_with("/configmaps/edge")).then_some((200, theirs))
    });
    let error = reconcile(Arc::new(peer("edge", 1)), Arc::clone(&scene.ctx)).await.expect_err("taken");
    assert_eq!(error.reason(), "NameTaken");
    let written = writes(&scene.take_calls());
    assert!(!written.iter().any(|call| call.contains("configmaps/edge")), "{written:?}");
    assert_eq!(written.last().map(String::as_str), Some("PATCH sorchapeers/edge/status"));
}

/// Conversation: a resource that is being deleted is left to garbage collection; a paused one is left alone.
#[tokio::test]
async fn deleted_and_paused() {
    let scene = Scene::new(|_| None);
    let mut leaving = peer("edge", 1);
    leaving.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-11-22T10:00:00Z")).expect("a time");
    reconcile(Arc::new(leaving), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert!(scene.take_calls().is_empty());

    let mut paused = peer("edge", 1);
    paused.metadata.annotations = Some([("sorcha.dev/paused".to_owned(), "true".to_owned())].into());
    reconcile(Arc::new(paused), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    assert_eq!(writes(&calls), ["PATCH sorchapeers/edge/status"]);
    let conditions = calls[0].body["status"]["conditions"].as_array().cloned().unwrap_or_default();
    assert!(conditions.iter().any(|c| c["type"] == "Paused" && c["status"] == "True"));
}

/// Reports of pods that were scaled away, or never were, leave the status, whatever name they were written under; unless the
/// status has changed since it was looked at.
#[tokio::test]
async fn reports_of_pods_that_do_not_exist_are_removed() {
    let mut scene = Scene::new(|_| None);
    let names = ["edge-0", "edge-4", "edge-00", "edge--1", "edge-99999999999", "other-0", "theirs"];
    let nodes = names.map(|name| report(name, "HeartbeatMonitoring", "n0", 1, 0));
    let edge = with_reports(peer("edge", 1), &nodes);
    settle_in(&mut scene.writers, &edge);
    reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    let removal = calls.iter().find(|call| call.body["status"]["nodes"].is_array()).expect("a removal");
    let kept: Vec<_> = removal.body["status"]["nodes"].as_array().expect("reports").iter().collect();
    assert_eq!((kept.len(), &kept[0]["name"]), (1, &json!("edge-0")));
    assert_eq!(removal.body["metadata"], json!({"uid": "uid-edge", "resourceVersion": "5"}));
}

#[tokio::test]
async fn pods_of_others_with_the_names_of_ours_do_not_count() {
    let mut scene = Scene::new(|_| None);
    let edge = with_reports(peer("edge", 1), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0)]);
    put(&mut scene.writers.pods, pod("edge-0", "peer", "other", true));
    put(&mut scene.writers.pods, pod("stranger", "peer", "edge", true));
    let status = status_of(&scene, &edge);
    assert_eq!((status.ready_replicas, status.state.as_deref()), (Some(0), Some("Down")));
}

#[tokio::test]
async fn what_a_peer_says_that_can_not_be_true_is_told_and_does_not_count() {
    let mut scene = Scene::new(|_| None);
    let lie = json!({"name": "edge-1", "state": "HeartbeatMonitoring", "version": i64::MAX, "lag": 0, "failovers": i64::MAX});
    let edge = with_reports(peer("edge", 2), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0), lie]);
    settle_in(&mut scene.writers, &edge);
    let mut central = crate::fixtures::central("n0", 0);
    let ready = json!({"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"});
    central.status = serde_json::from_value(
        json!({"node": {"name": "n0-0", "version": 17}, "version": 17, "conditions": [ready]}),
    )
    .expect("a status");
    put(&mut scene.writers.central_nodes, central);
    let status = status_of(&scene, &edge);
    assert_eq!(status.min_version, None, "what one of them holds is not known");
    let synced = status.conditions.iter().find(|condition| condition.type_ == SYNCED).expect("a condition");
    assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("False", "ImplausibleReport"));
    assert!(
        synced.message.contains("edge-1") && synced.message.contains(&i64::MAX.to_string()),
        "{}",
        synced.message
    );
}

/// Conditions that others add stay when ours are applied: they are taken out.
#[tokio::test]
async fn conditions_that_others_write_are_removed() {
    let whole = json!(peer("edge", 1));
    let scene = Scene::new(move |call| {
        let applied =
            call.method == "PATCH" && call.query.contains("force=true") && call.path.ends_with("/status");
        applied.then(|| {
            let mut edge = whole.clone();
            edge["status"] = call.body["status"].clone();
            let foreign = json!({"type": "Blessed", "status": "True", "reason": "Mine", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"});
            edge["status"]["conditions"].as_array_mut().expect("conditions").push(foreign);
            (200, edge)
        })
    });
    reconcile(Arc::new(peer("edge", 1)), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    let removal = calls.last().expect("a call");
    assert!(
        removal.path.ends_with("/sorchapeers/edge/status") && !removal.query.contains("force"),
        "{removal:#?}"
    );
    let types: Vec<_> = removal.body["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .map(|c| &c["type"])
        .collect();
    assert!(!types.contains(&&json!("Blessed")) && types.contains(&&json!("Ready")), "{types:?}");
}

/// The authority of one listed central node is trusted for that one only: it is in a file of its own, and in no bundle.
#[test]
fn the_authority_of_one_central_node_is_mounted_for_it_alone() {
    let spec = json!({"replicas": 1, "centralNodes": [
        {"host": "n0.shop.svc"}, {"host": "n1.far.example", "priority": 1, "caSecretRef": {"name": "far-ca"}},
    ]});
    let edge = crate::fixtures::peer_with("edge", &spec);
    let objects = desired::desired(&edge, IMAGE, "IfNotPresent");
    let config = objects.config_map.data.expect("data").remove("sorcha.toml").expect("a file");
    let (own, far) = config.split_once("n1.far.example").expect("both");
    assert_eq!(config.matches("/etc/sorcha/authorities/1.crt").count(), 1, "{config}");
    assert!((own.to_owned() + far).contains("ca_file"), "{config}");
    let spec = json!(objects.stateful_set.spec)["template"]["spec"].clone();
    let volume =
        spec["volumes"].as_array().expect("volumes").iter().find(|volume| volume["name"] == "authorities");
    let source = &volume.expect("the volume")["projected"]["sources"][0]["secret"];
    assert_eq!(source, &json!({"name": "far-ca", "items": [{"key": "ca.crt", "path": "1.crt"}]}));
    let holder = crate::pki::holder::Holder::peer(&edge);
    assert!(
        holder.trust.is_empty() && holder.listed.len() == 1,
        "it is in the bundle for all: {:?}",
        holder.trust
    );
    assert!(
        !json!(desired::desired(&peer("edge", 1), IMAGE, "IfNotPresent").stateful_set)
            .to_string()
            .contains("authorities")
    );
}

/// An Event says which peer moved, and from where to where.
#[tokio::test]
async fn a_move_is_told_with_who_moved_from_where_to_where() {
    let mut scene = Scene::new(|_| None);
    let at = |central: &str, failovers: i64| {
        let mut report = report("edge-0", "HeartbeatMonitoring", central, 17, 0);
        report["failovers"] = failovers.into();
        with_reports(peer("edge", 1), &[report])
    };
    settle_in(&mut scene.writers, &peer("edge", 1));
    for edge in [at("n0", 0), at("n1", 1)] {
        reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    }
    let told: Vec<_> = scene
        .take_calls()
        .iter()
        .filter(|call| call.path.contains("/events") && call.body["reason"] == "FailedOver")
        .map(|call| call.body["note"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(told, ["edge-0 moved from n0 to n1 (n0 is deleted)"]);
}

/// A peer whose heartbeats go on while nothing is replicated is not in step, whatever its lag says.
#[tokio::test]
async fn a_peer_whose_replication_is_over_is_not_synced() {
    let mut scene = Scene::new(|_| None);
    let mut failing = report("edge-1", "HeartbeatMonitoring", "n0", 17, 0);
    failing["replicationFault"] = "the pull died: it panicked".into();
    let peer =
        with_reports(peer("edge", 2), &[report("edge-0", "HeartbeatMonitoring", "n0", 17, 0), failing]);
    settle_in(&mut scene.writers, &peer);
    let status = status_of(&scene, &peer);
    assert!(is_true(&status.conditions, CONNECTED));
    let synced = status.conditions.iter().find(|condition| condition.type_ == SYNCED).expect("a condition");
    assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("False", "ReplicationFailed"));
    assert_eq!(synced.message, "edge-1: the pull died: it panicked");
}
