//! Accepted connections that tell when they are gone, so that a session whose connection died can be replaced
//! at once (design decision 15).

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, transport::server::Connected};

use crate::tls::{certificate::Credential, identity::Identity};

/// What a call knows about the connection that carries it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Address of the other side, where there is one.
    pub remote: Option<SocketAddr>,
    /// What the client's certificate says; none on plain text.
    credential: Option<Arc<Credential>>,
    closed: CancellationToken,
}

impl Connection {
    /// The connection that a request came on.
    #[must_use]
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// What the client's certificate says; none on plain text.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_deref()
    }

    /// Whose the connection is by its certificate.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.credential()?.as_ref().ok()
    }

    /// Whether both are of the same owner, as far as certificates tell.
    #[must_use]
    pub fn is_of_owner_of(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    /// Whether certificates prove that both are of the same owner.
    #[must_use]
    pub fn proves_owner_of(&self, other: &Self) -> bool {
        self.identity().is_some() && self.is_of_owner_of(other)
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
        Self::with(io, remote, None)
    }

    /// Wraps a TLS connection whose client has shown a certificate.
    #[must_use]
    pub fn secured(io: IO, remote: SocketAddr, credential: Credential) -> Self {
        Self::with(io, Some(remote), Some(Arc::new(credential)))
    }

    fn with(io: IO, remote: Option<SocketAddr>, credential: Option<Arc<Credential>>) -> Self {
        let closed = CancellationToken::new();
        let connection = Connection { remote, credential, closed: closed.clone() };
        Self { io, connection, _closes: closed.drop_guard() }
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
