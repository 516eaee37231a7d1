//! The two ends of a connection, and what accepts them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::serve::Listener;
use futures::Stream;
use sorcha_central::incoming::Tracked;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Host, Net,
    pipe::{Arrived, Pipe},
};

/// One end of a connection.
pub struct SimStream {
    net: Net,
    id: u64,
    reads: Arc<Pipe>,
    writes: Arc<Pipe>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl SimStream {
    pub(super) const fn new(net: Net, id: u64, reads: Arc<Pipe>, writes: Arc<Pipe>) -> Self {
        Self { net, id, reads, writes, timer: None }
    }

    fn wait_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let blocked = self.net.state().is_blocked(self.reads.from, self.reads.to);
            match self.reads.receive(blocked, buf, cx) {
                Arrived::Taken(result) => return Poll::Ready(result),
                Arrived::NotBefore(None) => return Poll::Pending,
                Arrived::NotBefore(Some(at)) => ready!(self.wait_until(at, cx)),
            }
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (from, to) = (self.writes.from, self.writes.to);
        let mut state = self.net.state();
        let arrives = (!state.is_blocked(from, to)).then(|| state.arrival(from, to, bytes.len()));
        drop(state);
        self.writes.send(bytes, arrives, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let arrives = self.net.state().arrival(self.writes.from, self.writes.to, 0);
        self.writes.close(arrives);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let arrives = self.net.state().arrival(self.writes.from, self.writes.to, 0);
        self.writes.close(arrives);
        self.reads.drop_reader();
        self.net.released(self.id);
    }
}

/// Accepted connections.
pub struct Incoming(mpsc::UnboundedReceiver<SimStream>);

impl Incoming {
    pub(super) const fn new(accepted: mpsc::UnboundedReceiver<SimStream>) -> Self {
        Self(accepted)
    }

    /// As the gRPC server wants them.
    pub fn tracked(self) -> impl Stream<Item = io::Result<Tracked<SimStream>>> {
        futures::stream::unfold(self.0, |mut accepted| async {
            let stream = accepted.recv().await?;
            Some((Ok(Tracked::new(stream, None)), accepted))
        })
    }
}

impl Listener for Incoming {
    type Io = SimStream;
    type Addr = Host;

    async fn accept(&mut self) -> (SimStream, Host) {
        match self.0.recv().await {
            Some(stream) => {
                let from = stream.reads.from;
                (stream, from)
            }
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Host> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "not asked for"))
    }
}
