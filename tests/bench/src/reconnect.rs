//! Every peer at once: how long until all are back after the central node was killed and started again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    bench::{Bench, say},
    process::central::Place,
    stats::Distribution,
    swarm::{Swarm, observer},
};

/// How long stragglers are waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one restart led to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reconnect {
    pub(crate) peers: usize,
    /// Time between the kill and the start.
    pub(crate) down_s: f64,
    /// From the start of the process until it takes peers again.
    pub(crate) start_s: f64,
    /// From that moment until a peer has its session and its push stream, seconds, over the peers.
    pub(crate) back_s: Distribution,
    /// Share of the peers that were back within 30 s.
    pub(crate) within_30_s: f64,
    pub(crate) refusals: u32,
    pub(crate) most_refusals_of_one_peer: u32,
}

/// Measures a restart for each length of the outage.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Reconnect>> {
    let mut results = Vec::new();
    for down in &bench.scale.reconnect.down {
        let result = restart(bench, *down).await?;
        say(&format!(
            "reconnect of {} after {:.0} s: p50 {:.2} p99 {:.2} last {:.2} s, {} refusals",
            result.peers,
            result.down_s,
            result.back_s.p50,
            result.back_s.p99,
            result.back_s.max,
            result.refusals
        ));
        results.push(result);
    }
    Ok(results)
}

async fn restart(bench: &Bench, down: Duration) -> Result<Reconnect> {
    let work = bench.folder()?;
    let central = Place::new(&bench.programs.node, work.path(), 0)?.start().await?;
    let centrals = [central.place().address(0)];
    let mut swarm = Swarm::default();
    swarm.grow(work.path(), bench.scale.reconnect.peers, &centrals, |_| (), |_, store| store).await?;
    swarm.until_subscribed().await?;

    let watches = swarm.peers.iter().map(observer::observe).collect();
    let place = central.kill().await?;
    tokio::time::sleep(down).await;
    let started = Instant::now();
    let central = place.start().await?;
    let ready = Instant::now();
    let observed = tokio::time::timeout(PATIENCE, observer::collect(watches))
        .await
        .context("some peers never came back")?;
    central.kill().await?;

    let observed: Vec<_> = observed.into_iter().flatten().collect();
    let back: Vec<f64> =
        observed.iter().map(|peer| peer.back.saturating_duration_since(ready).as_secs_f64()).collect();
    Ok(Reconnect {
        peers: swarm.peers.len(),
        down_s: down.as_secs_f64(),
        start_s: ready.duration_since(started).as_secs_f64(),
        within_30_s: back.iter().filter(|seconds| **seconds <= 30.0).count() as f64
            / swarm.peers.len() as f64,
        back_s: Distribution::of(back).context("no peer came back")?,
        refusals: observed.iter().map(|peer| peer.refusals).sum(),
        most_refusals_of_one_peer: observed.iter().map(|peer| peer.refusals).max().unwrap_or(0),
    })
}
