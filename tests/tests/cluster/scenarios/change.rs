//! A change that restarts peers.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::{Look as _, is_ready},
    network,
    run::Done,
};

const REPLICAS: i32 = 3;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    network::settle(space, REPLICAS).await?;
    let image = &cluster.settings.image_2;
    let resources = json!({"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "300Mi"}});
    let change = json!({"spec": {"sync": {"interval": "7m"}, "resources": resources, "image": image, "log": {"format": "Human"}}});
    space.patch("sp/edge", &change).await?;
    let mut most_away = 0;
    let mut told = false;
    eventually("every replica is as the new spec says", seconds(120), async || {
        most_away = most_away.max(network::not_ready(space, "peer", 3).await?);
        let edge = space.get(&["sp/edge"]).await?;
        told |= edge.condition("Ready").is_some_and(|condition| condition.status == "False");
        for type_ in ["Ready", "Connected", "Synced"] {
            edge.expect(type_, "True")?;
        }
        let pods = space.get(&["pods", "-l", "app.kubernetes.io/component=peer"]).await?;
        for pod in pods.list("/items") {
            let container = &pod["spec"]["containers"][0];
            let same = container.text("/image") == image && container["resources"] == resources;
            ensure!(same && is_ready(pod), "{} runs {container}", pod.name());
        }
        Ok(())
    })
    .await?;
    ensure!(most_away <= 1, "{most_away} replicas were away at once");
    ensure!(told, "the status never said that replicas are being replaced");
    let map = space.get(&["configmap/edge"]).await?;
    ensure!(map.text("/data/sorcha.toml").contains("interval = \"7m\""), "{}", map["data"]);
    for pod in network::edge_pods(REPLICAS) {
        let log = space.kubectl(&["logs", &pod]).await?;
        ensure!(!log.is_empty() && !log.contains("{\""), "{pod} runs with the settings from before: {log}");
    }
    Ok(Done::Passed)
}
