//! Workers that each begin their next operation when the last one has ended: operations a second, and what each took.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    bench::say,
    process::usage::{Usage, micros_each},
    stats::Distribution,
};

/// How long the last operations may take.
const LATE: Duration = Duration::from_secs(60);
/// Pause of a worker after a failure.
const PAUSE: Duration = Duration::from_millis(10);

/// Does one operation after the other, on a connection of its own.
pub(crate) trait Worker: Send + 'static {
    /// One operation.
    fn once(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// How long workers work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// Operations that end in this first time are not counted.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What the workers did.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rate {
    /// Operations that succeeded and ended in time.
    pub(crate) per_second: f64,
    /// Operations that failed, those of the warm-up too.
    pub(crate) failed: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Processor time of the servers by operation, microseconds.
    pub(crate) server_us: f64,
}

/// Lets workers work, and looks at the processor time of the servers' processes.
pub(crate) async fn run<W: Worker>(workers: Vec<W>, stretch: Stretch, servers: &[u32]) -> Result<Rate> {
    let before = cpu(servers)?;
    let from = Instant::now() + stretch.warm_up;
    let to = from + stretch.duration;
    let mut running = JoinSet::new();
    for worker in workers {
        running.spawn(repeat(worker, from, to));
    }
    let patience = stretch.warm_up + stretch.duration + LATE;
    let did = tokio::time::timeout(patience, running.join_all()).await.context("operations do not end")?;
    let used = cpu(servers)?.saturating_sub(before);
    if let Some(first) = did.iter().find_map(|did| did.first_failure.as_ref()) {
        say(&format!("some operations failed, such as: {first:#}"));
    }
    let all = did.iter().map(|did| did.all).sum();
    let failed = did.iter().map(|did| did.failed).sum();
    let times: Vec<f64> = did.iter().flat_map(|did| &did.millis).copied().collect();
    let per_second = times.len() as f64 / stretch.duration.as_secs_f64();
    // A system may be so slow that nothing ends in time: what came too early or too late has to do then.
    let others = || did.iter().flat_map(|did| &did.others_millis).copied().collect();
    let times = Distribution::of(times).or_else(|| Distribution::of(others()));
    let times = times.context("no operation succeeded")?;
    Ok(Rate {
        per_second: per_second.round(),
        failed,
        p50_ms: times.p50,
        p99_ms: times.p99,
        max_ms: times.max,
        server_us: micros_each(used, all),
    })
}

fn cpu(servers: &[u32]) -> Result<Duration> {
    servers.iter().map(|pid| Ok(Usage::of(*pid)?.cpu)).sum()
}

/// What one worker did.
#[derive(Default)]
struct Did {
    /// What each counted operation took, and each other one.
    millis: Vec<f64>,
    others_millis: Vec<f64>,
    all: usize,
    failed: usize,
    first_failure: Option<anyhow::Error>,
}

async fn repeat<W: Worker>(mut worker: W, from: Instant, to: Instant) -> Did {
    let mut did = Did::default();
    loop {
        let begun = Instant::now();
        if begun >= to {
            return did;
        }
        if let Err(error) = worker.once().await {
            did.failed += 1;
            did.first_failure.get_or_insert(error);
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        did.all += 1;
        let ended = Instant::now();
        let times = if (from..=to).contains(&ended) { &mut did.millis } else { &mut did.others_millis };
        times.push((ended - begun).as_secs_f64() * 1000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes 10 ms, and fails now and then.
    struct Sleeper(usize);

    impl Worker for Sleeper {
        async fn once(&mut self) -> Result<()> {
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.0 += 1;
            anyhow::ensure!(!self.0.is_multiple_of(5), "the fifth");
            Ok(())
        }
    }

    #[tokio::test]
    async fn only_what_succeeds_after_the_warm_up_counts() {
        let stretch = Stretch { warm_up: Duration::from_millis(50), duration: Duration::from_millis(400) };
        let rate = run(vec![Sleeper(0), Sleeper(0)], stretch, &[std::process::id()]).await.unwrap();
        assert!(rate.failed > 0, "{rate:?}");
        assert!(rate.per_second > 10.0 && rate.per_second <= 200.0, "{rate:?}");
        assert!(rate.p50_ms >= 10.0 && rate.max_ms >= rate.p99_ms, "{rate:?}");
    }

    #[tokio::test]
    async fn what_is_too_slow_to_end_in_time_has_no_rate_but_a_latency() {
        let stretch = Stretch { warm_up: Duration::ZERO, duration: Duration::from_millis(1) };
        let rate = run(vec![Sleeper(0)], stretch, &[]).await.unwrap();
        assert!(rate.per_second < 1.0 && rate.p50_ms >= 10.0, "{rate:?}");
    }
}
