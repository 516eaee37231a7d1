//! Accepting connections, whatever comes of it: what fails is logged, counted and relieved, and the listener goes on.
//!
//! The gates behind it have different jobs. [`crate::tls::handshakes`] bounds connections that have not shown who they are: the
//! oldest gives way. HTTP's `places` refuses no connection and evicts the one that makes the least of its place, counted by
//! address. gRPC's `connections` counts by certificate, evicts those without a session, and refuses when all have one. Work on
//! connections is bounded by [`crate::shares`], where callers wait.

use std::{io, net::SocketAddr, time::Duration};

use futures::Stream;
use sorcha_os::is_of_connection;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use crate::metrics::Metrics;

/// Bytes that wait unsent in the kernel for a caller: enough to keep a fast one busy. Without a limit the kernel takes megabytes of
/// an answer for a caller that reads nothing.
const UNSENT_BYTES: u32 = 128 * 1024;
/// Pause after a connection could not be accepted for want of something: what made room closes meanwhile.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two log lines about that.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A TCP listener that survives a lack of file descriptors.
pub struct Acceptor {
    listener: TcpListener,
    setting: &'static str,
    metrics: Metrics,
    relief: Box<dyn Fn() + Send>,
    unsent_bytes: Option<u32>,
    failures: Failures,
}

impl Acceptor {
    /// Over the listener of a setting such as `listen.http`.
    #[must_use]
    pub fn new(listener: TcpListener, setting: &'static str, metrics: Metrics) -> Self {
        let (relief, failures) = (Box::new(|| ()), Failures::default());
        Self { listener, setting, metrics, relief, unsent_bytes: None, failures }
    }

    /// The same, for answers that may be large: little of one waits in the kernel for a caller that reads nothing, so that it is
    /// seen to read nothing.
    #[must_use]
    pub fn with_little_unsent(self) -> Self {
        Self { unsent_bytes: Some(UNSENT_BYTES), ..self }
    }

    /// The same; `relief` ends a connection that is of little use when the next one can't be accepted.
    #[must_use]
    pub fn relieved_by(self, relief: impl Fn() + Send + 'static) -> Self {
        Self { relief: Box::new(relief), ..self }
    }

    /// Its connections, one after the other; accepting neither fails nor ends.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<(TcpStream, SocketAddr)>> + Unpin + Send {
        Box::pin(futures::stream::unfold(self, |mut acceptor| async {
            Some((Ok(acceptor.accept().await), acceptor))
        }))
    }

    /// The next connection; neither fails nor ends.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    self.prepare(&stream, remote);
                    return (stream, remote);
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    self.failed(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Small messages go out at once.
    fn prepare(&self, stream: &TcpStream, remote: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%remote, %error, "can't set TCP_NODELAY");
        }
        #[cfg(target_os = "linux")]
        if let Some(bytes) = self.unsent_bytes
            && let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes)
        {
            tracing::debug!(%remote, %error, "can't set TCP_NOTSENT_LOWAT");
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.metrics.accept_failed(self.setting);
        if let Some(count) = self.failures.tell(Instant::now()) {
            tracing::error!(
                %error,
                listener = self.setting,
                count,
                "can't accept connections; idle ones are closed. Too many open files? Raise the limit (ulimit -n, LimitNOFILE)"
            );
        }
        (self.relief)();
    }
}

/// Failures since the last log line.
#[derive(Debug, Default)]
struct Failures {
    told: Option<Instant>,
    count: u64,
}

impl Failures {
    /// Counts one; how many there were, if that is to be logged now.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_at_a_bounded_rate_and_none_is_forgotten() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        assert_eq!(failures.tell(start), Some(1));
        assert_eq!((0..99).filter_map(|_| failures.tell(start + PAUSE)).count(), 0);
        assert_eq!(failures.tell(start + TELL_EVERY), Some(100));
    }
}
