//! The life of a connection: why it broke, and that it is gone, both told by the connection itself.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A connection's first fault and its end, shared by the connection and those who call over it.
#[derive(Clone, Debug, Default)]
pub struct Life {
    fault: Arc<OnceLock<String>>,
    over: CancellationToken,
}

impl Life {
    /// Passes an error on.
    pub(super) fn note(&self, error: io::Error) -> io::Error {
        let _the_first_stays = self.fault.set(error.to_string());
        error
    }

    /// The first fault.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Waits until the connection is closed by either side.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// A stream whose end is this life's.
    pub fn watch<S>(&self, stream: S) -> Watched<S> {
        self.watch_reads(stream, |read| read.map(drop))
    }

    /// The same, of which each read is looked at: what came, or why nothing did.
    pub(super) fn watch_reads<S>(
        &self,
        stream: S,
        look: impl FnMut(io::Result<&[u8]>) -> io::Result<()> + Send + 'static,
    ) -> Watched<S> {
        Watched { stream, look: Box::new(look), _over: self.over.clone().drop_guard() }
    }
}

/// Passes a read on, or makes an error of it.
type Look = Box<dyn FnMut(io::Result<&[u8]>) -> io::Result<()> + Send>;

/// A stream that tells when it is dropped: HTTP/2 drops it as soon as it is closed, calls or no calls.
pub struct Watched<S> {
    stream: S,
    look: Look,
    _over: DropGuard,
}

impl<S: fmt::Debug> fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        Poll::Ready((self.look)(read.map(|()| &buf.filled()[before..])))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
