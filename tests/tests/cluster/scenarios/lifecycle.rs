//! Pausing, asking for a resync, a Secret that comes late, peers that come early.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{always, eventually, seconds},
    look::{Look as _, restarts},
    manifests,
    run::Done,
    space::Space,
};

const NETWORK: &str = "lifecycle.test";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("lifecycle", "").await?;
    space.apply(&[manifests::embedded("n0", NETWORK), manifests::peers("edge", NETWORK, 1)]).await?;
    missing_secret(&space).await?;
    space.until("sp/edge", 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    let annotate = |value: &'static str| json!({"metadata": {"annotations": {"sorcha.dev/paused": value}}});
    paused(&space, &json!({"spec": {"suspend": true}}), &json!({"spec": {"suspend": false}}), "spec.suspend")
        .await?;
    paused(&space, &annotate("true"), &annotate("false"), "annotation").await?;
    resync(&space).await?;
    Ok(Done::Passed)
}

/// The Secret with the publishers' tokens is not there at first.
async fn missing_secret(space: &Space) -> Result<()> {
    let node = space.until_reason("scn/n0", 30, "Ready", "SecretNotFound").await?;
    let condition = node.expect_reason("Ready", "False", "SecretNotFound")?;
    for told in ["sorcha-publishers", "tokens", "create it in namespace", &space.name] {
        ensure!(condition.message.contains(told), "the message does not say {told}: {condition:?}");
    }
    ensure!(!space.exists(&["statefulset", "n0"]).await?, "there is a pod that must hang");
    space.apply(&[manifests::tokens()]).await?;
    space.until("scn/n0", 120, &[("Ready", "True")]).await.map(drop)
}

async fn paused(space: &Space, pause: &Value, resume: &Value, why: &str) -> Result<()> {
    for what in ["sp/edge", "scn/n0"] {
        let service = format!("service/{}", &what[what.len() - if what.starts_with("sp") { 4 } else { 2 }..]);
        space.patch(what, pause).await?;
        let object = space.until(what, 20, &[("Paused", "True")]).await?;
        let condition = object.expect_reason("Paused", "True", "Suspended")?;
        ensure!(condition.message.contains(why), "{condition:?}");
        object.expect("Ready", "True")?;
        space.kubectl(&["delete", &service]).await?;
        always("drift is left alone", seconds(3), async || {
            ensure!(!space.exists(&[&service]).await?, "{service} was made again");
            Ok(())
        })
        .await?;
        space.patch(what, resume).await?;
        space.until(what, 20, &[("Paused", "False")]).await?;
        eventually(&format!("{service} is repaired"), seconds(15), async || {
            space.get(&[&service]).await.map(drop)
        })
        .await?;
    }
    Ok(())
}

async fn resync(space: &Space) -> Result<()> {
    let before = fulls(space).await?;
    space.patch("sp/edge", &json!({"spec": {"forceResync": "today"}})).await?;
    // The kubelet brings the ConfigMap to the pod at its own pace: up to a minute and more with its usual settings.
    eventually("the resync is done", seconds(150), async || {
        let edge = space.get(&["sp/edge"]).await?;
        ensure!(edge.text("/status/forceResync") == "today", "{}", edge["status"]);
        edge.expect("Ready", "True").map(drop)
    })
    .await?;
    let after = fulls(space).await?;
    ensure!(after == before + 1, "{after} full syncs, {before} before");
    eventually("one Event tells", seconds(10), async || {
        let told = space.count("SorchaPeer", "edge", "Resynced").await?;
        ensure!(told == 1, "{told} Events Resynced");
        Ok(())
    })
    .await
}

async fn fulls(space: &Space) -> Result<usize> {
    let history = space.pod("edge-0", "/api/sync/history").await?;
    Ok(history.list("").iter().filter(|sync| sync.text("/syncType") == "Full").count())
}

/// Peers wait for central nodes that come later, and live on without any.
pub(crate) async fn late(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("late", "").await?;
    space.apply(&[manifests::tokens(), manifests::peers("edge", NETWORK, 1)]).await?;
    let edge = space.until_reason("sp/edge", 90, "Isolated", "NoCentralNode").await?;
    ensure!(edge.text("/status/state") == "Isolated", "{}", edge["status"]);
    let started = space.get(&["pod/edge-0"]).await?;
    space.apply(&[manifests::embedded("n0", NETWORK)]).await?;
    space.until("scn/n0", 120, &[("Ready", "True")]).await?;
    let expected = [("Ready", "True"), ("Connected", "True"), ("Synced", "True"), ("Isolated", "False")];
    space.until("sp/edge", 180, &expected).await?;
    let pod = space.get(&["pod/edge-0"]).await?;
    let same = pod["metadata"]["uid"] == started["metadata"]["uid"];
    let restarts = restarts(&pod);
    ensure!(same && restarts == 0, "the peer was restarted to find its central node");
    Ok(Done::Passed)
}
