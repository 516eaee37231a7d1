//! No central node is left: the replicas go on, and say so.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    network::{self, CENTRAL, REPLICAS},
    publishing::publish,
    run::Done,
    space::Space,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    network::settle(space, REPLICAS).await?;
    let version = publish(space, "publisher", "n1", "kept-v1").await?;
    eventually("the publication is replicated", seconds(30), async || {
        let edge = space.get(&["sp/edge"]).await?;
        ensure!(edge.number("/status/minVersion") >= version, "{}", edge["status"]["nodes"]);
        Ok(())
    })
    .await?;
    // At their start, peers may have been there before any central node.
    let before = (told(space, "NoCentralNode").await?, told(space, "NotIsolated").await?);
    for name in CENTRAL {
        space.patch(&format!("scn/{name}"), &json!({"spec": {"suspend": true}})).await?;
        space.until(&format!("scn/{name}"), 20, &[("Paused", "True")]).await?;
    }
    space.kubectl(&["scale", "statefulset", "n0", "n1", "n2", "--replicas=0"]).await?;
    let edge = space
        .until("sp/edge", 60, &[("Isolated", "True"), ("Connected", "False"), ("Ready", "True")])
        .await?;
    let condition = edge.expect("Isolated", "True")?;
    ensure!(
        condition.reason == "NoCentralNode" && condition.message.contains("last good register"),
        "{condition:?}"
    );
    eventually("every replica is isolated", seconds(40), async || {
        let edge = space.get(&["sp/edge"]).await?;
        ensure!(edge.text("/status/state") == "Isolated", "STATE is {}", edge.text("/status/state"));
        ensure!(edge.number("/status/isolated") == i64::from(REPLICAS), "{}", edge["status"]["nodes"]);
        edge.expect("Ready", "True").map(drop)
    })
    .await?;
    for _ in 0..REPLICAS {
        let answer = space.service("edge", "/api/system-register/blueprints/kept-v1", &[]).await?;
        ensure!(answer.status == 200, "an isolated peer answers HTTP {}", answer.status);
        ensure!(answer.header("sorcha-peer-state") == "Isolated", "{:?}", answer.headers);
    }
    for name in CENTRAL {
        space.patch(&format!("scn/{name}"), &json!({"spec": {"suspend": false}})).await?;
    }
    network::settle(space, REPLICAS).await?;
    space.until("sp/edge", 90, &[("Isolated", "False"), ("Connected", "True"), ("Synced", "True")]).await?;
    let after = (told(space, "NoCentralNode").await?, told(space, "NotIsolated").await?);
    ensure!(
        after == (before.0 + 1, before.1 + 1),
        "Events of isolation and its end: {before:?} before, {after:?} now"
    );
    Ok(Done::Passed)
}

async fn told(space: &Space, reason: &str) -> Result<i64> {
    space.count("SorchaPeer", "edge", reason).await
}
