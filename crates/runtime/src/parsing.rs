//! Large texts are parsed off the runtime, a few at a time: what a caller sends takes neither the runtime's threads nor much memory.

use tokio::sync::Semaphore;

/// Texts that are parsed at once. Each takes memory of about its size, and a core.
const AT_ONCE: usize = 2;
/// A smaller text is parsed where it is: to hand it over would cost more.
const SMALL: usize = 64 * 1024;

/// Of the whole process: it is the machine that has few cores.
static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Does the work on a text of this size, elsewhere if it is large.
pub async fn off_the_runtime<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes < SMALL {
        return work();
    }
    // It is never closed.
    let _place = PLACES.acquire().await.ok();
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // Not cancelled: nothing aborts it.
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}
