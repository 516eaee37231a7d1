//! Clocks that jump by hours, forward and back, while the nodes run: heartbeats are refused with the measured skew, and
//! publishing and replication go on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rand::RngExt as _;

use crate::{
    api::Api,
    network::{Network, eventually},
    node::{Node, Role},
    publishers::Publishers,
    scenario::{Done, Given},
};

/// Offsets of the wall clock, seconds. The monotonic clock goes on, as when a machine's clock is set.
const JUMPS: [i64; 6] = [7200, -7200, 90, -90, 86_400, -604_800];
/// What differs from the jump by the time that messages take.
const TOLERANCE_MILLIS: i64 = 30_000;

/// Where Debian's package puts the library.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let file = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    folders.filter_map(|folder| folder.ok().map(file)).find(|file| file.exists())
}

/// The file that a node's clock is set by.
fn clock_of(directory: &Path, node: &str) -> PathBuf {
    directory.join(format!("{node}.clock"))
}

fn set_clock(directory: &Path, node: &str, offset: i64) -> Result<()> {
    // Moved into its place: a node never reads half of it.
    let (file, new) = (clock_of(directory, node), directory.join("clock.new"));
    std::fs::write(&new, format!("{offset:+}\n"))?;
    Ok(std::fs::rename(new, file)?)
}

fn with_a_clock(node: &mut Node, library: &Path, directory: &Path) -> Result<()> {
    set_clock(directory, &node.name, 0)?;
    let set = |name: &str, value: String| (name.to_owned(), value);
    node.environment = vec![
        set("LD_PRELOAD", library.display().to_string()),
        set("FAKETIME_TIMESTAMP_FILE", clock_of(directory, &node.name).display().to_string()),
        set("FAKETIME_NO_CACHE", "1".to_owned()),
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    Ok(())
}

pub(crate) async fn run(mut given: Given) -> Result<Done> {
    let Some(library) = library() else {
        return Ok(Done::Skipped("libfaketime is not installed", "apt-get install faketime"));
    };
    let mut network = Network::new(&given.directory)?;
    network.central(None)?;
    for name in ["edge-0", "edge-1"] {
        network.peer(name, &[])?;
    }
    for node in &mut network.nodes {
        with_a_clock(node, &library, &given.directory)?;
    }
    network.start_all().await?;
    let ports = network.ports(Role::Central);
    let publishers = Publishers::start(3, &ports, &network.told, &network.api, &mut given.random);
    let mut jumps = 0;
    while jumps < 2 || given.has_time() {
        // The central node and a peer in turn.
        let at = jumps % 2;
        let offset = JUMPS[given.random.random_range(0..JUMPS.len())];
        jump(&network, &given.directory, at, offset).await.with_context(|| format!("jump by {offset} s"))?;
        network.observer.check()?;
        jumps += 1;
    }
    publishers.stop().await;
    let verified = network.verify(&[]).await?;
    Ok(Done::Passed(format!("{jumps} jumps; {verified}")))
}

async fn jump(network: &Network, directory: &Path, at: usize, offset: i64) -> Result<()> {
    let (jumping, peer) = (&network.nodes[at], &network.nodes[1]);
    let mark = peer.log_mark();
    set_clock(directory, &jumping.name, offset)?;
    // The first beat of a session comes at once; the next one of this session would come within ten seconds.
    network.api.reconnect(peer.http).await?;
    // A peer's clock that is ahead is ahead of the central node's; so is any peer's when that one goes back.
    let ahead = if at == 0 { -offset } else { offset };
    refused(network, peer, mark, ahead * 1000).await?;
    goes_on(network).await?;
    set_clock(directory, &jumping.name, 0)?;
    network.api.reconnect(peer.http).await?;
    eventually("heartbeats are acknowledged again", async || {
        let beats = network.api.get(peer.http, "/api/heartbeat/status").await?;
        let health = network.api.get(peer.http, "/health").await?;
        ensure!(beats["isHealthy"] == true && health["status"] == "Healthy", "{beats} {health}");
        Ok(())
    })
    .await
}

/// The refusal names the skew that was measured, in the peer's log and in its health.
async fn refused(network: &Network, peer: &Node, mark: u64, ahead: i64) -> Result<()> {
    let direction = if ahead > 0 { "ms ahead of this node's clock" } else { "ms behind this node's clock" };
    let line = eventually("the heartbeat is refused", async || {
        peer.logged(mark, &["heartbeat missed", "timestamp is", direction, "set the clock that is wrong"])
    })
    .await?;
    let measured = line.split("timestamp is ").nth(1).and_then(|rest| rest.split(' ').next());
    let measured: i64 = measured.context("a number")?.parse()?;
    ensure!((measured - ahead.abs()).abs() < TOLERANCE_MILLIS, "{line}");
    eventually("the peer's health says so", async || {
        let health = network.api.get(peer.http, "/health").await?;
        ensure!(health["reason"].as_str().is_some_and(|reason| reason.contains(direction)), "{health}");
        Ok(())
    })
    .await
}

/// What is published now is acknowledged and reaches every node.
async fn goes_on(network: &Network) -> Result<()> {
    let before = network.told.history().highest();
    let least = before + 20;
    eventually("publications go on and reach every node", async || {
        for node in &network.nodes {
            let version = network.api.register(node.http).await?.version;
            ensure!(version >= least, "{} is at {version}, not at {least}", node.name);
        }
        Ok(())
    })
    .await
}

impl Api {
    /// Makes a peer begin another session.
    async fn reconnect(&self, port: u16) -> Result<()> {
        let (status, answer) = self.post(port, "/api/connection/reconnect").await?;
        ensure!(status < 300, "reconnect: {status}: {answer}");
        Ok(())
    }
}
