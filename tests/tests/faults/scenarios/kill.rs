//! kill -9 of a central node with a store of its own, and of its peers, at random moments under continuous publishing.

use anyhow::Result;
use rand::RngExt as _;

use crate::{
    network::Network,
    node::Role,
    publishers::Publishers,
    scenario::{Done, Given},
};

const PEERS: usize = 3;

pub(crate) async fn run(mut given: Given) -> Result<Done> {
    let mut network = Network::new(&given.directory)?;
    network.central(None)?;
    for number in 0..PEERS {
        network.peer(&format!("edge-{number}"), &[])?;
    }
    network.start_all().await?;
    let ports = network.ports(Role::Central);
    let publishers = Publishers::start(4, &ports, &network.told, &network.api, &mut given.random);
    let mut kills = 0;
    while given.has_time() {
        // Often right after its start, sometimes after a long life.
        let life = if given.random.random_bool(0.2) { 800..3000 } else { 20..500 };
        tokio::time::sleep(given.millis(life)).await;
        let all = given.random.random_bool(0.1);
        let one = given.random.random_range(0..network.nodes.len());
        for at in if all { 0..network.nodes.len() } else { one..one + 1 } {
            network.kill(at).await;
            kills += 1;
        }
        tokio::time::sleep(given.millis(0..300)).await;
        for node in network.nodes.iter_mut().filter(|node| !node.is_started()) {
            node.start()?;
        }
        network.observer.check()?;
    }
    publishers.stop().await;
    let verified = network.verify(&[]).await?;
    network.some_logged(Role::Peer, &["isolated: no central node can be reached"])?;
    network.some_logged(Role::Peer, &["peer: replica verified"])?;
    Ok(Done::Passed(format!("{kills} kills; {verified}")))
}
