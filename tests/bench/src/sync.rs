//! A full sync, persisted and verified, against a bare tonic stream of the same bytes, and against the disk alone.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    bare::BareServer,
    bench::{Bench, say},
    process::central::{Central, Place},
    register,
    stats::Spread,
    swarm::Peer,
};

/// How long one full sync may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What full syncs took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FullSync {
    pub(crate) entries: usize,
    /// Of the encoded entries.
    pub(crate) megabytes: f64,
    /// The bare stream, seconds.
    pub(crate) bare_s: Spread,
    /// As many bytes written to a file and fsynced, seconds.
    pub(crate) disk_s: Spread,
    /// From the start of a peer with an empty store to its replica, verified and fsynced, seconds.
    pub(crate) peer_s: Spread,
    /// Rate of the full sync as a share of the bare stream's, of each pair.
    pub(crate) share: Spread,
    /// Each repetition: bare, disk and peer, seconds.
    pub(crate) runs: Vec<(f64, f64, f64)>,
}

/// Measures both in turn.
pub(crate) async fn measure(bench: &Bench) -> Result<FullSync> {
    let scale = bench.scale.sync;
    let work = bench.folder()?;
    let place = Place::new(&bench.programs.node, work.path(), 0)?;
    register::make(&place.data(), scale.entries).await?;
    let bare = BareServer::start(&place.data(), work.path()).await?;
    let central = place.start().await?;
    let mut runs = Vec::new();
    let mut bytes = 0;
    for repetition in 0..scale.repetitions {
        let started = Instant::now();
        bytes = bare.receive().await?;
        let bare_s = started.elapsed().as_secs_f64();
        let disk_s = write(work.path(), bytes)?.as_secs_f64();
        let peer_s = sync(bench, &central, scale.entries).await?.as_secs_f64();
        say(&format!(
            "full sync {repetition}: bare stream {bare_s:.3} s, disk alone {disk_s:.3} s, peer {peer_s:.3} s, {:.0} %",
            100.0 * bare_s / peer_s
        ));
        runs.push((bare_s, disk_s, peer_s));
    }
    bare.kill().await?;
    central.kill().await?;
    let spread = |of: fn(&(f64, f64, f64)) -> f64| Spread::of(runs.iter().map(of)).context("no repetition");
    Ok(FullSync {
        entries: scale.entries,
        megabytes: bytes as f64 / 1e6,
        bare_s: spread(|run| run.0)?,
        disk_s: spread(|run| run.1)?,
        peer_s: spread(|run| run.2)?,
        share: spread(|run| run.0 / run.2)?,
        runs,
    })
}

/// Time to write so many bytes to a new file, a megabyte at a time, and to fsync them.
fn write(folder: &Path, bytes: usize) -> Result<Duration> {
    let path = folder.join("disk-alone");
    let piece: Vec<u8> = (0..1024 * 1024_u32).map(|number| number.to_le_bytes()[0]).collect();
    let started = Instant::now();
    let mut file = File::create(&path)?;
    let mut left = bytes;
    while left > 0 {
        let length = left.min(piece.len());
        file.write_all(&piece[..length])?;
        left -= length;
    }
    file.sync_data()?;
    let took = started.elapsed();
    std::fs::remove_file(path)?;
    Ok(took)
}

/// Time from the start of a peer with nothing to its whole replica.
async fn sync(bench: &Bench, central: &Central, entries: usize) -> Result<Duration> {
    let work = bench.folder()?;
    let started = Instant::now();
    let centrals = [central.place().address(0)];
    let peer = Peer::start(work.path(), "edge-0", &centrals, |_| (), |store| store).await?;
    let mut replica = peer.node.replica.subscribe();
    let whole = replica.wait_for(|state| state.view.len() > entries);
    tokio::time::timeout(PATIENCE, whole).await.context("the full sync takes too long")??;
    Ok(started.elapsed())
}
