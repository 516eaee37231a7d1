//! A central node dies, and one leaves in order.

use std::{cell::Cell, rc::Rc, time::Instant};

use anyhow::{Result, ensure};

use crate::{
    cluster::Cluster,
    look::Look as _,
    network,
    publishing::{publish_while, until_replicated},
    run::Done,
    space::Space,
};

/// How long peers may take from the fault to the status that tells where they are now.
const FAILOVER: u64 = 20;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    kill(space).await?;
    drain(space).await?;
    Ok(Done::Passed)
}

async fn kill(space: &Space) -> Result<()> {
    let edge = network::settle(space, network::REPLICAS).await?;
    let (central, before) =
        (edge.text("/status/nodes/0/centralNode").to_owned(), edge.number("/status/failovers"));
    let started = Instant::now();
    space.kubectl(&["delete", "pod", &format!("{central}-0"), "--grace-period=0", "--force"]).await?;
    let moved = network::until_moved(space, &central, FAILOVER).await?;
    let took = started.elapsed().as_secs_f64();
    println!("      failover: all peers of the killed {central} are elsewhere after {took:.1} s");
    let (after, nodes) = (moved.number("/status/failovers"), moved.list("/status/nodes"));
    let counted: i64 = nodes.iter().map(|node| node.number("/failovers")).sum();
    ensure!(counted > before, "{counted} failovers reported, {before} before, {after} in the sum");
    network::settle(space, network::REPLICAS).await?;
    let told = space.events("SorchaPeer", "edge").await?;
    let moves: Vec<_> = told.iter().filter(|event| event.0 == "FailedOver").collect();
    ensure!(
        moves
            .iter()
            .any(|(_, _, text)| text.contains("edge-") && text.contains(&format!(" from {central} to "))),
        "no Event says which peers moved away from {central}: {moves:?}"
    );
    Ok(())
}

async fn drain(space: &Space) -> Result<()> {
    let edge = network::settle(space, network::REPLICAS).await?;
    let central = edge.text("/status/nodes/0/centralNode").to_owned();
    let pod = format!("{central}-0");
    let going = Cell::new(true);
    let work = async {
        let deleted = space.kubectl(&["delete", "pod", &pod, "--wait=true"]).await;
        // The pod is gone: whoever is still there was cut off.
        let moved = network::until_moved(space, &central, 10).await;
        going.set(false);
        deleted.and(moved)
    };
    let (published, moved) = tokio::join!(publish_while(space, &going, "during-drain"), work);
    let (published, _) = (published?, moved?);
    let pods = network::edge_pods(network::REPLICAS);
    until_replicated(space, &pods, &published).await?;
    let (count, refused) = (published.ids.len(), published.refused);
    println!(
        "      failover: {count} publications during the drain of {central}, {refused} attempts refused, none lost"
    );
    for pod in &pods {
        let status = space.pod(pod, "/api/connection/status").await?;
        let newest = status.text("/transitions/0/what");
        ensure!(status.text("/isolatedSince").is_empty(), "{pod} is isolated: {newest}");
    }
    network::settle(space, network::REPLICAS).await.map(drop)
}
