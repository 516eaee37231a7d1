//! How long a peer waits for a central node: never longer than `sync.stall_timeout` for a sign of life, and never at less
//! than a minimum rate. What is large may take as long as it needs.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};
use tonic::{body::Body, transport::Channel};
use tower::Service;

/// The slowest stream that is waited for, bytes a second: a modem is faster.
const SLOWEST: u64 = 1024;

/// A wait that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the central node sent {received} bytes in {}, less than the required {SLOWEST} a second (sync.stall_timeout)",
    humantime::format_duration(*.within)
)]
pub(super) struct Stalled {
    received: u64,
    within: Duration,
}

/// Bytes of answers that have arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Received(Arc<AtomicU64>);

impl Received {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The pace of one stream. Only the time spent in waiting counts: what this peer does with what came is its own affair.
#[derive(Debug)]
pub(super) struct StreamPace {
    window: Duration,
    received: Received,
    /// Bytes received when the window began, and the time waited since.
    before: u64,
    waited: Duration,
}

impl StreamPace {
    /// For a stream whose bytes are counted in `received`.
    pub(super) fn new(window: Duration, received: Received) -> Self {
        Self { window, before: received.bytes(), received, waited: Duration::ZERO }
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// [`Stalled`] when nothing, or next to nothing, has come for a whole window.
    pub(super) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, Stalled> {
        let mut next = pin!(next);
        loop {
            self.check()?;
            let began = Instant::now();
            let outcome = timeout(self.window.saturating_sub(self.waited), &mut next).await;
            self.waited += began.elapsed();
            if let Ok(outcome) = outcome {
                return Ok(outcome);
            }
        }
    }

    /// Ends a window that is over.
    fn check(&mut self) -> Result<(), Stalled> {
        if self.waited < self.window {
            return Ok(());
        }
        let received = self.received.bytes() - self.before;
        let least = self.window.as_secs_f64() * SLOWEST as f64;
        if (received as f64) < least {
            return Err(Stalled { received, within: self.waited });
        }
        (self.before, self.waited) = (self.before + received, Duration::ZERO);
        Ok(())
    }
}

/// A channel that counts the bytes of the answers that come on it.
#[derive(Clone, Debug)]
pub(super) struct Metered {
    pub(super) channel: Channel,
    pub(super) received: Received,
}

impl Service<http::Request<Body>> for Metered {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (answer, received) = (self.channel.call(request), self.received.clone());
        Box::pin(async move {
            let counted = |body: Body| {
                Body::new(body.map_frame(move |frame| {
                    received.add(frame.data_ref().map_or(0, Bytes::len));
                    frame
                }))
            };
            Ok(answer.await?.map(counted))
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    /// Messages of so many bytes, one after each pause, until the pace gives up; how long that took.
    async fn trickle(bytes: usize, pause: Duration, messages: u32) -> Result<(), Duration> {
        let received = Received::default();
        let (mut pace, began) = (StreamPace::new(WINDOW, received.clone()), Instant::now());
        for _ in 0..messages {
            pace.wait(sleep(pause)).await.map_err(|_stalled| began.elapsed())?;
            received.add(bytes);
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_given_up_and_so_is_a_trickle() {
        assert_eq!(trickle(1_000_000, 2 * WINDOW, 1).await, Err(WINDOW), "silence");
        assert_eq!(trickle(100, Duration::from_secs(1), 1000).await, Err(WINDOW), "100 bytes a second");
        assert_eq!(trickle(2000, Duration::from_secs(1), 100_000).await, Ok(()), "slow, and for a day");
    }

    /// A message that takes longer than the window, while bytes of it arrive.
    #[tokio::test(start_paused = true)]
    async fn a_large_message_over_a_slow_line_is_waited_for() {
        let received = Received::default();
        let mut pace = StreamPace::new(WINDOW, received.clone());
        let message = async {
            for _ in 0..600 {
                sleep(Duration::from_secs(1)).await;
                received.add(2 * 1024);
            }
        };
        assert_eq!(pace.wait(message).await, Ok(()));
    }

    /// A disk that takes minutes is no fault of the central node.
    #[tokio::test(start_paused = true)]
    async fn what_the_peer_does_meanwhile_does_not_count() {
        let mut pace = StreamPace::new(WINDOW, Received::default());
        for _ in 0..20 {
            assert_eq!(pace.wait(sleep(Duration::from_secs(1))).await, Ok(()));
            sleep(Duration::from_secs(300)).await;
        }
    }
}
