//! The integrity check at start against SHA-256 alone, over the same bytes on the same cores.

use std::{
    num::NonZero,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sorcha_register::{clock::Timestamp, view::RegisterView};
use sorcha_store::{
    Checkpoint, Store,
    journal::{JournalStore, Options, REGISTER_FILE, REPLICA_FILE},
};

use crate::{
    bench::{Bench, say},
    register,
    stats::Spread,
};

/// What the start of one register took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StartUp {
    pub(crate) entries: usize,
    pub(crate) megabytes: f64,
    /// Opening and verifying a file that was written as a whole, milliseconds.
    pub(crate) whole_ms: Spread,
    /// The same of a file that grew entry by entry.
    pub(crate) grown_ms: Spread,
    /// SHA-256 over its bytes in memory, on all cores, milliseconds.
    pub(crate) sha256_ms: Spread,
    /// The first by the last, of each repetition.
    pub(crate) whole_ratio: Spread,
    /// The second by the last.
    pub(crate) grown_ratio: Spread,
}

/// Measures registers of all sizes.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<StartUp>> {
    let mut results = Vec::new();
    for entries in &bench.scale.start_up.entries {
        results.push(measure_one(bench, *entries).await?);
    }
    Ok(results)
}

async fn measure_one(bench: &Bench, entries: usize) -> Result<StartUp> {
    let work = bench.folder()?;
    register::make(work.path(), entries).await?;
    let view = register::load(work.path()).await?;
    grow(&work.path().join(REPLICA_FILE), &view).await?;
    let all = view.iter().map(|sealed| sealed.checked()).collect::<Result<Vec<Bytes>, _>>()?;
    drop(view);
    let mut runs = Vec::new();
    for _ in 0..bench.scale.start_up.repetitions {
        let files = [REGISTER_FILE, REPLICA_FILE].map(|name| work.path().join(name));
        let times = [open(&files[0]).await?, open(&files[1]).await?, hash(&all)];
        runs.push(times.map(|time| time.as_secs_f64() * 1000.0));
    }
    let spread = |of: fn(&[f64; 3]) -> f64| Spread::of(runs.iter().map(of)).context("no repetition");
    let result = StartUp {
        entries,
        megabytes: all.iter().map(Bytes::len).sum::<usize>() as f64 / 1e6,
        whole_ms: spread(|run| run[0])?,
        grown_ms: spread(|run| run[1])?,
        sha256_ms: spread(|run| run[2])?,
        whole_ratio: spread(|run| run[0] / run[2])?,
        grown_ratio: spread(|run| run[1] / run[2])?,
    };
    say(&format!(
        "start-up of {entries} entries: {:.0} ms, grown entry by entry {:.0} ms, SHA-256 alone {:.0} ms, ratios {:.2} and {:.2}",
        result.whole_ms.median,
        result.grown_ms.median,
        result.sha256_ms.median,
        result.whole_ratio.median,
        result.grown_ratio.median
    ));
    Ok(result)
}

/// Makes a file of the same register with a frame for each entry, as pushes and publications one by one leave it.
async fn grow(file: &Path, view: &RegisterView) -> Result<()> {
    let store = JournalStore::open(file, Options::default()).await?;
    let position = |version| Checkpoint {
        version,
        last_sync_time: Timestamp::from_millis(0),
        next_sync_due: Timestamp::from_millis(0),
        central_node_id: "n0.sorcha.dev".to_owned(),
        adopt: None,
    };
    for sealed in view.iter() {
        store.apply(vec![Arc::clone(sealed)], position(sealed.entry().version)).await?;
    }
    Ok(store.flush().await?)
}

async fn open(file: &Path) -> Result<Duration> {
    let started = Instant::now();
    let store = JournalStore::open(file, Options::default()).await?;
    let elapsed = started.elapsed();
    anyhow::ensure!(store.load().await?.findings.is_empty(), "the register is damaged");
    Ok(elapsed)
}

/// Hashes every entry by itself, as the check does, on all cores.
fn hash(entries: &[Bytes]) -> Duration {
    let started = Instant::now();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for chunk in entries.chunks(entries.len().div_ceil(threads).max(1)) {
            scope.spawn(|| chunk.iter().for_each(|entry| _ = std::hint::black_box(Sha256::digest(entry))));
        }
    });
    started.elapsed()
}
