//! Bytes in flight: handed to the transport and not written to the connection yet. They are bounded for each answer, whatever
//! its caller reads. A connection whose bytes in flight do not move for too long is evicted.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::task::{AtomicWaker, Context};
use tokio::time::{Duration, Instant};

/// Bytes that are handed to the transport at once: a frame of HTTP/2, as large as any receiver takes.
pub(super) const CHUNK: usize = 16 * 1024;
/// Most bytes in flight of one answer.
const EACH: usize = 16 * CHUNK;
/// Above this many bytes in flight of all answers of a node, each may have one chunk.
const ALL: usize = 32 << 20;

/// Bytes in flight of all answers of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Load(Arc<AtomicUsize>);

/// A value that lives until the last byte of an answer is written, such as the place of a stream.
pub(super) type Held = Arc<dyn Any + Send + Sync>;

/// Bytes in flight of one answer.
#[derive(Debug)]
pub(super) struct Flight {
    load: Load,
    state: Mutex<State>,
    /// The task that waits for room.
    waker: AtomicWaker,
    _held: Option<Held>,
}

#[derive(Debug)]
struct State {
    bytes: usize,
    /// Last time when one of them was written.
    since: Instant,
}

impl Flight {
    pub(super) fn new(load: Load, held: Option<Held>) -> Arc<Self> {
        let state = Mutex::new(State { bytes: 0, since: Instant::now() });
        Arc::new(Self { load, state, waker: AtomicWaker::new(), _held: held })
    }

    /// Whether one more chunk may depart; if not, the task is woken when it may.
    pub(super) fn has_room(&self, cx: &Context<'_>) -> bool {
        if self.fits() {
            return true;
        }
        self.waker.register(cx.waker());
        // One may have been written in between.
        self.fits()
    }

    fn fits(&self) -> bool {
        let most = if self.load.0.load(Ordering::Relaxed) > ALL { CHUNK } else { EACH };
        let bytes = self.state().bytes;
        bytes == 0 || bytes + CHUNK <= most
    }

    /// Counts a chunk as in flight until the transport drops it.
    pub(super) fn depart(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.load.0.fetch_add(bytes.len(), Ordering::Relaxed);
        let mut state = self.state();
        if state.bytes == 0 {
            state.since = Instant::now();
        }
        state.bytes += bytes.len();
        drop(state);
        Bytes::from_owner(Chunk { bytes, flight: Arc::clone(self) })
    }

    /// Whether bytes are in flight and none was written for longer than `patience`.
    pub(super) fn is_stuck(&self, patience: Duration) -> bool {
        let state = self.state();
        state.bytes > 0 && state.since.elapsed() > patience
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that the transport holds.
struct Chunk {
    bytes: Bytes,
    flight: Arc<Flight>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let flight = &self.flight;
        flight.load.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        let mut state = flight.state();
        state.bytes -= self.bytes.len();
        state.since = Instant::now();
        drop(state);
        flight.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;

    use super::*;

    fn has_room(flight: &Flight) -> bool {
        flight.has_room(&Context::from_waker(&noop_waker()))
    }

    fn chunk() -> Bytes {
        Bytes::from_static(&[0; CHUNK])
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_is_bounded_and_what_does_not_move_is_stuck() {
        let flight = Flight::new(Load::default(), None);
        assert!(!flight.is_stuck(Duration::ZERO), "there is nothing to be taken");
        let mut sent = Vec::new();
        while has_room(&flight) {
            sent.push(flight.depart(chunk()));
        }
        assert_eq!(sent.len(), EACH / CHUNK);
        let patience = Duration::from_secs(60);
        tokio::time::advance(patience).await;
        assert!(!flight.is_stuck(patience));
        drop(sent.pop());
        assert!(has_room(&flight));
        tokio::time::advance(patience).await;
        assert!(!flight.is_stuck(patience), "something was taken a minute ago");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(flight.is_stuck(patience));
        drop(sent);
        assert!(!flight.is_stuck(patience));
    }

    #[tokio::test]
    async fn each_answer_has_one_chunk_while_all_together_have_too_much() {
        let load = Load::default();
        load.0.store(ALL + 1, Ordering::Relaxed);
        let flight = Flight::new(load.clone(), None);
        assert!(has_room(&flight));
        let first = flight.depart(chunk());
        assert!(!has_room(&flight));
        drop(first);
        assert!(has_room(&flight));
        assert_eq!(load.0.load(Ordering::Relaxed), ALL + 1);
    }
}
