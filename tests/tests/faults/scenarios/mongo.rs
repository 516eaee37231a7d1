//! kill -9 of central nodes on one database of MongoDB's protocol, of peers, and of the database itself.

use std::{path::PathBuf, process::Stdio};

use anyhow::Result;
use rand::RngExt as _;
use sorcha_tests::process::{Process, free_ports, mongodb};

use crate::{
    network::{Network, eventually},
    node::Role,
    publishers::Publishers,
    scenario::{Done, Given},
};

const CENTRAL_NODES: usize = 3;
const PEERS: usize = 3;
/// What central nodes log of a database that is away.
pub(super) const HARMLESS: [&str; 1] = ["store not reachable; serving peers from the local log"];

pub(super) const SKIPPED: Done =
    Done::Skipped("java and mvn are not installed", "install a JDK 17 and Maven");

/// The database, which is killed like any other process.
pub(super) struct Database {
    port: u16,
    file: PathBuf,
    process: Option<Process>,
}

impl Database {
    /// One in the scenario's directory, where there is what it needs.
    pub(super) fn of(given: &Given) -> Option<Self> {
        let [port] = free_ports();
        let database = Self { port, file: given.directory.join("mongo.mv"), process: None };
        (has("java") && has("mvn")).then_some(database)
    }

    pub(super) fn start(&mut self) {
        self.process = mongodb("faults mongo", self.port, &self.file);
    }

    async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }
}

fn has(program: &str) -> bool {
    let status = std::process::Command::new(program)
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Central nodes on one database, and their peers.
pub(super) fn network(given: &Given, database: &Database) -> Result<Network> {
    let mut network = Network::new(&given.directory)?;
    for _ in 0..CENTRAL_NODES {
        network.central(Some(database.port))?;
    }
    for number in 0..PEERS {
        network.peer(&format!("edge-{number}"), &[])?;
    }
    Ok(network)
}

/// An outage for as long as it takes until a central node has noticed it, and its end.
async fn outage_is_told(network: &mut Network, database: &mut Database) -> Result<()> {
    network.start_all().await?;
    database.kill().await;
    let logged = async |line| network.some_logged(Role::Central, &[line]);
    eventually("the outage is logged", async || logged(HARMLESS[0]).await).await?;
    database.start();
    eventually("its end is logged", async || logged("store reachable again").await).await
}

pub(crate) async fn run(mut given: Given) -> Result<Done> {
    let Some(mut database) = Database::of(&given) else { return Ok(SKIPPED) };
    database.start();
    let mut network = network(&given, &database)?;
    network.start_all().await?;
    let ports = network.ports(Role::Central);
    let publishers = Publishers::start(6, &ports, &network.told, &network.api, &mut given.random);
    let (mut kills, mut outages) = (0, 0);
    while given.has_time() {
        tokio::time::sleep(given.millis(50..900)).await;
        if given.random.random_bool(0.2) {
            database.kill().await;
            // Long enough for a publication to be given up, now and then.
            let away = if given.random.random_bool(0.2) { 4000..7000 } else { 0..800 };
            tokio::time::sleep(given.millis(away)).await;
            database.start();
            outages += 1;
            continue;
        }
        let at = given.random.random_range(0..network.nodes.len());
        network.kill(at).await;
        tokio::time::sleep(given.millis(0..400)).await;
        network.nodes[at].start()?;
        network.observer.check()?;
        kills += 1;
    }
    outage_is_told(&mut network, &mut database).await?;
    publishers.stop().await;
    let verified = network.verify(&HARMLESS).await?;
    Ok(Done::Passed(format!("{kills} kills of nodes, {outages} of the database; {verified}")))
}
