//! Probes as a kubelet sends them. Threads that do nothing else send them and measure the answers, and send the same requests to a
//! bare thread of this process: what that one takes is what the machine takes at that moment, whatever the node does.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// An answer of the port of the probes takes no longer than this beyond what a bare thread takes.
pub const AT_ONCE: Duration = Duration::from_secs(1);
/// A client that has no answer after this time gives up.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
/// Before a probe whose connection was ended is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(10);
const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nhost: n0\r\nconnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Sends a probe, and another one when its connection is ended, as a kubelet does; how long it takes until one is answered.
fn probe(port: u16, within: Duration) -> io::Result<Duration> {
    let asked = Instant::now();
    loop {
        match once(port) {
            Ok(()) => return Ok(asked.elapsed()),
            Err(_) if asked.elapsed() < within => thread::sleep(AGAIN_AFTER),
            Err(error) => return Err(error),
        }
    }
}

fn once(port: u16) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// A thread that answers every request at once.
struct Bare {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (port, stop) = (listener.local_addr()?.port(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                drop(stream.and_then(|stream| answer(&stream)));
            }
        });
        Ok(Self { port, stop, thread: Some(thread) })
    }
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut vec![0; REQUEST.len()])?;
    stream.write_all(ANSWER)
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for a connection.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// What was measured of one port.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Probes that were answered.
    pub probes: u32,
    /// The longest time of an answer.
    pub slowest: Duration,
    /// The longest time of an answer of the bare thread.
    pub slowest_bare: Duration,
}

impl Measured {
    fn note(&mut self, took: Duration, bare: Duration, within: Duration) -> io::Result<()> {
        self.probes += 1;
        (self.slowest, self.slowest_bare) = (self.slowest.max(took), self.slowest_bare.max(bare));
        if took <= within + bare {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "answered after {} ms; a bare thread took {} ms at the same time",
            took.as_millis(),
            bare.as_millis()
        )))
    }
}

/// Probes of one port, again and again, until they are stopped or an answer is late, wrong or missing.
pub struct Probes {
    stop: Arc<AtomicBool>,
    failure: Arc<OnceLock<String>>,
    thread: JoinHandle<Measured>,
}

impl Probes {
    /// Starts them; each answer takes no longer than `within` beyond what a bare thread takes.
    #[must_use]
    pub fn start(port: u16, what: &str, within: Duration) -> Self {
        let (stop, failure) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::new()));
        let thread = thread::spawn({
            let (what, stop, failure) = (what.to_owned(), Arc::clone(&stop), Arc::clone(&failure));
            move || {
                let mut measured = Measured::default();
                if let Err(error) = measure(port, within, &stop, &mut measured) {
                    failure.get_or_init(|| format!("{what}: {error}"));
                }
                measured
            }
        });
        Self { stop, failure, thread }
    }

    /// What was wrong with an answer.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Ends them.
    ///
    /// # Errors
    /// What was wrong with an answer.
    pub fn stop(self) -> Result<Measured, String> {
        self.stop.store(true, Ordering::Relaxed);
        let measured = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.failure.get().map_or(Ok(measured), |failure| Err(failure.clone()))
    }
}

/// The node and the bare thread are asked side by side; each has all of the time of the slower one.
fn measure(port: u16, within: Duration, stop: &AtomicBool, measured: &mut Measured) -> io::Result<()> {
    let bare = Bare::start()?;
    while !stop.load(Ordering::Relaxed) {
        let (took, bare) = thread::scope(|scope| {
            let bare = scope.spawn(|| probe(bare.port, within));
            (probe(port, within), bare.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        measured.note(took?, bare?, within)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_late_by_what_a_bare_thread_does_not_take() {
        let second = Duration::from_secs(1);
        let mut measured = Measured::default();
        assert!(measured.note(second, Duration::ZERO, AT_ONCE).is_ok());
        assert!(measured.note(3 * second, 2 * second, AT_ONCE).is_ok());
        let late = measured.note(3 * second, second / 2, AT_ONCE).unwrap_err().to_string();
        assert!(late.contains("3000 ms") && late.contains("500 ms"), "{late}");
    }

    #[test]
    fn a_port_that_is_deaf_is_told() {
        let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let probes = Probes::start(deaf, "deaf", AT_ONCE);
        while probes.failure().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(probes.stop().unwrap_err().starts_with("deaf: "));
    }

    #[test]
    fn what_answers_is_measured() {
        let bare = Bare::start().unwrap();
        let probes = Probes::start(bare.port, "bare", AT_ONCE);
        thread::sleep(Duration::from_millis(300));
        assert!(probes.stop().unwrap().probes > 0);
    }
}
