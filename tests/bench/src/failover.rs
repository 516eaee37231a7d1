//! How long peers take to notice that their central node is gone, and to have another one.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    bench::{Bench, say},
    process::central::{Central, Place},
    register,
    stats::Distribution,
    swarm::{
        Swarm,
        observer::{self, Observed},
    },
};

/// How long stragglers are waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Entries of the register; it does not change meanwhile.
const ENTRIES: usize = 100;

/// How the central node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// SIGTERM: it tells its peers to move.
    Closed,
    /// SIGKILL: its sockets close, nothing is said.
    Killed,
    /// SIGSTOP: its sockets stay open, nothing is answered.
    Silent,
}

impl End {
    /// All, with the goal for 99 % of the peers, seconds.
    pub(crate) const ALL: [(Self, f64); 3] = [(Self::Closed, 5.0), (Self::Killed, 5.0), (Self::Silent, 20.0)];

    /// What happened, for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed (SIGTERM)",
            Self::Killed => "killed (SIGKILL)",
            Self::Silent => "silent (SIGSTOP)",
        }
    }

    const fn signal(self) -> &'static str {
        match self {
            Self::Closed => "TERM",
            Self::Killed => "KILL",
            Self::Silent => "STOP",
        }
    }
}

/// What one way to end led to, over all peers and repetitions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failover {
    pub(crate) end: End,
    pub(crate) peers: usize,
    pub(crate) repetitions: usize,
    /// From the signal until a peer knew that its session is over, seconds.
    pub(crate) detected_s: Distribution,
    /// From the signal until a peer had a session and its push stream at the other central node, seconds.
    pub(crate) recovered_s: Distribution,
    /// Peers that had none after two minutes.
    pub(crate) lost: usize,
}

/// Measures all ways to end.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Failover>> {
    let mut results = Vec::new();
    for (end, _) in End::ALL {
        let mut times = Vec::new();
        for _ in 0..bench.scale.failover.repetitions {
            times.extend(fail_over(bench, end).await?);
        }
        let result = evaluate(bench, end, &times)?;
        say(&format!(
            "failover, {}: noticed p50 {:.3} p99 {:.3} s, recovered p50 {:.3} p99 {:.3} max {:.3} s",
            end.name(),
            result.detected_s.p50,
            result.detected_s.p99,
            result.recovered_s.p50,
            result.recovered_s.p99,
            result.recovered_s.max
        ));
        results.push(result);
    }
    Ok(results)
}

/// Seconds from the signal to detection and recovery, of each peer that recovered.
async fn fail_over(bench: &Bench, end: End) -> Result<Vec<(f64, f64)>> {
    let work = bench.folder()?;
    let [first, second] = two_of_one_register(bench, work.path()).await?;
    let centrals = [first.place().address(0), second.place().address(1)];
    let mut swarm = Swarm::default();
    swarm.grow(work.path(), bench.scale.failover.peers, &centrals, |_| (), |_, store| store).await?;
    swarm.until_subscribed().await?;
    let id = first.place().id().to_owned();
    swarm
        .until("all are at the first", |peer| peer.node.status().central_node_id.as_ref() == Some(&id))
        .await?;

    let watches = swarm.peers.iter().map(observer::observe).collect();
    let signalled = Instant::now();
    first.server().signal(end.signal())?;
    let observed = tokio::time::timeout(PATIENCE, observer::collect(watches)).await;
    first.kill().await?;
    second.kill().await?;
    let since = |instant: Instant| instant.saturating_duration_since(signalled).as_secs_f64();
    let times = |peer: Observed| (since(peer.lost), since(peer.back));
    Ok(observed.context("some peers never recovered")?.into_iter().flatten().map(times).collect())
}

/// Two central nodes with copies of one register, which is not published to meanwhile.
async fn two_of_one_register(bench: &Bench, work: &Path) -> Result<[Central; 2]> {
    let places = [Place::new(&bench.programs.node, work, 0)?, Place::new(&bench.programs.node, work, 1)?];
    let [first, second] = &places;
    register::make(&first.data(), ENTRIES).await?;
    fs::create_dir_all(second.data())?;
    for file in fs::read_dir(first.data())? {
        let file = file?;
        fs::copy(file.path(), second.data().join(file.file_name()))?;
    }
    let [first, second] = places;
    Ok([first.start().await?, second.start().await?])
}

fn evaluate(bench: &Bench, end: End, times: &[(f64, f64)]) -> Result<Failover> {
    let scale = bench.scale.failover;
    let distribution = |of: fn(&(f64, f64)) -> f64| Distribution::of(times.iter().map(of).collect());
    Ok(Failover {
        end,
        peers: scale.peers,
        repetitions: scale.repetitions,
        detected_s: distribution(|time| time.0).context("no peer noticed")?,
        recovered_s: distribution(|time| time.1).context("no peer recovered")?,
        lost: scale.peers * scale.repetitions - times.len(),
    })
}
