//! SIGSTOP: a node hangs and holds its sockets. Its silence is noticed by keepalive, not by a closed connection.

use anyhow::{Context as _, Result, ensure};
use rand::RngExt as _;

use super::mongo::{self, Database};
use crate::{
    network::{Network, eventually},
    node::Role,
    publishers::Publishers,
    scenario::{Done, Given},
};

const PEERS: usize = 3;

/// A central node alone: its peers are isolated, serve what they hold, and come back.
pub(crate) async fn alone(mut given: Given) -> Result<Done> {
    let mut network = Network::new(&given.directory)?;
    network.central(None)?;
    for number in 0..PEERS {
        network.peer(&format!("edge-{number}"), &[])?;
    }
    network.start_all().await?;
    let ports = network.ports(Role::Central);
    let publishers = Publishers::start(4, &ports, &network.told, &network.api, &mut given.random);
    let mut rounds = 0;
    while rounds == 0 || given.has_time() {
        tokio::time::sleep(given.millis(100..800)).await;
        let at = given.random.random_range(0..network.nodes.len());
        let marks: Vec<u64> = network.nodes.iter().map(crate::node::Node::log_mark).collect();
        network.nodes[at].pause();
        if at == 0 {
            isolated(&network, &marks).await?;
        }
        tokio::time::sleep(given.millis(1500..4000)).await;
        network.nodes[at].resume();
        connected(&network).await?;
        network.observer.check()?;
        rounds += 1;
    }
    publishers.stop().await;
    let verified = network.verify(&[]).await?;
    Ok(Done::Passed(format!("{rounds} hung nodes; {verified}")))
}

/// Every peer says that it is alone, and goes on answering.
async fn isolated(network: &Network, marks: &[u64]) -> Result<()> {
    for (peer, mark) in network.nodes.iter().zip(marks).skip(1) {
        eventually(&format!("{} is isolated", peer.name), async || {
            peer.logged(
                *mark,
                &["WARN", "isolated: no central node can be reached; serving the last replica"],
            )
        })
        .await?;
        let ready = network.api.get(peer.http, "/readyz").await;
        ready.context("an isolated peer is ready")?;
        network.api.get(peer.http, "/api/system-register/blueprints/register-creation-v1").await?;
    }
    Ok(())
}

async fn connected(network: &Network) -> Result<()> {
    for peer in network.nodes.iter().filter(|node| node.role == Role::Peer) {
        eventually(&format!("{} is connected again", peer.name), async || {
            at(network, peer.http).await.map(drop)
        })
        .await?;
    }
    Ok(())
}

/// The central node that a peer is at.
async fn at(network: &Network, port: u16) -> Result<String> {
    let status = network.api.get(port, "/api/connection/status").await?;
    ensure!(status["status"] == "HeartbeatMonitoring", "it is {}", status["status"]);
    Ok(status["connectedCentralNodeId"].as_str().context("no connectedCentralNodeId")?.to_owned())
}

/// One of three central nodes hangs: its peers move, and nothing is served twice when it goes on.
pub(crate) async fn moving(mut given: Given) -> Result<Done> {
    let Some(mut database) = Database::of(&given) else { return Ok(mongo::SKIPPED) };
    database.start();
    let mut network = mongo::network(&given, &database)?;
    network.start_all().await?;
    let ports = network.ports(Role::Central);
    let publishers = Publishers::start(4, &ports, &network.told, &network.api, &mut given.random);
    let (mut rounds, mut moves) = (0, 0);
    while rounds == 0 || given.has_time() {
        tokio::time::sleep(given.millis(100..800)).await;
        // The one at which the first peer is.
        let peer = network.nodes.iter().find(|node| node.role == Role::Peer).context("a peer")?.http;
        let hung = eventually("a peer is connected", async || at(&network, peer).await).await?;
        let central = network.nodes.iter().find(|node| hung.starts_with(&node.name)).context("a node")?;
        central.pause();
        moves += left(&network, &hung).await?;
        tokio::time::sleep(given.millis(0..1000)).await;
        central.resume();
        network.observer.check()?;
        rounds += 1;
    }
    publishers.stop().await;
    let verified = network.verify(&mongo::HARMLESS).await?;
    Ok(Done::Passed(format!("{rounds} hung central nodes, {moves} moves of peers; {verified}")))
}

/// Waits until every peer is at another central node; how many are.
async fn left(network: &Network, hung: &str) -> Result<usize> {
    let peers = network.nodes.iter().filter(|node| node.role == Role::Peer);
    let mut count = 0;
    for peer in peers {
        eventually(&format!("{} has left {hung}", peer.name), async || {
            let now = at(network, peer.http).await?;
            ensure!(now != hung, "it is still there");
            Ok(())
        })
        .await?;
        count += 1;
    }
    Ok(count)
}
