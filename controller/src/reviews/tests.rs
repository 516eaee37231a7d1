use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::mpsc;

use super::*;
use crate::fixtures::{Scene, central, central_with, put};

const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/sorcha-node-reviews";

fn binding(accounts: &[(&str, &str)]) -> Value {
    let subjects: Vec<_> = accounts
        .iter()
        .map(|(namespace, name)| json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}))
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "sorcha-node-reviews"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sorcha-node-reviews"},
        "subjects": subjects,
    })
}

type Touched = mpsc::UnboundedReceiver<kube::runtime::reflector::ObjectRef<SorchaCentralNode>>;

fn triggers() -> (Triggers, Touched) {
    let (central, touched) = mpsc::unbounded_channel();
    let (peer, _) = mpsc::unbounded_channel();
    (Triggers { central, peer, blueprint: mpsc::unbounded_channel().0, nodes: Arc::default() }, touched)
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

fn nodes(scene: &mut Scene) {
    put(&mut scene.writers.central_nodes, central("n0", 0));
    put(&mut scene.writers.central_nodes, central("n1", 1));
    let off = json!({"store": {"embedded": {}}, "publishers": {"kubernetes": {"enabled": false}}});
    put(&mut scene.writers.central_nodes, central_with("off", &off));
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

    triggers.nodes.notify_one();
    sleep(Duration::from_secs(1)).await;
    assert!(scene.take_calls().is_empty(), "nothing to do, no call");

    put(&mut scene.writers.central_nodes, central("n2", 2));
    triggers.nodes.notify_one();
    sleep(Duration::from_secs(1)).await;
    let calls = scene.take_calls();
    assert_eq!(calls.len(), 1, "one write, without a look: {calls:?}");
    assert_eq!(calls[0].body["subjects"].as_array().map(Vec::len), Some(3));
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
    let State::Fault(fault) = scene.ctx.reviews.state() else { panic!("no fault") };
    assert!(fault.contains("sorcha-node-reviews") && fault.contains("helm upgrade"), "{fault}");
    let mut names = Vec::new();
    while let Ok(node) = touched.try_recv() {
        names.push(node.name);
    }
    names.sort();
    assert_eq!(names, ["n0", "n1", "off"], "all tell it in their status");
    there.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(scene.ctx.reviews.state(), State::Given);
    assert!(touched.try_recv().is_ok());
}
