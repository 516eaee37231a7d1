//! Callers that hold on to what they get.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::node::TOKEN;

/// A connection with a small window: what it does not read stays with the node.
async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(16 * 1024)?;
    socket.connect(([127, 0, 0, 1], port).into()).await
}

/// Asks for a path and reads 3 KB of the answer a second, for as long as it is let; how much it read.
async fn reads_slowly(port: u16, path: String) -> usize {
    let Ok(mut stream) = connect(port).await else { return 0 };
    let request = format!("GET {path} HTTP/1.1\r\nhost: n0\r\n\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() {
        return 0;
    }
    let (mut buffer, mut read) = ([0; 3 * 1024], 0);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        read += length;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    read
}

/// Sends the half of a publication, and nothing more.
async fn sends_half(port: u16) -> usize {
    let Ok(mut stream) = connect(port).await else { return 0 };
    let head = format!(
        "POST /api/system-register/publish HTTP/1.1\r\nhost: n0\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{\"blueprintId\":"
    );
    drop(stream.write_all(head.as_bytes()).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    answer.len()
}

/// Sends the head of a request, a byte a second.
async fn heads_slowly(port: u16) -> usize {
    let Ok(mut stream) = connect(port).await else { return 0 };
    while stream.write_all(b"G").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    0
}

async fn says_nothing(port: u16) -> usize {
    let Ok(mut stream) = connect(port).await else { return 0 };
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    answer.len()
}

/// Many callers of one kind; each comes again when its connection is ended. They go when this is dropped.
pub(crate) struct Callers(JoinSet<()>);

impl Callers {
    fn many<F: Future<Output = usize> + Send>(
        count: usize,
        caller: impl Fn(usize) -> F + Clone + Send + 'static,
    ) -> Self {
        let mut callers = JoinSet::new();
        for number in 0..count {
            let caller = caller.clone();
            callers.spawn(async move {
                loop {
                    caller(number).await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        Self(callers)
    }

    pub(crate) fn reading_slowly(count: usize, port: u16, paths: &[&str]) -> Self {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        Self::many(count, move |number| reads_slowly(port, paths[number % paths.len()].clone()))
    }

    pub(crate) fn sending_halves(count: usize, port: u16) -> Self {
        Self::many(count, move |_| sends_half(port))
    }

    pub(crate) fn with_slow_heads(count: usize, port: u16) -> Self {
        Self::many(count, move |_| heads_slowly(port))
    }

    pub(crate) fn saying_nothing(count: usize, port: u16) -> Self {
        Self::many(count, move |_| says_nothing(port))
    }

    /// Callers that connect and go, as fast as they can.
    pub(crate) fn flooding(count: usize, port: u16) -> Self {
        let mut callers = JoinSet::new();
        for _ in 0..count {
            callers.spawn(async move {
                loop {
                    drop(TcpStream::connect(("127.0.0.1", port)).await);
                    tokio::task::yield_now().await;
                }
            });
        }
        Self(callers)
    }

    /// Ends them.
    pub(crate) async fn leave(mut self) {
        self.0.shutdown().await;
    }
}

/// What one slow reader gets of an answer before it is cut.
pub(crate) async fn read_before_cut(port: u16, path: &str) -> usize {
    reads_slowly(port, path.to_owned()).await
}

/// Connections that say nothing, all open at once.
pub(crate) async fn idle(count: usize, port: u16) -> Vec<TcpStream> {
    let mut there = Vec::new();
    for _ in 0..count {
        there.extend(TcpStream::connect(("127.0.0.1", port)).await);
    }
    there
}
