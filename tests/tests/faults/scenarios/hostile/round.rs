//! A central node under attack, and what must stay true of it, of honest peers and of probes meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use sorcha_tests::probing::{AT_ONCE, Probes};
use tokio::task::JoinSet;

use super::{Attack, Gauge, MAX_CONNECTIONS, MAX_HTTP, target::Target};
use crate::{
    network::{Network, eventually},
    node::{Node, Role},
};

/// Memory that any attack may take, over what the node had before, and all of them at once.
const MEMORY_MB: u64 = 160;
/// File descriptors beside those of connections that have a place: what a node keeps free for its other files and for the port of
/// the probes (node/src/descriptors.rs). Evicted connections are among them until their sockets are closed.
const OTHER_FILES: usize = 128 + 260;
/// An honest peer has a publication within this time, whatever goes on.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);
/// How long all attacks go on at once.
const ALL_FOR: Duration = Duration::from_secs(20);
/// Before an attack that ended is begun again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The attacked network, and what is looked at all the time.
pub(super) struct Round<'n> {
    network: &'n Network,
    target: Target,
    gauge: Gauge,
    probes: Probes,
    sessions: Vec<String>,
}

impl<'n> Round<'n> {
    pub(super) async fn begin(network: &'n Network, target: Target, probes: u16) -> Result<Self> {
        Ok(Self {
            network,
            target,
            gauge: Gauge::of(network.nodes[0].id()?)?,
            probes: Probes::start(probes, "the port of the probes", AT_ONCE),
            sessions: sessions_of(network).await?,
        })
    }

    /// One attack, alone.
    pub(super) async fn one(&mut self, name: &str, attack: Attack) -> Result<()> {
        let outcome = tokio::select! {
            outcome = attack(self.target.clone()) => outcome.with_context(|| name.to_owned())?,
            error = self.suffers() => return Err(error.context(format!("while under {name}"))),
        };
        self.check(name, &outcome).await
    }

    /// All attacks at once, again and again. What one of them gets depends on the others here; what honest nodes get does not.
    pub(super) async fn all_at_once(&mut self, attacks: &[(&'static str, Attack)]) -> Result<()> {
        let before = self.network.told.history().counts().acknowledged;
        let ended = Arc::new(AtomicU32::new(0));
        let mut running = JoinSet::new();
        for (_, attack) in attacks {
            let (attack, target, ended) = (*attack, self.target.clone(), Arc::clone(&ended));
            running.spawn(async move {
                loop {
                    drop(attack(target.clone()).await);
                    ended.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            });
        }
        tokio::select! {
            () = tokio::time::sleep(ALL_FOR) => {}
            error = self.suffers() => return Err(error.context("while under all attacks at once")),
        }
        running.shutdown().await;
        let acknowledged = self.network.told.history().counts().acknowledged - before;
        ensure!(acknowledged > 0, "no publication was taken while under all attacks at once");
        let ended = ended.load(Ordering::Relaxed);
        let outcome = format!("{ended} attacks ended and begun again, {acknowledged} publications meanwhile");
        self.check("all at once", &outcome).await
    }

    async fn check(&mut self, name: &str, outcome: &str) -> Result<()> {
        self.bounded().with_context(|| name.to_owned())?;
        println!("      {name}: {outcome}; {}", self.bounded()?);
        ensure!(sessions_of(self.network).await? == self.sessions, "{name}: an honest peer lost its session");
        self.network.observer.check().map(drop)
    }

    fn bounded(&self) -> Result<String> {
        let https = if self.target.https.is_some() { MAX_HTTP } else { 0 };
        self.gauge.check(MAX_CONNECTIONS + MAX_HTTP + https + OTHER_FILES, MEMORY_MB)
    }

    /// Returns when an honest peer lacks for too long what was acknowledged to a publisher, or a probe was not answered at once.
    async fn suffers(&self) -> Error {
        tokio::select! {
            error = honest_peers_suffer(self.network) => error,
            error = self.probe_failed() => error,
        }
    }

    async fn probe_failed(&self) -> Error {
        loop {
            if let Some(failure) = self.probes.failure() {
                return anyhow!("{failure}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The attackers are gone: their sessions and connections, too.
    pub(super) async fn end(self) -> Result<String> {
        settled(self.network, &self.gauge).await?;
        let bounded = self.bounded()?;
        let probes = self.probes.stop().map_err(Error::msg)?;
        let (slowest, bare) = (probes.slowest.as_millis(), probes.slowest_bare.as_millis());
        Ok(format!(
            "{bounded}, {} probes answered within {slowest} ms (a bare thread: {bare} ms)",
            probes.probes
        ))
    }
}

async fn sessions_of(network: &Network) -> Result<Vec<String>> {
    let mut sessions = Vec::new();
    for peer in network.nodes.iter().filter(|node| node.role == Role::Peer) {
        let status = eventually(&format!("{} answers", peer.name), async || {
            let status = network.api.get(peer.http, "/api/connection/status").await?;
            ensure!(status["status"] == "HeartbeatMonitoring", "it is {}", status["status"]);
            Ok(status)
        })
        .await?;
        sessions.push(status["sessionId"].as_str().context("no sessionId")?.to_owned());
    }
    Ok(sessions)
}

/// Returns when an honest peer lacks for too long what was acknowledged to a publisher.
async fn honest_peers_suffer(network: &Network) -> Error {
    loop {
        let published = network.told.history().highest();
        let since = Instant::now();
        for peer in network.nodes.iter().filter(|node| node.role == Role::Peer) {
            while let Err(error) = has(network, peer, published).await {
                if since.elapsed() > ARRIVES_WITHIN {
                    return error;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn has(network: &Network, peer: &Node, version: i64) -> Result<()> {
    let stated = network.api.register(peer.http).await.with_context(|| peer.name.clone())?;
    ensure!(
        stated.version >= version,
        "{} is at {}, version {version} is published",
        peer.name,
        stated.version
    );
    Ok(())
}

/// Sessions and connections of the attackers are gone.
async fn settled(network: &Network, gauge: &Gauge) -> Result<()> {
    let http = network.nodes[0].http;
    eventually("only honest peers have sessions, and connections are gone", async || {
        let metrics = network.api.get_bytes(http, "/metrics").await?;
        let metrics = String::from_utf8_lossy(&metrics);
        let peers =
            metrics.lines().find(|line| line.starts_with("central_peers")).context("no central_peers")?;
        ensure!(peers.ends_with(" 2"), "{peers}");
        ensure!(gauge.files()? <= gauge.files_before() + 20, "{} files are open", gauge.files()?);
        Ok(())
    })
    .await
}
