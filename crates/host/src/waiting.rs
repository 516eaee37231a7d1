//! Retries while a store is not available at start.

use std::time::Duration;

use sorcha_central::bootstrap::BootstrapError;
use sorcha_store::StoreError;

use crate::HostError;

/// First and longest wait before an unavailable store is tried again at start.
const STORE_RETRY: Duration = Duration::from_millis(500);
const STORE_RETRY_MAX: Duration = Duration::from_secs(10);

/// An error that may come from an unavailable store.
pub trait Unavailable {
    /// Why the store does not answer, if that is the only fault.
    fn unavailable(&self) -> Option<&str>;
}

impl Unavailable for HostError {
    fn unavailable(&self) -> Option<&str> {
        match self {
            Self::Store(StoreError::Unavailable(why))
            | Self::Bootstrap(BootstrapError::Store(StoreError::Unavailable(why))) => Some(why),
            _ => None,
        }
    }
}

/// Repeats an attempt while the store is not available: a database may start after its nodes. `waits` gets the reason before
/// each wait.
///
/// # Errors
/// Any other error at once.
pub async fn until_available<T, E: Unavailable, F>(
    mut attempt: impl FnMut() -> F,
    mut waits: impl FnMut(&str),
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut wait = STORE_RETRY;
    loop {
        let ended = attempt().await;
        let Err(error) = &ended else { return ended };
        let Some(why) = error.unavailable() else { return ended };
        waits(why);
        tracing::warn!(reason = why, retry_in_ms = wait.as_millis(), "store not available yet");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(STORE_RETRY_MAX);
    }
}
