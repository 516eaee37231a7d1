//! Accepted connections that tell when they are gone, so that a session whose connection died can be replaced
//! at once (ADR 34), and that can be cut.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use sorcha_identity::{Identity, certificate::Credential};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{Request, transport::server::Connected};

use super::flight::Flight;

/// Answers of a connection that are listed before finished ones are removed.
const ANSWERS: usize = 8;

/// What a call knows about the connection that carries it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Address of the other side, where there is one.
    pub remote: Option<SocketAddr>,
    /// What the client's certificate says; none on plain text.
    credential: Option<Arc<Credential>>,
    closed: CancellationToken,
    cut: CancellationToken,
    /// Sessions and their streams that use it.
    uses: Arc<AtomicUsize>,
    answers: Arc<Mutex<Vec<Weak<Flight>>>>,
}

/// A use of a connection by a session, or by a stream of one.
#[derive(Debug)]
pub struct Hold(Arc<AtomicUsize>);

impl Hold {
    fn of(uses: &Arc<AtomicUsize>) -> Self {
        uses.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(uses))
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    /// The connection that a request came on.
    #[must_use]
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// What the client's certificate says; none on plain text.
    #[must_use]
    pub(crate) fn credential(&self) -> Option<&Credential> {
        self.credential.as_deref()
    }

    /// The identity in its certificate.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.credential()?.as_ref().ok()
    }

    /// Whether both are of the same owner, as far as certificates tell.
    #[must_use]
    pub(crate) fn is_of_owner_of(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    /// Whether certificates prove that both are of the same owner.
    #[must_use]
    pub(crate) fn proves_owner_of(&self, other: &Self) -> bool {
        self.identity().is_some() && self.is_of_owner_of(other)
    }

    /// Whether both are one connection.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.uses, &other.uses)
    }

    /// Uses the connection until the hold is dropped. Several sessions may use one, as behind a proxy.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold::of(&self.uses)
    }

    /// Whether a session uses the connection.
    #[must_use]
    pub(crate) fn is_used(&self) -> bool {
        self.uses.load(Ordering::Relaxed) > 0
    }

    /// Notes an answer that goes to the connection.
    pub(super) fn carries(&self, answer: &Arc<Flight>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS && answers.len() == answers.capacity() {
            answers.retain(|answer| answer.strong_count() > 0);
        }
        answers.push(Arc::downgrade(answer));
    }

    /// Whether bytes of an answer are in flight and the caller has read none of them for `patience`.
    pub(super) fn is_stuck(&self, patience: Duration) -> bool {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|answer| answer.strong_count() > 0);
        answers.iter().filter_map(Weak::upgrade).any(|answer| answer.is_stuck(patience))
    }

    /// Ends the connection, whatever is in progress on it.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// Whether [`Connection::cut`] was called.
    #[cfg(test)]
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// True once the connection is closed.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }
}

/// An accepted connection; dropping it marks its [`Connection`] closed.
#[derive(Debug)]
pub struct Tracked<IO> {
    io: IO,
    connection: Connection,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _closes: DropGuard,
}

impl<IO> Tracked<IO> {
    /// Wraps a connection from `remote`.
    #[must_use]
    pub fn new(io: IO, remote: Option<SocketAddr>) -> Self {
        Self::with(io, remote, None)
    }

    /// Wraps a TLS connection whose client has shown a certificate.
    #[must_use]
    pub fn secured(io: IO, remote: SocketAddr, credential: Credential) -> Self {
        Self::with(io, Some(remote), Some(Arc::new(credential)))
    }

    fn with(io: IO, remote: Option<SocketAddr>, credential: Option<Arc<Credential>>) -> Self {
        let connection = Connection { remote, credential, ..Connection::default() };
        let cut = Box::pin(connection.cut.clone().cancelled_owned());
        let _closes = connection.closed.clone().drop_guard();
        Self { io, connection, cut, _closes }
    }
}

impl<IO> Connected for Tracked<IO> {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl<IO> Tracked<IO> {
    /// The error of a connection that is cut, checked before reads and writes: a stalled caller may block both.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        self.cut.as_mut().poll(cx).is_ready().then(|| io::ErrorKind::ConnectionAborted.into())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tracked<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(cut) = self.poll_cut(cx) {
            return Poll::Ready(Err(cut));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tracked<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(cut) = self.poll_cut(cx) {
            return Poll::Ready(Err(cut));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(cut) = self.poll_cut(cx) {
            return Poll::Ready(Err(cut));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
