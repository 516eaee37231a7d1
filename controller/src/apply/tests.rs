//! Objects of others are never written, whatever they are called and whenever they come.

mod deletion;
mod gate;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use k8s_openapi::api::{batch::v1::CronJob, core::v1::ConfigMap};
use serde_json::{Value, json};
use sorcha_crds::{SorchaCentralNode, SorchaPeer};

use crate::{
    apply::owner::Claim,
    fixtures::{Call, Scene, central_with, peer_with, put},
    names::{self, Component},
    reconcile::reconcile,
};

/// What is reconciled.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a few of a test")]
enum Subject {
    Central(SorchaCentralNode),
    Peer(SorchaPeer),
}

/// Resources that between them have every object that the controller makes.
fn subjects() -> Vec<Subject> {
    let backup = json!({"schedule": "17 3 * * *", "claimName": "backups"});
    let issuer = json!({"mode": "CertManager", "issuerRef": {"name": "ca"}});
    let secret = json!({"mode": "Secret", "secretName": "mine", "trust": [{"secretRef": {"name": "other", "key": "ca.crt"}}]});
    vec![
        Subject::Central(central_with(
            "x",
            &json!({"store": {"mongodb": {"managed": {}}}, "backup": backup}),
        )),
        Subject::Central(central_with("x", &json!({"store": {"embedded": {}}, "tls": issuer}))),
        Subject::Peer(peer_with("x", &json!({"replicas": 2}))),
        Subject::Peer(peer_with("x", &json!({"replicas": 1, "tls": issuer}))),
        Subject::Peer(peer_with("x", &json!({"replicas": 1, "tls": secret}))),
    ]
}

impl Subject {
    /// One look at it; the calls that were made.
    async fn reconcile(self, mut scene: Scene) -> Vec<Call> {
        let outcome = match self {
            Self::Central(node) => {
                put(&mut scene.writers.central_nodes, node.clone());
                reconcile(Arc::new(node), Arc::clone(&scene.ctx)).await.map(drop)
            }
            Self::Peer(peer) => {
                put(&mut scene.writers.peers, peer.clone());
                reconcile(Arc::new(peer), Arc::clone(&scene.ctx)).await.map(drop)
            }
        };
        // What came of it is in the status.
        drop(outcome);
        scene.take_calls()
    }
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}),
    )
}

/// Secrets that the specs name.
fn named(call: &Call) -> Option<(u16, Value)> {
    let ca = crate::pki::issue::authority(
        "sorcha.dev",
        std::time::Duration::from_secs(86_400),
        crate::context::Ctx::now().0,
    );
    let ca = ca.expect("an authority");
    let of = |name: &str, data: BTreeMap<&str, String>| {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let data: BTreeMap<_, _> =
            data.into_iter().map(|(key, value)| (key, BASE64_STANDARD.encode(value))).collect();
        Some((
            200,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": data}),
        ))
    };
    if call.path.ends_with("/secrets/other") {
        return of("other", [("ca.crt", ca.certificate.pem())].into());
    }
    if call.path.ends_with("/secrets/mine") {
        let names = crate::pki::identity::peers("sorcha.dev", "shop", "x");
        let policy = std::time::Duration::from_secs(3600);
        let leaf =
            crate::pki::issue::leaf("x", &names, "sorcha.dev", &ca, policy, crate::context::Ctx::now().0);
        let leaf = leaf.expect("a leaf");
        let data = [
            ("tls.crt", leaf.certificate.pem()),
            ("tls.key", leaf.key.pem().to_owned()),
            ("ca.crt", ca.certificate.pem()),
        ];
        return of("mine", data.into());
    }
    // The API server knows cert-manager's kind, and says so of an object that is missing.
    let certificate = call.method == "GET" && call.path.ends_with("/certificates/x");
    certificate.then(|| {
        let (code, mut body) = status(404, "NotFound");
        body["details"] = json!({"name": "x", "kind": "certificates"});
        (code, body)
    })
}

/// The object that a call is about; none for the custom resources and Events.
fn object(call: &Call) -> Option<String> {
    if call.path.contains("/sorcha.dev/") || call.path.contains("/events") {
        return None;
    }
    let name = call.body["metadata"]["name"].as_str().unwrap_or_default();
    Some(if call.method == "POST" { format!("{}/{name}", call.path) } else { call.path.clone() })
}

fn writes(calls: &[Call], path: &str) -> Vec<Call> {
    let writes = calls.iter().filter(|call| call.method != "GET");
    writes.filter(|call| object(call).as_deref() == Some(path)).cloned().collect()
}

/// Everything that the controller writes for a resource.
async fn written(subject: &Subject) -> Vec<String> {
    let calls = subject.clone().reconcile(Scene::new(named)).await;
    let mut written: Vec<String> =
        calls.iter().filter(|call| call.method != "GET").filter_map(object).collect();
    written.dedup();
    assert!(!written.is_empty(), "{calls:#?}");
    written
}

/// An object of a user, as the API server shows it.
fn users(path: &str) -> Value {
    let name = path.rsplit('/').next().unwrap_or_default();
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": "theirs", "resourceVersion": "77",
            "managedFields": [{"manager": "kubectl-create", "operation": "Update"}]},
    })
}

fn told(calls: &[Call]) -> (String, String) {
    let status = calls.iter().rev().find(|call| call.path.ends_with("/status")).expect("a status");
    let conditions = status.body["status"]["conditions"].as_array().expect("conditions");
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").expect("Ready");
    let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

#[tokio::test]
async fn every_object_of_a_user_is_left_alone() {
    let mut looked_at = 0;
    for subject in subjects() {
        for path in written(&subject).await {
            let theirs = path.clone();
            let calls = subject
                .clone()
                .reconcile(Scene::new(move |call| {
                    let same = object(call).as_deref() == Some(&theirs);
                    match call.method.as_str() {
                        "GET" if same => Some((200, users(&theirs))),
                        "POST" if same => Some(status(409, "AlreadyExists")),
                        _ => named(call),
                    }
                }))
                .await;
            let touched = writes(&calls, &path);
            assert!(touched.iter().all(|call| call.method == "POST"), "{path}: {touched:#?}");
            let (reason, message) = told(&calls);
            assert_eq!(reason, "NameTaken", "{path}: {message}");
            let name = path.rsplit('/').next().unwrap_or_default();
            assert!(message.contains(name) && message.contains("kubectl-create"), "{path}: {message}");
            assert!(message.contains("delete it, or give this resource another name"), "{message}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "only {looked_at} objects");
}

#[tokio::test]
async fn an_object_that_comes_between_look_and_write_is_left_alone() {
    for subject in subjects() {
        for path in written(&subject).await {
            let (theirs, looks) = (path.clone(), AtomicUsize::new(0));
            let calls = subject
                .clone()
                .reconcile(Scene::new(move |call| {
                    let same = object(call).as_deref() == Some(&theirs);
                    match call.method.as_str() {
                        // It is not there yet at the first look.
                        "GET" if same && looks.fetch_add(1, Ordering::SeqCst) > 0 => {
                            Some((200, users(&theirs)))
                        }
                        "POST" | "PATCH" | "PUT" if same => {
                            looks.fetch_add(1, Ordering::SeqCst);
                            Some(status(409, "Conflict"))
                        }
                        _ => named(call),
                    }
                }))
                .await;
            for call in writes(&calls, &path) {
                let guarded = call.method == "POST" || call.body["metadata"]["resourceVersion"] == "1";
                assert!(
                    guarded && !call.query.contains("force=true"),
                    "{path}: an existing one would be changed: {call:#?}"
                );
            }
            assert_eq!(told(&calls).0, "NameTaken", "{path}");
        }
    }
}

/// An object in the cache, with all our labels, of another owner.
fn labelled(owner: Option<&Value>) -> ConfigMap {
    let labels = names::labels(Component::Peer, "x", "sorcha.dev");
    let owners: Vec<&Value> = owner.into_iter().collect();
    serde_json::from_value(json!({
        "metadata": {"name": "x", "namespace": "shop", "uid": "theirs", "resourceVersion": "77", "labels": labels, "ownerReferences": owners},
    }))
    .expect("a ConfigMap")
}

#[tokio::test]
async fn where_one_object_is_anothers_nothing_is_made_at_all() {
    let other =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "u", "controller": true});
    for owner in [Some(&other), None] {
        let mut scene = Scene::new(named);
        put(&mut scene.writers.config_maps, labelled(owner));
        let calls = Subject::Peer(peer_with("x", &json!({"replicas": 1}))).reconcile(scene).await;
        let made: Vec<_> = calls.iter().filter(|call| call.method != "GET").filter_map(object).collect();
        assert_eq!(made, Vec::<String>::new());
        assert_eq!(told(&calls).0, "NameTaken");
    }
}

fn aged<K: kube::Resource<DynamicType = ()>>(mut resource: K, created: &str) -> K {
    resource.meta_mut().creation_timestamp = Some(serde_json::from_value(json!(created)).expect("a time"));
    resource.meta_mut().uid = Some(format!("{}-x", K::kind(&())));
    resource
}

#[tokio::test]
async fn resources_of_two_kinds_and_one_name_do_not_overwrite_each_other() {
    let (early, late) = ("2026-11-22T10:00:00Z", "2026-11-22T10:00:01Z");
    let node = |created: &str| aged(central_with("x", &json!({"store": {"embedded": {}}})), created);
    let peer = |created: &str| aged(peer_with("x", &json!({"replicas": 1})), created);
    let mut scene = Scene::new(named);
    put(&mut scene.writers.central_nodes, node(early));
    let calls = Subject::Peer(peer(late)).reconcile(scene).await;
    assert_eq!(calls.iter().filter(|call| call.method != "GET").filter_map(object).count(), 0, "{calls:#?}");
    let (reason, message) = told(&calls);
    assert_eq!(reason, "NameTaken");
    assert!(
        message.contains("SorchaCentralNode x is older") && message.contains("another name"),
        "{message}"
    );
    let mut scene = Scene::new(named);
    put(&mut scene.writers.peers, peer(early));
    let calls = Subject::Central(node(late)).reconcile(scene).await;
    assert_eq!(calls.iter().filter(|call| call.method != "GET").filter_map(object).count(), 0, "{calls:#?}");
    assert_eq!(told(&calls).0, "NameTaken");
    // The older one goes on.
    let mut scene = Scene::new(named);
    put(&mut scene.writers.peers, peer(late));
    let calls = Subject::Central(node(early)).reconcile(scene).await;
    assert!(calls.iter().any(|call| call.method != "GET" && call.path.contains("/statefulsets/x")));
}
