//! The integrity check at start against SHA-256 alone, over the same bytes on the same cores.

use std::{
    num::NonZero,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sorcha_node::{
    clock::Timestamp,
    register::view::RegisterView,
    store::{
        Checkpoint, Store,
        embedded::{EmbeddedStore, FILE_NAME, Options},
        journal::{self, JournalStore},
    },
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
    /// Opening and verifying the register of a central node, milliseconds.
    pub(crate) open_ms: Spread,
    /// The same of a peer's journal.
    pub(crate) journal_ms: Spread,
    /// SHA-256 over its bytes in memory, on all cores, milliseconds.
    pub(crate) sha256_ms: Spread,
    /// The first by the last, of each repetition.
    pub(crate) ratio: Spread,
    /// The second by the last.
    pub(crate) journal_ratio: Spread,
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
    make_journal(work.path(), &view).await?;
    let all: Vec<Bytes> = view.iter().map(|sealed| sealed.encoded().clone()).collect();
    drop(view);
    let mut runs = Vec::new();
    for _ in 0..bench.scale.start_up.repetitions {
        let times = [open(work.path()).await?, open_journal(work.path()).await?, hash(&all)];
        runs.push(times.map(|time| time.as_secs_f64() * 1000.0));
    }
    let spread = |of: fn(&[f64; 3]) -> f64| Spread::of(runs.iter().map(of)).context("no repetition");
    let result = StartUp {
        entries,
        megabytes: all.iter().map(Bytes::len).sum::<usize>() as f64 / 1e6,
        open_ms: spread(|run| run[0])?,
        journal_ms: spread(|run| run[1])?,
        sha256_ms: spread(|run| run[2])?,
        ratio: spread(|run| run[0] / run[2])?,
        journal_ratio: spread(|run| run[1] / run[2])?,
    };
    say(&format!(
        "start-up of {entries} entries: {:.0} ms, a journal {:.0} ms, SHA-256 alone {:.0} ms, ratios {:.2} and {:.2}",
        result.open_ms.median,
        result.journal_ms.median,
        result.sha256_ms.median,
        result.ratio.median,
        result.journal_ratio.median
    ));
    Ok(result)
}

async fn open(data: &Path) -> Result<Duration> {
    drop(register::open(data).await?);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    let store = EmbeddedStore::open(data.join(FILE_NAME), Options::default()).await?;
    let elapsed = started.elapsed();
    anyhow::ensure!(store.load().await?.findings.is_empty(), "the register is damaged");
    Ok(elapsed)
}

/// Makes the journal of a peer that holds a register.
async fn make_journal(data: &Path, view: &RegisterView) -> Result<()> {
    let now = Timestamp::from_millis(0);
    let checkpoint = Checkpoint {
        version: view.head(),
        last_sync_time: now,
        next_sync_due: now,
        central_node_id: "n0.sorcha.dev".to_owned(),
        adopt: None,
    };
    let genesis = view.genesis().map(|genesis| (**genesis).clone());
    let store = JournalStore::open(data.join(journal::FILE_NAME), journal::Options::default()).await?;
    Ok(store.replace(genesis, view.iter().cloned().collect(), Some(checkpoint)).await?)
}

async fn open_journal(data: &Path) -> Result<Duration> {
    let started = Instant::now();
    let store = JournalStore::open(data.join(journal::FILE_NAME), journal::Options::default()).await?;
    let elapsed = started.elapsed();
    anyhow::ensure!(store.load().await?.findings.is_empty(), "the journal is damaged");
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
