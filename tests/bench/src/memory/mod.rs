//! Memory of whole nodes, as processes within the chart's limits, while they do what takes memory.

mod group;
mod nodes;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use serde::Serialize;
use sorcha_api::client;
use sorcha_config::Config;

use self::{
    group::{Group, HeldProgram},
    nodes::PeerProcess,
};
use crate::{
    bench::{Bench, say},
    closed_loop::Worker as _,
    documents,
    process::{
        central::{Central, Place},
        usage::{Usage, forget_peak, megabytes},
    },
    reads::client::{Reader, Wanted},
    register,
    scale::Holding,
};

/// What a node takes without an entry, at most.
const BASE: u64 = 64 << 20;
/// What an entry takes, at most.
const OF_AN_ENTRY: u64 = 256;
/// Memory limits of the chart's pods, unless set.
const CENTRAL_LIMIT: u64 = 1 << 30;
const PEER_LIMIT: u64 = 512 << 20;
/// Freed memory goes back to the system after a second.
const REST: Duration = Duration::from_secs(3);
/// Peers that sync at once.
const TOGETHER: usize = 3;

/// What nodes with one register took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held {
    pub(crate) documents: usize,
    pub(crate) document_bytes: usize,
    /// How long the register's file took to make.
    pub(crate) made_s: f64,
    /// Goal for each figure.
    pub(crate) bound_mb: f64,
    /// Whether the processes ran within the chart's memory limits.
    pub(crate) is_limited: bool,
    pub(crate) steps: Vec<Step>,
}

/// What one process took while something was done.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) what: String,
    pub(crate) node: &'static str,
    pub(crate) seconds: f64,
    /// Most resident memory meanwhile, and that a few seconds later.
    pub(crate) peak_mb: f64,
    pub(crate) rest_mb: f64,
}

/// Measures registers of all kinds, one after the other.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    for holding in &bench.scale.memory.registers {
        let held = Site::new(bench, *holding)?.measured().await;
        all.push(
            held.with_context(|| format!("{} documents of {} bytes", holding.documents, holding.bytes))?,
        );
    }
    Ok(all)
}

/// Where nodes with one register live, and what was seen so far.
struct Site<'b> {
    bench: &'b Bench,
    holding: Holding,
    work: tempfile::TempDir,
    central: HeldProgram,
    /// One for each peer.
    peers: Vec<HeldProgram>,
    steps: Vec<Step>,
}

impl<'b> Site<'b> {
    fn new(bench: &'b Bench, holding: Holding) -> Result<Self> {
        let work = bench.folder()?;
        let held = |name: &str, limit| Group::make(name, limit).hold(&bench.programs.node, work.path());
        let central = held("central", CENTRAL_LIMIT)?;
        let peers = (0..=TOGETHER).map(|number| held(&format!("peer-{number}"), PEER_LIMIT));
        let peers = peers.collect::<Result<Vec<_>>>()?;
        if !central.is_limited() {
            say("memory: no control group can be made here, so that nothing limits the processes");
        }
        Ok(Self { bench, holding, central, peers, work, steps: Vec::new() })
    }

    async fn measured(mut self) -> Result<Held> {
        let place = Place::new(self.central.program(), self.work.path(), 0)?;
        let started = Instant::now();
        let Holding { documents, bytes, .. } = self.holding;
        register::grow(&place.data(), documents, bytes).await?;
        let made_s = started.elapsed().as_secs_f64();
        say(&format!("memory: {documents} documents of {bytes} bytes, made in {made_s:.1} s"));
        self.work_through(place).await?;
        Ok(Held {
            documents,
            document_bytes: bytes,
            made_s,
            bound_mb: megabytes(BASE + Config::default().store.cache_bytes + OF_AN_ENTRY * documents as u64),
            is_limited: self.central.is_limited() && self.peers.iter().all(HeldProgram::is_limited),
            steps: self.steps,
        })
    }

    async fn work_through(&mut self, place: Place) -> Result<()> {
        let started = Instant::now();
        let central = place.start().await?;
        self.see("start", "central node", central.server().pid(), started.elapsed()).await?;
        let peer = self.first_sync(&central).await?;
        let peer = self.restart(peer).await?;
        self.read(&peer).await?;
        self.bundle(&central).await?;
        if self.holding.together {
            self.sync_together(&central).await?;
        }
        drop(peer);
        central.kill().await?;
        Ok(())
    }

    async fn first_sync(&mut self, central: &Central) -> Result<PeerProcess> {
        let (pid, started) = (central.server().pid(), Instant::now());
        forget_peak(pid)?;
        let peer = self.start_peer(0, central).await?;
        let took = started.elapsed();
        self.see("first sync", "peer", peer.pid(), took).await?;
        self.see("first sync of a peer", "central node", pid, took).await?;
        Ok(peer)
    }

    async fn start_peer(&self, number: usize, central: &Central) -> Result<PeerProcess> {
        let program = self.peers[number].program();
        let mut peer = PeerProcess::start(program, self.work.path(), number, central.place())?;
        self.until_whole(&mut peer).await?;
        Ok(peer)
    }

    async fn until_whole(&self, peer: &mut PeerProcess) -> Result<()> {
        // The register's first entry is its own.
        peer.until_it_holds(self.holding.documents + 1, self.bench.scale.memory.patience).await
    }

    async fn restart(&mut self, peer: PeerProcess) -> Result<PeerProcess> {
        let started = Instant::now();
        let mut peer = peer.again().await?;
        self.until_whole(&mut peer).await?;
        self.see("restart", "peer", peer.pid(), started.elapsed()).await?;
        Ok(peer)
    }

    /// Many connections at once, each of which reads some documents at its own pace.
    async fn read(&mut self, peer: &PeerProcess) -> Result<()> {
        let readers = self.bench.scale.memory.readers;
        let wanted: Arc<[Wanted]> = (0..self.holding.documents)
            .map(|index| Wanted::whole(&documents::id(index), self.holding.bytes))
            .collect();
        let started = Instant::now();
        forget_peak(peer.pid())?;
        let (spread, times) = (self.holding.documents / readers.max(1), self.holding.reads);
        let reads = (0..readers).map(|number| {
            let reader = Reader::connect(peer.http_port(), Arc::clone(&wanted), number * spread);
            async move {
                let mut reader = reader.await?;
                for _ in 0..times {
                    reader.once().await?;
                }
                anyhow::Ok(())
            }
        });
        try_join_all(reads).await?;
        self.see(&format!("{readers} readers at once"), "peer", peer.pid(), started.elapsed()).await
    }

    /// A whole backup, received and discarded.
    async fn bundle(&mut self, central: &Central) -> Result<()> {
        let (pid, started) = (central.server().pid(), Instant::now());
        forget_peak(pid)?;
        let url = central.place().url("/api/system-register/bundle");
        let mut answer = client::plain()?.get(url).send().await?.error_for_status()?;
        let mut bytes = 0;
        while let Some(chunk) = answer.chunk().await? {
            bytes += chunk.len();
        }
        let least = self.holding.documents * self.holding.bytes;
        anyhow::ensure!(bytes >= least, "a bundle of {bytes} bytes for documents of {least}");
        self.see("backup", "central node", pid, started.elapsed()).await
    }

    async fn sync_together(&mut self, central: &Central) -> Result<()> {
        let (pid, started) = (central.server().pid(), Instant::now());
        forget_peak(pid)?;
        let peers = (1..=TOGETHER).map(|number| self.start_peer(number, central));
        let peers = try_join_all(peers).await?;
        self.see(&format!("full syncs of {TOGETHER} peers"), "central node", pid, started.elapsed()).await?;
        drop(peers);
        Ok(())
    }

    /// Notes what a process took since its peak was forgotten.
    async fn see(&mut self, what: &str, node: &'static str, pid: u32, took: Duration) -> Result<()> {
        let seconds = took.as_secs_f64();
        let peak = Usage::of(pid)?.peak;
        tokio::time::sleep(REST).await;
        let (peak_mb, rest_mb) = (megabytes(peak), megabytes(Usage::of(pid)?.resident));
        say(&format!(
            "memory: {what}: {node} {peak_mb:.0} MB at most, {rest_mb:.0} MB at rest, {seconds:.1} s"
        ));
        self.steps.push(Step { what: what.to_owned(), node, seconds, peak_mb, rest_mb });
        Ok(())
    }
}

impl Held {
    /// The figure that is furthest from the goal.
    pub(crate) fn most_mb(&self) -> f64 {
        self.steps.iter().map(|step| step.peak_mb.max(step.rest_mb)).fold(0.0, f64::max)
    }
}
