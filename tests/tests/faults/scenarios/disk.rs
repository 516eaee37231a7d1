//! A full disk under a central node and under a peer: publications and applies fail whole and say why, reads go on, a node
//! that is killed then starts again, and all is well once there is space.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    network::{Network, eventually, register_tool, run_to_end},
    node::Role,
    publishers::Publishers,
    scenario::{Done, Given},
};

/// Room for a register of some thousand entries.
const SIZE: &str = "size=48m";
/// What a node logs of a full disk.
const FULL: [&str; 2] = ["publications were not stored", "No space left on device"];
const PEER_FULL: [&str; 2] = ["sync failed", "No space left on device"];
/// The second one of a peer whose journal was to be written anew just then.
const HARMLESS: [&str; 2] = ["publications were not stored", "the register is not durable"];

/// A small file system over a node's data directory.
struct Disk(PathBuf);

impl Disk {
    fn mount(over: &Path) -> Result<Self> {
        std::fs::create_dir_all(over)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(over).status()?;
        ensure!(mounted.success(), "mount a tmpfs");
        Ok(Self(over.to_owned()))
    }

    /// Takes all the space that is left.
    fn fill(&self) -> Result<()> {
        let mut ballast = std::fs::OpenOptions::new().create(true).append(true).open(self.ballast())?;
        for size in [1 << 20, 4096] {
            let block = vec![0; size];
            while ballast.write_all(&block).is_ok() {}
        }
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The mounts are this process's own: what is left goes with it.
        let _left = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(crate) async fn run(mut given: Given) -> Result<Done> {
    if !given.may_mount {
        return Ok(Done::Skipped(
            "file systems can't be mounted",
            "run it as root by tests/faults, with unshare of util-linux",
        ));
    }
    let mut network = Network::new(&given.directory)?;
    let central = network.central(None)?;
    let full_peer = network.peer("edge-0", &[])?;
    let other_peer = network.peer("edge-1", &[])?;
    let disks = [central, full_peer].map(|at| Disk::mount(&network.nodes[at].data));
    let [central_disk, peer_disk] = disks;
    let (central_disk, peer_disk) = (central_disk?, peer_disk?);
    network.start_all().await?;
    let ports = network.ports(Role::Central);
    let publishers = Publishers::start(4, &ports, &network.told, &network.api, &mut given.random);
    let mut rounds = 0;
    while rounds == 0 || given.has_time() {
        tokio::time::sleep(given.millis(300..1500)).await;
        central_is_full(&mut network, central, &central_disk, other_peer, rounds % 2 == 0).await?;
        tokio::time::sleep(given.millis(300..1500)).await;
        peer_is_full(&mut network, full_peer, &peer_disk, rounds % 2 == 1).await?;
        network.observer.check()?;
        rounds += 1;
    }
    publishers.stop().await;
    nothing_begins_on_a_full_disk(&given).await?;
    let verified = network.verify(&HARMLESS).await?;
    Ok(Done::Passed(format!("{rounds} times full on each; {verified}")))
}

/// A node and a tool that find no space at all end with code 1 and say why.
async fn nothing_begins_on_a_full_disk(given: &Given) -> Result<()> {
    let data = given.directory.join("newcomer");
    let disk = Disk::mount(&data)?;
    disk.fill()?;
    let directory = data.to_string_lossy();
    let node = ["central", "--hostname", "n9.sorcha.dev", "--data-dir", &directory];
    let listen = ["--listen-grpc", "127.0.0.1:0", "--listen-http", "127.0.0.1:0"];
    let ended = [
        run_to_end(&[&node[..], &listen[..]].concat()).await?,
        register_tool(&data, &["reseed", "--yes"]).await?,
    ];
    for (code, said) in ended {
        let last = said.lines().last().unwrap_or_default();
        let told = last.starts_with("error: ")
            && last.contains("the store is full: ")
            && last.contains(&*directory)
            && last.contains("No space left on device");
        ensure!(code == Some(1) && told, "ended with {code:?}: {said}");
    }
    Ok(())
}

/// A peer whose own disk has space fetches the whole register of a central node whose disk has none.
async fn syncs_go_on(network: &Network, at: usize) -> Result<()> {
    let http = network.nodes[at].http;
    eventually("a full sync from a full disk", async || {
        let (status, outcome) = network.api.post(http, "/api/sync/trigger?full=true").await?;
        let synced = outcome["blueprintsSynced"].as_u64().unwrap_or_default();
        ensure!(status == 200 && synced > 0, "{status}: {outcome}");
        Ok(())
    })
    .await
}

async fn central_is_full(
    network: &mut Network,
    at: usize,
    disk: &Disk,
    other_peer: usize,
    kill: bool,
) -> Result<()> {
    let mark = network.nodes[at].log_mark();
    disk.fill()?;
    refuses(network, at).await?;
    network.nodes[at].logged(mark, &FULL)?;
    if kill {
        network.kill(at).await;
        network.nodes[at].start()?;
        network.ready(at).await.context("a central node starts on a full disk")?;
        refuses(network, at).await?;
    }
    // Readers and peers are served from what is there.
    let http = network.nodes[at].http;
    network.api.get(http, "/readyz").await?;
    network.api.get(http, "/api/system-register/blueprints/register-creation-v1").await?;
    syncs_go_on(network, other_peer).await?;
    disk.free()?;
    eventually("publications are taken again", async || {
        let before = network.told.history().counts().acknowledged;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        ensure!(network.told.history().counts().acknowledged > before + 5, "none is");
        Ok(())
    })
    .await
}

/// A publication is refused for lack of space, and the answer says so.
async fn refuses(network: &Network, at: usize) -> Result<()> {
    let http = network.nodes[at].http;
    eventually("publications are refused", async || {
        // Of a size that does not fit into what is left over; nobody hears of it but here.
        let (status, problem) = network.api.publish(http, "too-large-for-the-disk", 4 << 20).await?;
        ensure!(status == 507, "{status}: {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        ensure!(problem["type"].as_str().is_some_and(|kind| kind.ends_with("/store-full")), "{problem}");
        ensure!(detail.contains("No space left on device"), "{problem}");
        Ok(())
    })
    .await
}

async fn peer_is_full(network: &mut Network, at: usize, disk: &Disk, kill: bool) -> Result<()> {
    let mark = network.nodes[at].log_mark();
    disk.fill()?;
    eventually("the peer notices", async || network.nodes[at].logged(mark, &PEER_FULL)).await?;
    if kill {
        network.kill(at).await;
        network.nodes[at].start()?;
        network.ready(at).await.context("a peer starts on a full disk")?;
    }
    let http = network.nodes[at].http;
    network.api.get(http, "/readyz").await?;
    network.api.get(http, "/api/system-register/blueprints/register-creation-v1").await?;
    eventually("the peer says why it does not follow", async || {
        let health = network.api.get(http, "/health").await?;
        let reason = health["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains("the store is full"), "{health}");
        Ok(())
    })
    .await?;
    disk.free()?;
    let least = network.told.history().highest();
    eventually("the peer follows again", async || {
        let version = network.api.register(http).await?.version;
        ensure!(version >= least, "it is at {version}, not at {least}");
        Ok(())
    })
    .await
}
