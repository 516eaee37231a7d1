//! Objects that others delete, change or had before.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    run::Done,
    space::Space,
};

const NETWORK: &str = "drift.test";
/// "Within seconds".
const REPAIR: u64 = 10;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("drift", "").await?;
    space
        .apply(&[
            manifests::tokens(),
            manifests::embedded("n0", NETWORK),
            manifests::peers("edge", NETWORK, 1),
        ])
        .await?;
    space.until("scn/n0", 120, &[("Ready", "True")]).await?;
    space.until("sp/edge", 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    for object in OWNED {
        deleted(&space, object).await?;
    }
    for (object, change) in changes() {
        modified(&space, object, &change).await?;
    }
    taken_over_replicas(&space).await?;
    space.until("sp/edge", 60, &[("Ready", "True")]).await?;
    Ok(Done::Passed)
}

/// One of each kind; deleting the StatefulSet takes the pods along.
const OWNED: [&str; 12] = [
    "service/edge",
    "service/edge-headless",
    "service/n0",
    "configmap/edge",
    "configmap/sorcha-central-nodes.drift.test",
    "serviceaccount/edge",
    "role/edge",
    "rolebinding/edge",
    "networkpolicy/edge",
    "poddisruptionbudget/edge",
    "poddisruptionbudget/sorcha-central-nodes.drift.test",
    "statefulset/edge",
];

async fn deleted(space: &Space, object: &str) -> Result<()> {
    let before = space.get(&[object]).await?;
    space.kubectl(&["delete", object, "--wait=false"]).await?;
    eventually(&format!("{object} is made again"), seconds(REPAIR), async || {
        let now = space.get(&[object]).await?;
        ensure!(now.text("/metadata/uid") != before.text("/metadata/uid"), "it is still the old one");
        Ok(())
    })
    .await
}

/// Changes that must not stay: what is set, and what is added where only what is desired may stand.
fn changes() -> Vec<(&'static str, Value)> {
    let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]});
    let account = json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"});
    vec![
        ("configmap/edge", json!([{"op": "replace", "path": "/data/sorcha.toml", "value": "nonsense"}])),
        ("configmap/edge", json!([{"op": "remove", "path": "/data/sorcha.toml"}])),
        ("service/edge", json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 9090}])),
        ("service/edge", json!([{"op": "remove", "path": "/metadata/labels/app.kubernetes.io~1part-of"}])),
        ("poddisruptionbudget/edge", json!([{"op": "replace", "path": "/spec/maxUnavailable", "value": 3}])),
        ("networkpolicy/n0", json!([{"op": "remove", "path": "/spec/ingress/0/from"}])),
        ("networkpolicy/n0", json!([{"op": "add", "path": "/spec/ingress/-", "value": {}}])),
        ("role/edge", json!([{"op": "replace", "path": "/rules/0/verbs", "value": ["get"]}])),
        ("role/edge", json!([{"op": "add", "path": "/rules/-", "value": secrets}])),
        ("role/edge", json!([{"op": "add", "path": "/rules/0/resourceNames/-", "value": "other"}])),
        ("rolebinding/edge", json!([{"op": "add", "path": "/subjects/-", "value": account}])),
        ("statefulset/edge", json!([{"op": "replace", "path": "/spec/replicas", "value": 0}])),
    ]
}

/// What of an object the spec decides.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    let metadata = json!({"labels": object["metadata"]["labels"], "ownerReferences": object["metadata"]["ownerReferences"]});
    content["metadata"] = metadata;
    content["status"] = Value::Null;
    content
}

async fn modified(space: &Space, object: &str, change: &Value) -> Result<()> {
    let before = content(&space.get(&[object]).await?);
    let (kind, name) = object.split_once('/').unwrap_or_default();
    space.kubectl(&["patch", kind, name, "--type=json", "-p", &change.to_string()]).await?;
    eventually(&format!("{object} is as before {change}"), seconds(REPAIR), async || {
        let now = content(&space.get(&[object]).await?);
        ensure!(now == before, "it is {now}");
        Ok(())
    })
    .await
}

/// Another field manager takes the replicas over.
async fn taken_over_replicas(space: &Space) -> Result<()> {
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "edge"}, "spec": {"replicas": 3},
    });
    let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "-f", "-"];
    space.try_kubectl(&arguments, &set.to_string()).await?.out("kubectl apply --server-side")?;
    eventually("edge has one replica again", seconds(REPAIR), async || {
        let replicas = space.get(&["statefulset/edge"]).await?.number("/spec/replicas");
        ensure!(replicas == 1, "it has {replicas}");
        Ok(())
    })
    .await
}

/// A central node and peers of one name: the older one keeps what it has, certificate and all.
async fn kinds_of_one_name(space: &Space) -> Result<()> {
    const OBJECTS: [&str; 6] =
        ["secret/x-tls", "service/x", "configmap/x", "serviceaccount/x", "role/x", "statefulset/x"];
    space.apply(&[manifests::tokens(), manifests::embedded("x", "taken.test")]).await?;
    space.until("scn/x", 120, &[("Ready", "True")]).await?;
    let mut before = Vec::new();
    for object in OBJECTS {
        before.push(space.get(&[object]).await?);
    }
    tokio::time::sleep(seconds(2)).await;
    space.apply(&[manifests::peers("x", "taken.test", 1)]).await?;
    let peers = space.until_reason("sp/x", 30, "Ready", "NameTaken").await?;
    let condition = peers.expect_reason("Ready", "False", "NameTaken")?;
    ensure!(condition.message.contains("SorchaCentralNode x"), "{condition:?}");
    for (object, before) in OBJECTS.iter().zip(before) {
        let now = space.get(&[object]).await?;
        for part in ["/metadata/uid", "/metadata/ownerReferences", "/metadata/labels", "/data", "/spec"] {
            ensure!(now.pointer(part) == before.pointer(part), "{part} of {object} was changed: {now}");
        }
    }
    space.until("scn/x", 30, &[("Ready", "True")]).await.map(drop)
}

/// A user's own Secrets with the names of certificates.
async fn secrets(space: &Space) -> Result<()> {
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"theirs": "kept"}});
    space.apply(&[secret("s-tls"), secret("sorcha-ca.secrets.test")]).await?;
    for (name, network, taken) in
        [("s", "free.test", "secret/s-tls"), ("t", "secrets.test", "secret/sorcha-ca.secrets.test")]
    {
        let before = space.get(&[taken]).await?;
        space.apply(&[manifests::peers(name, network, 1)]).await?;
        let peers = space.until_reason(&format!("sp/{name}"), 30, "Ready", "NameTaken").await?;
        let condition = peers.expect_reason("Ready", "False", "NameTaken")?;
        ensure!(condition.message.contains(taken.trim_start_matches("secret/")), "{condition:?}");
        let now = space.get(&[taken]).await?;
        ensure!(
            now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"],
            "{taken} was changed"
        );
        ensure!(!space.exists(&["statefulset", name]).await?, "{name} was started without a certificate");
    }
    Ok(())
}

/// Names that are somebody else's.
pub(crate) async fn taken(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("taken", "").await?;
    let map = |name: &str, owners: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners},
            "data": {"theirs": "kept"},
        })
    };
    space.apply(&[map("owner", json!([]))]).await?;
    let uid = space.get(&["configmap/owner"]).await?.text("/metadata/uid").to_owned();
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]);
    let labels = json!({"app": "theirs"});
    let pod = json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "theirs", "image": "localhost/none:none"}]},
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "c"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod, "serviceName": "c"},
    });
    // Somebody's with an owner, a user's own without one, and another kind.
    space.apply(&[map("a", owner), map("b", json!([])), set]).await?;
    space.apply(&["a", "b", "c"].map(|name| manifests::peers(name, "taken.test", 1))).await?;
    for (name, object) in [("a", "configmap/a"), ("b", "configmap/b"), ("c", "statefulset/c")] {
        let before = space.get(&[object]).await?;
        let peers = space.until_reason(&format!("sp/{name}"), 30, "Ready", "NameTaken").await?;
        let condition = peers.expect_reason("Ready", "False", "NameTaken")?;
        let told =
            condition.message.contains(name) && condition.message.contains("give this resource another name");
        ensure!(told, "the message names no remedy: {condition:?}");
        let now = space.get(&[object]).await?;
        ensure!(
            now.text("/metadata/resourceVersion") == before.text("/metadata/resourceVersion"),
            "{object} was changed: {now}"
        );
        ensure!(
            now.pointer("/metadata/labels/app.kubernetes.io~1managed-by").is_none(),
            "{object} was taken over: {now}"
        );
    }
    kinds_of_one_name(&space).await?;
    secrets(&space).await?;
    // The way is free again: the name is taken up, at the next try. The more failed, the later that is, three minutes at the
    // latest; what changed in the network meanwhile made it fail more often.
    space.kubectl(&["delete", "configmap", "b"]).await?;
    eventually("b has its objects", seconds(200), async || space.get(&["statefulset/b"]).await.map(drop))
        .await?;
    Ok(Done::Passed)
}
