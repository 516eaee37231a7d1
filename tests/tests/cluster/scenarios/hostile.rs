//! Resources that somebody with the right to edit one namespace makes, and what they do to everybody else: nothing.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{CONTROLLER, Cluster, system},
    eventually::{eventually, seconds},
    look::{Look as _, is_ready, restarts, sum},
    manifests,
    publishing::document,
    run::Done,
    space::Space,
};

const NETWORK: &str = "hostile.test";
/// Stands in every document; it may get into no log.
const MARKER: &str = "e2e-marker-of-a-document";
/// The largest documents, and how many of them: more than the controller's memory limit.
const LARGE: usize = 250;
const LARGE_BYTES: usize = 1_200_000;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let (good, bad) = (cluster.space("hostile", "-good").await?, cluster.space("hostile", "-bad").await?);
    good.apply(&[manifests::tokens(), manifests::embedded("n0", NETWORK)]).await?;
    good.until("scn/n0", 180, &[("Ready", "True")]).await?;
    deep(&good, &bad).await?;
    restarted(cluster).await?;
    published(&good, "after-restart-v1").await?;
    flooded(&good).await?;
    large(cluster, &good, &bad).await?;
    unproven(&good).await?;
    silent(cluster).await?;
    Ok(Done::Passed)
}

/// A document nested so deep, as text.
fn nested(name: &str, levels: usize) -> String {
    let document = format!("{}\"{MARKER}\"{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    format!(
        r#"{{"apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaBlueprint", "metadata": {{"name": "{name}"}},
        "spec": {{"network": "{NETWORK}", "document": {document}}}}}"#
    )
}

/// A document that is too deep is its own resource's problem, in a namespace without and in one with central nodes.
async fn deep(good: &Space, bad: &Space) -> Result<()> {
    for space in [bad, good] {
        for levels in [130, 1_000, 9_000] {
            let text = nested(&format!("deep-{levels}"), levels);
            let ended = space.try_kubectl(&["create", "--raw", &path(space), "-f", "-"], &text).await?;
            ended.out("create a deep blueprint")?;
        }
    }
    published(good, "beside-deep-v1").await?;
    for levels in [130, 1_000, 9_000] {
        // The resource itself is deeper than this program's reader goes.
        let reason = r#"-o=jsonpath={.status.conditions[?(@.type=="Published")].reason}"#;
        let name = format!("sbp/deep-{levels}");
        eventually("a document that is too deep is refused", seconds(60), async || {
            let told = good.kubectl(&["get", &name, reason]).await?;
            ensure!(told.trim() == "InvalidDocument", "{name} has {told:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

fn path(space: &Space) -> String {
    format!("/apis/sorcha.dev/v1alpha1/namespaces/{}/sorchablueprints", space.name)
}

async fn published(space: &Space, id: &str) -> Result<()> {
    create(space, id, &document(id)).await?;
    space.until(&format!("sbp/{id}"), 60, &[("Published", "True"), ("Ready", "True")]).await.map(drop)
}

/// `kubectl apply` would keep the document in an annotation too, which is too large for that.
async fn create(space: &Space, id: &str, document: &Value) -> Result<()> {
    let blueprint = manifests::blueprint(id, NETWORK, document);
    let ended = space.try_kubectl(&["create", "-f", "-"], &blueprint.to_string()).await?;
    ended.out(&format!("create the blueprint {id}")).map(drop)
}

/// At its start the controller meets all of them at once.
async fn restarted(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["-n", system(), "delete", "pods", "-l", CONTROLLER, "--wait=true"]).await?;
    controllers(cluster).await
}

async fn controllers(cluster: &Cluster) -> Result<()> {
    eventually("a ready controller holds the lease", seconds(90), async || cluster.leader().await.map(drop))
        .await
}

/// More callers than a node has places for, each reading a large document slowly: the kubelet's probes are answered, and
/// publications go on.
async fn flooded(space: &Space) -> Result<()> {
    let mut large = document("flooded-v1");
    large["description"] = json!("x".repeat(FLOODED_BYTES));
    create(space, "flooded-v1", &large).await?;
    space.until("sbp/flooded-v1", 60, &[("Published", "True")]).await?;
    let before = probed(space).await?;
    space.apply(&[flood(space).await?]).await?;
    space.kubectl(&["wait", "pod/flood", "--for=condition=Ready", "--timeout=60s"]).await?;
    published(space, "beside-flood-v1").await?;
    let evicted = eventually("callers are evicted", seconds(60), async || {
        let evicted = evicted(space).await?;
        ensure!(evicted > 0.0, "the node has evicted {evicted} callers");
        Ok(evicted)
    })
    .await?;
    let ended = "--for=jsonpath={.status.phase}=Succeeded";
    space.kubectl(&["wait", "pod/flood", ended, "--timeout=120s"]).await?;
    let after = probed(space).await?;
    ensure!(before == after, "probes of {FLOODED} failed: before {before:?}, after {after:?}");
    println!("      hostile: {evicted} slow callers were evicted, no probe failed");
    Ok(())
}

/// The pod whose places are used up.
const FLOODED: &str = "n0-0";
const FLOODED_BYTES: usize = 1_000_000;

/// How often the pod was started again, since when it is ready, how many of its probes have failed.
async fn probed(space: &Space) -> Result<(i64, String, i64)> {
    let pod = space.get(&[&format!("pod/{FLOODED}")]).await?;
    let ready = pod.list("/status/conditions").iter().find(|condition| condition.text("/type") == "Ready");
    let since =
        ready.filter(|ready| ready.text("/status") == "True").map(|ready| ready.text("/lastTransitionTime"));
    let restarts = restarts(&pod);
    let since = since.with_context(|| format!("{FLOODED} is not ready"))?.to_owned();
    Ok((restarts, since, space.count("Pod", FLOODED, "Unhealthy").await?))
}

async fn evicted(space: &Space) -> Result<f64> {
    Ok(sum(&space.metrics(FLOODED).await?, "http_connections_cut_total{"))
}

async fn flood(space: &Space) -> Result<Value> {
    let address = space.get(&[&format!("pod/{FLOODED}")]).await?.text("/status/podIP").to_owned();
    let mut pod = manifests::shell(&space.cluster.settings, "flood", include_str!("flood.sh"));
    let url = format!("http://{address}:8080/api/system-register/blueprints/flooded-v1");
    pod["spec"]["containers"][0]["env"] = json!([{"name": "URL", "value": url}]);
    Ok(pod)
}

/// More documents than fit into the controller's memory.
async fn large(cluster: &Cluster, good: &Space, bad: &Space) -> Result<()> {
    let text = format!("{MARKER}{}", "x".repeat(LARGE_BYTES));
    for number in 0..LARGE {
        create(bad, &format!("large-{number}"), &json!({"text": text})).await?;
    }
    restarted(cluster).await?;
    published(good, "beside-large-v1").await?;
    let pods = cluster.json(&["-n", system(), "get", "pods", "-l", CONTROLLER]).await?;
    for pod in pods.list("/items") {
        let restarts = restarts(pod);
        ensure!(restarts == 0 && is_ready(pod), "{} was started {restarts} times again", pod.name());
    }
    bad.kubectl(&["delete", "sbp", "--all", "--wait=false"]).await.map(drop)
}

/// A token is told to nobody who does not prove who they are: not where TLS is off, not where a Service is somebody else's.
async fn unproven(space: &Space) -> Result<()> {
    let mut plain = manifests::embedded("plain", "plain.test");
    plain["spec"]["tls"] = json!({"mode": "Disabled"});
    space.apply(&[plain, manifests::blueprint("plain-v1", "plain.test", &document("plain-v1"))]).await?;
    space.until("scn/plain", 180, &[("Ready", "True")]).await?;
    let refused = space.until_reason("sbp/plain-v1", 60, "Published", "CentralNodeUnproven").await?;
    let told = refused.expect("Published", "False")?.message.to_owned();
    ensure!(told.contains("tls.mode is Disabled"), "{told}");
    Ok(())
}

async fn silent(cluster: &Cluster) -> Result<()> {
    let log = cluster.kubectl(&["-n", system(), "logs", "-l", CONTROLLER, "--tail=-1", "--prefix"]).await?;
    let line = log.lines().find(|line| line.contains(MARKER));
    ensure!(line.is_none(), "a document is in the log: {line:?}");
    Ok(())
}
