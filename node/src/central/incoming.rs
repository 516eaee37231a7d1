//! Accepted connections that tell when they are gone, so that a session whose connection died can be replaced
//! at once (design decision 15).

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, transport::server::Connected};

/// What a call knows about the connection that carries it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Address of the other side, where there is one.
    pub remote: Option<SocketAddr>,
    closed: CancellationToken,
}

impl Connection {
    /// The connection that a request came on.
    #[must_use]
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// True once the connection is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }
}

/// An accepted connection; dropping it marks its [`Connection`] closed.
#[derive(Debug)]
pub struct Tracked<IO> {
    io: IO,
    connection: Connection,
    _closes: DropGuard,
}

impl<IO> Tracked<IO> {
    /// Wraps a connection from `remote`.
    #[must_use]
    pub fn new(io: IO, remote: Option<SocketAddr>) -> Self {
        let closed = CancellationToken::new();
        Self { io, connection: Connection { remote, closed: closed.clone() }, _closes: closed.drop_guard() }
    }
}

impl Tracked<TcpStream> {
    /// Wraps an accepted TCP connection; small messages go out at once.
    #[must_use]
    pub fn tcp(stream: TcpStream, remote: SocketAddr) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%remote, %error, "can't set TCP_NODELAY");
        }
        Self::new(stream, Some(remote))
    }
}

impl<IO> Connected for Tracked<IO> {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tracked<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tracked<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
