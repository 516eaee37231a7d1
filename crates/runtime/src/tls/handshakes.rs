//! TLS handshakes of accepted connections: side by side, bounded in number and time, so that a slow or hostile client
//! holds up nobody else.

use std::{
    collections::{HashSet, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    task::{AbortHandle, Id, JoinSet},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

/// A handshake gives way no sooner: who says something does so within this time.
const SETTLES: Duration = Duration::from_secs(1);

/// What a listener does with a connection before anything else.
pub trait Handshake<IO>: Unpin {
    /// A connection that is secured.
    type Secured: Send + 'static;

    /// The handshake of a connection from `remote`; it tells itself why it fails.
    fn begin(
        &self,
        io: IO,
        remote: SocketAddr,
    ) -> impl Future<Output = Option<Self::Secured>> + Send + 'static;

    /// One was ended to make room for the next.
    fn gave_way(&self);
}

/// Accepted connections, once each has done its handshake. While `at_once` are under way the oldest gives way to the next.
pub struct Handshakes<S, H: Handshake<IO>, IO> {
    handshake: H,
    accepted: S,
    at_once: usize,
    under_way: JoinSet<Option<H::Secured>>,
    /// Those that may still be under way, oldest first.
    begun: VecDeque<(Instant, AbortHandle)>,
    /// Those that were ended to make room, and are still on their way out. One that was just being polled comes to its own end.
    leaving: HashSet<Id>,
    settled: Pin<Box<Sleep>>,
}

impl<S, H: Handshake<IO>, IO> Handshakes<S, H, IO> {
    /// Handshakes over what a listener accepts.
    pub fn new(handshake: H, at_once: usize, accepted: S) -> Self {
        let settled = Box::pin(sleep(SETTLES));
        let (under_way, begun) = (JoinSet::new(), VecDeque::new());
        Self { handshake, accepted, at_once, under_way, begun, leaving: HashSet::new(), settled }
    }

    /// Waits until there is room for one more: one ends, or the oldest has had its time and gives way, so that those who say
    /// nothing hold up nobody for longer.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.under_way.len() - self.leaving.len() >= self.at_once {
            let Some((begun, handshake)) = self.begun.front() else { return Poll::Pending };
            if !handshake.is_finished() {
                if begun.elapsed() < SETTLES {
                    self.settled.as_mut().reset(*begun + SETTLES);
                    ready!(self.settled.as_mut().poll(cx));
                }
                handshake.abort();
                self.leaving.insert(handshake.id());
                self.handshake.gave_way();
            }
            self.begun.pop_front();
        }
        Poll::Ready(())
    }
}

impl<S, H, IO> Stream for Handshakes<S, H, IO>
where
    S: Stream<Item = io::Result<(IO, SocketAddr)>> + Unpin,
    H: Handshake<IO>,
{
    type Item = io::Result<H::Secured>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match this.under_way.poll_join_next_with_id(cx) {
                Poll::Ready(Some(Ok((id, secured)))) => {
                    this.leaving.remove(&id);
                    match secured {
                        Some(secured) => return Poll::Ready(Some(Ok(secured))),
                        // It failed, and has said so.
                        None => continue,
                    }
                }
                // It was ended; a panic is not passed on to those who had no part in it.
                Poll::Ready(Some(Err(error))) => {
                    this.leaving.remove(&error.id());
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            ready!(this.poll_room(cx));
            match Pin::new(&mut this.accepted).poll_next(cx) {
                Poll::Ready(Some(Ok((io, remote)))) => {
                    let begun = this.under_way.spawn(this.handshake.begin(io, remote));
                    this.begun.retain(|(_, handshake)| !handshake.is_finished());
                    this.begun.push_back((Instant::now(), begun));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) if this.under_way.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug)]
pub enum Failure<'a> {
    /// One side did not take it.
    Refused(&'a io::Error),
    /// It was not over in time.
    TimedOut,
}

/// The handshake of one connection; `told` hears at once why it fails.
pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ServerConfig>,
    io: IO,
    limit: Duration,
    told: impl Fn(Failure<'_>),
) -> Option<TlsStream<IO>> {
    let accepting = async {
        match TlsAcceptor::from(config).accept(io).into_fallible().await {
            Ok(stream) => Some(stream),
            Err((error, io)) => {
                told(Failure::Refused(&error));
                part(io).await;
                None
            }
        }
    };
    if let Ok(outcome) = timeout(limit, accepting).await {
        return outcome;
    }
    told(Failure::TimedOut);
    None
}

/// Waits until the other side has read why: closed at once, with its words unread, the connection would be reset, and the
/// alert lost with it.
async fn part<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO) {
    if io.shutdown().await.is_ok() {
        let mut unread = [0; 1024];
        while matches!(io.read(&mut unread).await, Ok(1..)) {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{StreamExt as _, poll, stream};

    use super::*;

    const IN_ALL: usize = 4;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Handshakes that are being polled while they give way, and then end by themselves. The last one ends at once.
    #[derive(Default)]
    struct Busy {
        begun: AtomicUsize,
        gave_way: Arc<AtomicUsize>,
    }

    impl Handshake<()> for Busy {
        type Secured = ();

        fn begin(&self, (): (), _remote: SocketAddr) -> impl Future<Output = Option<()>> + Send + 'static {
            let (number, gave_way) = (self.begun.fetch_add(1, Ordering::Relaxed), Arc::clone(&self.gave_way));
            async move {
                let begun = Instant::now();
                let is_to_stay = || number + 1 < IN_ALL && gave_way.load(Ordering::Relaxed) <= number;
                while is_to_stay() && begun.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Some(())
            }
        }

        fn gave_way(&self) {
            self.gave_way.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_handshake_that_ends_by_itself_as_it_gives_way_is_counted_once() {
        let remote = SocketAddr::from(([127, 0, 0, 1], 1));
        let accepted = stream::iter((0..IN_ALL).map(|_| Ok(((), remote))));
        let mut handshakes = Handshakes::new(Busy::default(), 1, accepted);
        let (since, mut secured) = (Instant::now(), 0);
        while secured < IN_ALL {
            match poll!(handshakes.next()) {
                Poll::Ready(next) => secured += usize::from(next.expect("one more").is_ok()),
                // Timers may wait for the threads that are busy; what is polled looks at the clock.
                Poll::Pending => std::thread::sleep(Duration::from_millis(5)),
            }
            assert!(since.elapsed() < PATIENCE, "{secured} of {IN_ALL}");
        }
        assert!(handshakes.leaving.is_empty());
    }
}
