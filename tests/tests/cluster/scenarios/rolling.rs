//! All central nodes change at once, and take turns.

use std::{cell::Cell, collections::BTreeSet, rc::Rc};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    network::{self, CENTRAL},
    publishing::{publish_while, until_replicated},
    run::Done,
    space::Space,
};

const REPLICAS: i32 = 3;
const FILTER: &str = "info,sorcha=debug";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    network::settle(space, REPLICAS).await?;
    let going = Cell::new(true);
    let work = async {
        let result = roll(space).await;
        going.set(false);
        result
    };
    let (published, rolled) = tokio::join!(publish_while(space, &going, "during-roll"), work);
    rolled?;
    let published = published?;
    until_replicated(space, &network::edge_pods(REPLICAS), &published).await?;
    until_replicated(space, &CENTRAL.map(|name| format!("{name}-0")), &published).await?;
    let (count, refused) = (published.ids.len(), published.refused);
    println!("      rolling: {count} publications meanwhile, {refused} attempts refused, none lost");
    network::settle(space, REPLICAS).await?;
    Ok(Done::Passed)
}

async fn roll(space: &Space) -> Result<()> {
    let mut before = BTreeSet::new();
    for name in CENTRAL {
        before.insert(space.get(&[&format!("pod/{name}-0")]).await?.text("/metadata/uid").to_owned());
    }
    let patch = json!({"spec": {"log": {"filter": FILTER}}}).to_string();
    space.kubectl(&["patch", "scn", "n0", "n1", "n2", "--type=merge", "-p", &patch]).await?;
    let (mut most_away, mut waited) = (0, BTreeSet::new());
    eventually("all central nodes run the new spec", seconds(180), async || {
        most_away = most_away.max(network::not_ready(space, "central-node", CENTRAL.len()).await?);
        let nodes = space.get(&["scn"]).await?;
        for node in nodes.list("/items") {
            if node.condition("Ready").is_some_and(|condition| condition.reason == "WaitingForTurn") {
                waited.insert(node.name().to_owned());
            }
        }
        for node in nodes.list("/items") {
            node.expect("Ready", "True")?;
        }
        let pods = space.get(&["pods", "-l", "app.kubernetes.io/component=central-node"]).await?;
        for pod in pods.list("/items") {
            ensure!(!before.contains(pod.text("/metadata/uid")), "{} is still the old one", pod.name());
        }
        Ok(())
    })
    .await?;
    ensure!(most_away <= 1, "{most_away} central nodes were away at once");
    ensure!(waited.len() == 2, "those that waited for their turn, as the status says: {waited:?}");
    Ok(())
}
