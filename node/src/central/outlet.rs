//! A bounded stream from a task to a caller, whose last word is never lost: it waits beside the queue, not in it. A caller that
//! takes nothing would otherwise see what was cut off for want of room end well.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures::Stream;
use tokio::sync::mpsc;
use tonic::{Code, Status};

type LastWord = Arc<Mutex<Option<Status>>>;

/// The task's end.
pub(super) struct Outlet<T> {
    items: mpsc::Sender<T>,
    last_word: LastWord,
}

/// The caller's end.
pub struct Inlet<T> {
    items: mpsc::Receiver<T>,
    last_word: LastWord,
}

/// A stream that holds so many items before its caller has taken them.
pub(super) fn outlet<T>(buffer: usize) -> (Outlet<T>, Inlet<T>) {
    let (sender, receiver) = mpsc::channel(buffer);
    let last_word = LastWord::default();
    (Outlet { items: sender, last_word: Arc::clone(&last_word) }, Inlet { items: receiver, last_word })
}

impl<T> Outlet<T> {
    /// Sends one; `None` when the caller has gone.
    pub(super) async fn send(&self, item: T) -> Option<()> {
        self.items.send(item).await.ok()
    }

    /// Waits for room for one; `None` when the caller has gone.
    pub(super) async fn reserve(&self) -> Option<mpsc::Permit<'_, T>> {
        self.items.reserve().await.ok()
    }

    /// Waits until the caller has gone.
    pub(super) async fn closed(&self) {
        self.items.closed().await;
    }

    /// Ends the stream: after what is on its way the caller hears this.
    pub(super) fn end(self, status: Status) {
        if status.code() != Code::Ok {
            *self.last_word.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        }
    }
}

impl<T> Stream for Inlet<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(item) = ready!(self.items.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(item)));
        }
        let last_word = self.last_word.lock().unwrap_or_else(PoisonError::into_inner).take();
        Poll::Ready(last_word.map(Err))
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

    #[tokio::test]
    async fn a_stream_that_ends_well_ends_without_a_word() {
        let (outlet, mut inlet) = outlet::<u8>(1);
        outlet.end(Status::ok("the peer left"));
        assert!(inlet.next().await.is_none());
    }
}
