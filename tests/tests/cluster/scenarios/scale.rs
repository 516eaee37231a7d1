//! More and fewer replicas, and one that starts again.

use std::rc::Rc;

use anyhow::{Result, ensure};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    network,
    run::Done,
    space::Space,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    network::settle(space, 5).await?;
    to(space, 8).await?;
    to(space, 2).await?;
    let path = format!("/apis/sorcha.dev/v1alpha1/namespaces/{}/sorchapeers/edge/scale", space.name);
    let scale = cluster.proxy.get(&path, &[]).await?.json()?;
    ensure!(scale.number("/spec/replicas") == 2 && scale.number("/status/replicas") == 2, "{scale}");
    let selected = space.get(&["pods", "-l", scale.text("/status/selector")]).await?;
    ensure!(selected.list("/items").len() == 2, "the scale's selector does not select the two pods: {scale}");
    Ok(Done::Passed)
}

async fn to(space: &Space, replicas: usize) -> Result<()> {
    space.kubectl(&["scale", "sp/edge", &format!("--replicas={replicas}")]).await?;
    eventually(&format!("edge has {replicas} replicas"), seconds(90), async || {
        let edge = space.get(&["sp/edge"]).await?;
        for type_ in ["Ready", "Connected", "Synced"] {
            edge.expect(type_, "True")?;
        }
        let (ready, nodes) = (edge.text("/status/ready"), edge.list("/status/nodes"));
        ensure!(ready == format!("{replicas}/{replicas}"), "READY is {ready}");
        let names: Vec<&str> = nodes.iter().map(|node| node.text("/name")).collect();
        ensure!(names.len() == replicas, "{names:?} report");
        Ok(())
    })
    .await
}

/// A replica whose pod is deleted takes its volume up again and fetches nothing that it holds.
pub(crate) async fn restart(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    network::settle(space, 2).await?;
    let before = space.get(&["pod/edge-1"]).await?;
    let held = space.pod("edge-1", "/api/system-register").await?;
    space.kubectl(&["delete", "pod", "edge-1"]).await?;
    eventually("edge-1 is back with what it held", seconds(60), async || {
        let pod = space.get(&["pod/edge-1"]).await?;
        ensure!(pod.text("/metadata/uid") != before.text("/metadata/uid"), "it is still the old pod");
        let register = space.pod("edge-1", "/api/system-register").await?;
        ensure!(register["lineage"] == held["lineage"] && register["digest"] == held["digest"], "{register}");
        let connection = space.pod("edge-1", "/api/connection/status").await?;
        ensure!(connection.text("/status") == "HeartbeatMonitoring", "{connection}");
        let history = space.pod("edge-1", "/api/sync/history").await?;
        ensure!(history.list("").iter().all(|sync| sync.text("/syncType") == "Incremental"), "{history}");
        Ok(())
    })
    .await?;
    network::settle(space, 2).await?;
    Ok(Done::Passed)
}
