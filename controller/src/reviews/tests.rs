use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::mpsc;

use super::*;
use crate::{
    desired::controller_reference,
    fixtures::{Scene, central, central_with, put},
};

const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/sorcha-node-reviews";

fn binding(accounts: &[(&str, &str)]) -> Value {
    let subjects: Vec<_> = accounts
        .iter()
        .map(|(namespace, name)| json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}))
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "sorcha-node-reviews", "uid": "uid-binding"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sorcha-node-reviews"},
        "subjects": subjects,
    })
}

fn state(scene: &Scene, name: &str) -> State {
    scene.ctx.reviews.state_of("shop", name)
}

type Touched = mpsc::UnboundedReceiver<kube::runtime::reflector::ObjectRef<SorchaCentralNode>>;

fn triggers() -> (Triggers, Touched) {
    let (central, touched) = mpsc::unbounded_channel();
    let (peer, _) = mpsc::unbounded_channel();
    (
        Triggers {
            central,
            peer,
            blueprint: mpsc::unbounded_channel().0,
            nodes: Arc::default(),
            networks: Arc::default(),
        },
        touched,
    )
}

/// An API server whose binding has the accounts given; what is applied gets its role, as the server merges it.
fn scene(held: &'static [(&'static str, &'static str)]) -> Scene {
    Scene::new(move |call| match call.method.as_str() {
        "GET" if call.path == BINDING => Some((200, binding(held))),
        "PATCH" if call.path == BINDING => {
            let mut applied = call.body.clone();
            applied["roleRef"] = binding(&[])["roleRef"].clone();
            Some((200, applied))
        }
        _ => None,
    })
}

/// A central node with its ServiceAccount.
fn add(scene: &mut Scene, node: SorchaCentralNode) {
    let account = json!({"metadata": {
        "name": node.name_any(), "namespace": node.namespace(), "ownerReferences": [controller_reference(&node)],
    }});
    put(&mut scene.writers.service_accounts, serde_json::from_value(account).expect("an account"));
    put(&mut scene.writers.central_nodes, node);
}

fn nodes(scene: &mut Scene) {
    add(scene, central("n0", 0));
    add(scene, central("n1", 1));
    let off = json!({"store": {"embedded": {}}, "publishers": {"kubernetes": {"enabled": false}}});
    add(scene, central_with("off", &off));
}

#[tokio::test(start_paused = true)]
async fn the_list_is_the_central_nodes_accounts_and_follows_them() {
    let mut scene = scene(&[("shop", "n0"), ("gone", "n9")]);
    nodes(&mut scene);
    let (triggers, _touched) = triggers();
    let ctx = Arc::clone(&scene.ctx);
    let (kept, told) = (ctx, triggers.clone());
    tokio::spawn(async move { run(&kept, &told).await });
    sleep(Duration::from_secs(1)).await;
    let calls = scene.take_calls();
    assert_eq!(calls.iter().map(|call| call.method.as_str()).collect::<Vec<_>>(), ["GET", "PATCH"]);
    assert!(
        calls[1].query.contains("force=true") && calls[1].query.contains("fieldManager=sorcha-controller")
    );
    assert_eq!(calls[1].body["subjects"], binding(&[("shop", "n0"), ("shop", "n1")])["subjects"]);
    assert!(calls[1].body.get("roleRef").is_none(), "the chart's: {}", calls[1].body);
    let metadata = &calls[1].body["metadata"];
    assert_eq!((&metadata["uid"], &metadata["resourceVersion"]), (&json!("uid-binding"), &json!("7")));

    triggers.nodes.notify_one();
    sleep(Duration::from_secs(1)).await;
    assert!(scene.take_calls().is_empty(), "nothing to do, no call");

    add(&mut scene, central("n2", 2));
    triggers.nodes.notify_one();
    sleep(Duration::from_secs(1)).await;
    let calls = scene.take_calls();
    assert_eq!(calls.iter().map(|call| call.method.as_str()).collect::<Vec<_>>(), ["GET", "PATCH"]);
    assert_eq!(calls[1].body["subjects"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_as_it_should_be_is_only_looked_at() {
    let mut scene = scene(&[("shop", "n1"), ("shop", "n0")]);
    nodes(&mut scene);
    let (triggers, _touched) = triggers();
    let ctx = Arc::clone(&scene.ctx);
    tokio::spawn(async move { run(&ctx, &triggers).await });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.take_calls().len(), 1, "one look after the start");
    sleep(Duration::from_secs(600)).await;
    let calls = scene.take_calls();
    assert_eq!(calls.len(), 1, "one look each resync");
    assert_eq!(calls[0].method, "GET");
}

#[tokio::test(start_paused = true)]
async fn a_missing_binding_is_told_and_tried_again() {
    let there = Arc::new(AtomicBool::new(false));
    let is_there = Arc::clone(&there);
    let mut scene = Scene::new(move |call| {
        (call.path == BINDING && is_there.load(Ordering::Relaxed))
            .then(|| (200, binding(&[("shop", "n0"), ("shop", "n1")])))
    });
    nodes(&mut scene);
    let (triggers, mut touched) = triggers();
    let ctx = Arc::clone(&scene.ctx);
    tokio::spawn(async move { run(&ctx, &triggers).await });
    sleep(Duration::from_secs(1)).await;
    let State::Fault(fault) = state(&scene, "n0") else { panic!("no fault") };
    assert!(fault.contains("sorcha-node-reviews") && fault.contains("helm upgrade"), "{fault}");
    let mut names = Vec::new();
    while let Ok(node) = touched.try_recv() {
        names.push(node.name);
    }
    names.sort();
    assert_eq!(names, ["n0", "n1", "off"], "all tell it in their status");
    there.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(state(&scene, "n0"), State::Given);
    assert!(touched.try_recv().is_ok());
}

/// The name of a central node is anybody's to choose who may make one.
#[tokio::test]
async fn an_account_that_no_central_node_owns_is_not_on_the_list() {
    let mut scene = Scene::new(|_| None);
    nodes(&mut scene);
    put(&mut scene.writers.central_nodes, central("default", 0));
    assert!(
        !accounts(&scene.ctx.caches).accounts.contains(&("shop".into(), "default".into())),
        "none is known"
    );
    let account = json!({"metadata": {"name": "default", "namespace": "shop", "uid": "u"}});
    put(&mut scene.writers.service_accounts, serde_json::from_value(account).expect("an account"));
    let wanted = accounts(&scene.ctx.caches);
    let names: Vec<&str> = wanted.accounts.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!((names, wanted.left_out.len()), (vec!["n0", "n1"], 0));
}

#[tokio::test]
async fn one_namespace_does_not_fill_the_list() {
    let mut scene = Scene::new(|_| None);
    for number in 0..OF_NAMESPACE + 3 {
        let mut node = central(&format!("n{number:04}"), 0);
        let at = jiff::Timestamp::from_second(1_790_000_000 + i64::try_from(number).expect("small"))
            .expect("a time");
        node.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
        add(&mut scene, node);
    }
    let mut other = central("n0", 0);
    other.metadata.namespace = Some("other".into());
    add(&mut scene, other);
    let wanted = accounts(&scene.ctx.caches);
    assert_eq!((wanted.accounts.len(), wanted.left_out.len()), (OF_NAMESPACE + 1, 3));
    assert!(wanted.accounts.contains(&("other".into(), "n0".into())));
    assert!(wanted.left_out.contains(&("shop".into(), format!("n{:04}", OF_NAMESPACE + 2))));
    assert!(scene.ctx.reviews.set(&State::Given, &wanted.left_out), "news");
    assert_eq!((state(&scene, "n0130"), state(&scene, "n0000")), (State::LeftOut, State::Given));
}

#[tokio::test(start_paused = true)]
async fn a_binding_of_another_role_is_left_alone() {
    let mut scene = Scene::new(move |call| {
        (call.path == BINDING).then(|| {
            let mut binding = binding(&[]);
            binding["roleRef"]["name"] = json!("cluster-admin");
            (200, binding)
        })
    });
    nodes(&mut scene);
    let (triggers, _touched) = triggers();
    let ctx = Arc::clone(&scene.ctx);
    tokio::spawn(async move { run(&ctx, &triggers).await });
    sleep(Duration::from_secs(30)).await;
    assert!(scene.take_calls().iter().all(|call| call.method == "GET"));
    let State::Fault(fault) = state(&scene, "n0") else { panic!("no fault") };
    assert!(fault.contains("ClusterRole cluster-admin"), "{fault}");
}
