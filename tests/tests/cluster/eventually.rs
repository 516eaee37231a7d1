//! Waiting with a deadline for what must become true.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Time between two looks; each look starts a process, and there are few cores.
const PAUSE: Duration = Duration::from_millis(400);

/// Seconds.
pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Looks until it succeeds; when it does not in time, its last error tells why.
pub(crate) async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > within => {
                return Err(error).with_context(|| format!("not so within {} s: {what}", within.as_secs()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Looks again and again for a while: it must succeed every time. For what must not happen.
pub(crate) async fn always(
    what: &str,
    during: Duration,
    mut look: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < during {
        look().await.with_context(|| format!("after {:.1} s: {what}", started.elapsed().as_secs_f64()))?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
