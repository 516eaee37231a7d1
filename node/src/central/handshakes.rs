//! TLS handshakes of accepted connections: side by side, bounded in number and time, so that a slow or hostile client
//! holds up nobody else.

use std::{
    collections::VecDeque,
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
    task::{AbortHandle, JoinSet},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{CentralNode, incoming::Tracked};
use crate::tls::{Tls, certificate, explain, tls_error};

/// A handshake gives way no sooner: who says something does so within this time.
const SETTLES: Duration = Duration::from_secs(1);

/// Accepted connections as TLS, once each has shown its certificate. While `limits.max_handshakes` are under way the oldest
/// gives way to the next; what fails is logged at a bounded rate and counted.
pub struct Handshakes<S, IO> {
    node: Arc<CentralNode>,
    tls: Arc<Tls>,
    accepted: S,
    under_way: JoinSet<Option<Tracked<TlsStream<IO>>>>,
    /// Those that may still be under way, oldest first.
    begun: VecDeque<(Instant, AbortHandle)>,
    /// Those that were ended to make room, and are still on their way out.
    leaving: usize,
    settled: Pin<Box<Sleep>>,
}

impl<S, IO: 'static> Handshakes<S, IO> {
    /// Handshakes for a central node over what a listener accepts.
    pub fn new(node: Arc<CentralNode>, tls: Arc<Tls>, accepted: S) -> Self {
        let settled = Box::pin(sleep(SETTLES));
        Self { node, tls, accepted, under_way: JoinSet::new(), begun: VecDeque::new(), leaving: 0, settled }
    }

    /// Waits until there is room for one more: one ends, or the oldest has had its time and gives way, so that those who say
    /// nothing hold up nobody for longer.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.under_way.len() - self.leaving >= self.node.config.limits.max_handshakes {
            let Some((begun, handshake)) = self.begun.front() else { return Poll::Pending };
            if !handshake.is_finished() {
                if begun.elapsed() < SETTLES {
                    self.settled.as_mut().reset(*begun + SETTLES);
                    ready!(self.settled.as_mut().poll(cx));
                }
                handshake.abort();
                self.leaving += 1;
                self.node.env.metrics.handshake("gave_way");
            }
            self.begun.pop_front();
        }
        Poll::Ready(())
    }
}

impl<S, IO> Stream for Handshakes<S, IO>
where
    S: Stream<Item = io::Result<(IO, SocketAddr)>> + Unpin,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Item = io::Result<Tracked<TlsStream<IO>>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match this.under_way.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(secured)))) => return Poll::Ready(Some(Ok(secured))),
                Poll::Ready(Some(Err(error))) if error.is_cancelled() => {
                    this.leaving = this.leaving.saturating_sub(1);
                    continue;
                }
                // It failed, and has said so; a panic is not passed on to those who had no part in it.
                Poll::Ready(Some(Ok(None) | Err(_))) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            ready!(this.poll_room(cx));
            match Pin::new(&mut this.accepted).poll_next(cx) {
                Poll::Ready(Some(Ok((io, remote)))) => {
                    let (node, tls) = (Arc::clone(&this.node), Arc::clone(&this.tls));
                    let begun = this.under_way.spawn(handshake(node, tls, io, remote));
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

async fn handshake<IO>(
    node: Arc<CentralNode>,
    tls: Arc<Tls>,
    io: IO,
    remote: SocketAddr,
) -> Option<Tracked<TlsStream<IO>>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let limit = node.config.limits.handshake_timeout;
    let accepting = async {
        match TlsAcceptor::from(tls.server()).accept(io).into_fallible().await {
            Ok(stream) => Some(secured(stream, remote)),
            Err((error, io)) => {
                failed(&node, remote, &error);
                part(io).await;
                None
            }
        }
    };
    let Ok(outcome) = timeout(limit, accepting).await else {
        timed_out(&node, remote, limit);
        return None;
    };
    if outcome.is_some() {
        node.env.metrics.handshake("ok");
    }
    outcome
}

fn secured<IO>(stream: TlsStream<IO>, remote: SocketAddr) -> Tracked<TlsStream<IO>> {
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    // The verifier lets nobody in who shows none.
    let credential = shown.map_or(Err(certificate::NoIdentity::Missing), certificate::credential);
    Tracked::secured(stream, remote, credential)
}

/// Waits until the other side has read why: closed at once, with its words unread, the connection would be reset, and the
/// alert lost with it.
async fn part<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO) {
    if io.shutdown().await.is_ok() {
        let mut unread = [0; 1024];
        while matches!(io.read(&mut unread).await, Ok(1..)) {}
    }
}

fn failed(node: &CentralNode, remote: SocketAddr, error: &io::Error) {
    if tls_error(error).is_none() {
        // Port scans and health checks of load balancers look like this.
        node.env.metrics.handshake("closed");
        return tracing::debug!(%remote, reason = explain(error), "connection closed in its TLS handshake");
    }
    node.env.metrics.handshake("refused");
    if node.limiters.may_log_refusal() {
        tracing::warn!(%remote, reason = explain(error), "TLS handshake failed");
    }
}

fn timed_out(node: &CentralNode, remote: SocketAddr, limit: Duration) {
    node.env.metrics.handshake("timeout");
    if node.limiters.may_log_refusal() {
        let limit_ms = limit.as_millis();
        tracing::warn!(%remote, limit_ms, "TLS handshake not finished in time (limits.handshake_timeout); connection cut");
    }
}
