//! A bounded stream from a task to a caller. Its final status waits beside the queue, so that a full queue does not lose it: a
//! stalled caller would otherwise take a broken stream for a complete one.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures::Stream;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};
use tonic::{Code, Status};

#[derive(Debug)]
struct Shared {
    last_word: Option<Status>,
    /// When the caller last took an item or a part of one.
    taken_at: Instant,
}

pub(super) struct Outlet<T> {
    items: mpsc::Sender<T>,
    shared: Arc<Mutex<Shared>>,
}

/// The caller's end.
pub(crate) struct Inlet<T> {
    items: mpsc::Receiver<T>,
    shared: Arc<Mutex<Shared>>,
}

/// The caller did not read for too long.
#[derive(Debug)]
pub(super) struct TookNothing;

/// A stream that buffers up to `buffer` items.
pub(super) fn outlet<T>(buffer: usize) -> (Outlet<T>, Inlet<T>) {
    let (sender, receiver) = mpsc::channel(buffer);
    let shared = Arc::new(Mutex::new(Shared { last_word: None, taken_at: Instant::now() }));
    (Outlet { items: sender, shared: Arc::clone(&shared) }, Inlet { items: receiver, shared })
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Outlet<T> {
    /// Sends one; `None` when the caller has gone.
    #[cfg(test)]
    pub(super) async fn send(&self, item: T) -> Option<()> {
        self.items.send(item).await.ok()
    }

    /// Waits for room for one; `None` when the caller has gone.
    pub(super) async fn reserve(&self) -> Option<mpsc::Permit<'_, T>> {
        self.items.reserve().await.ok()
    }

    /// When the caller last took an item or a part of one.
    pub(super) fn taken_at(&self) -> Instant {
        lock(&self.shared).taken_at
    }

    /// Sends one when there is room; `None` when the caller has gone.
    ///
    /// # Errors
    /// [`TookNothing`] when the queue is full and the caller has not read for `patience`.
    pub(super) async fn send_within(&self, patience: Duration, item: T) -> Result<Option<()>, TookNothing> {
        let began = Instant::now();
        let mut room = pin!(self.items.reserve());
        loop {
            let until = began.max(self.taken_at()) + patience;
            tokio::select! {
                permit = &mut room => return Ok(permit.ok().map(|permit| permit.send(item))),
                () = sleep_until(until) => if self.taken_at().max(began) + patience <= until {
                    return Err(TookNothing);
                }
            }
        }
    }

    /// Waits until the caller has gone.
    pub(super) async fn closed(&self) {
        self.items.closed().await;
    }

    /// Ends the stream with this status, after the items in the queue.
    pub(super) fn end(self, status: Status) {
        if status.code() != Code::Ok {
            lock(&self.shared).last_word = Some(status);
        }
    }
}

impl<T> Inlet<T> {
    /// Notes that the caller reads.
    pub(super) fn is_taken(&self) {
        lock(&self.shared).taken_at = Instant::now();
    }

    pub(super) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        if let Some(item) = ready!(self.items.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(item)));
        }
        let last_word = lock(&self.shared).last_word.take();
        Poll::Ready(last_word.map(Err))
    }
}

impl<T> Stream for Inlet<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.poll_item(cx));
        self.is_taken();
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn the_last_word_is_heard_though_the_queue_is_full() {
        let (outlet, mut inlet) = outlet(1);
        outlet.send(1).await.unwrap();
        outlet.end(Status::resource_exhausted("too slow"));
        assert_eq!(inlet.next().await.unwrap().unwrap(), 1);
        assert_eq!(inlet.next().await.unwrap().unwrap_err().code(), Code::ResourceExhausted);
        assert!(inlet.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_something_is_waited_for_and_one_that_takes_nothing_is_not() {
        let (outlet, inlet) = outlet(1);
        let patience = Duration::from_secs(30);
        outlet.send_within(patience, 1).await.unwrap().unwrap();
        let began = Instant::now();
        let taking = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                inlet.is_taken();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = taking => {}
            sent = outlet.send_within(patience, 2) => assert!(sent.is_err()),
        }
        assert_eq!(began.elapsed(), Duration::from_secs(130));
    }

    #[tokio::test]
    async fn a_stream_that_ends_well_ends_without_a_word() {
        let (outlet, mut inlet) = outlet::<u8>(1);
        outlet.end(Status::ok("the peer left"));
        assert!(inlet.next().await.is_none());
    }
}
