//! A simulated network: connections with the behaviour of TCP between the hosts of a simulated run.
//!
//! Bytes take the link's latency and its bandwidth's time, arrive in order or not at all, and wait while a link is
//! blocked, as retransmission makes them; a process that is killed resets its connections, a machine that loses power
//! says nothing. Everything random is drawn from the seed. Time is Tokio's, which the run has paused.

mod host;
mod link;
mod pipe;
mod stream;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::{sync::mpsc, time::Instant};

use self::pipe::Pipe;
pub use self::{
    host::{Host, Port},
    link::Link,
    stream::{Incoming, SimStream},
};

/// First and longest wait of a connecting side for an answer.
const SYN_RETRY: Duration = Duration::from_secs(1);
const SYN_RETRY_MAX: Duration = Duration::from_secs(8);
/// Bytes that waited for a link go on within this time once it is open again: the retransmission timer has backed off.
const RESUME_WITHIN_MILLIS: u64 = 3000;

/// The network; cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

struct State {
    rng: SmallRng,
    default: Link,
    links: BTreeMap<(Host, Host), Link>,
    hosts: BTreeMap<Host, HostState>,
    listeners: BTreeMap<(Host, Port), mpsc::UnboundedSender<SimStream>>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct HostState {
    /// The machine has no power.
    off: bool,
    /// The process stands still: the kernel still accepts connections, nobody reads them.
    hung: bool,
}

struct Connection {
    client: Host,
    server: Host,
    pipes: [Arc<Pipe>; 2],
    /// Ends that are still held.
    ends: u8,
}

impl Net {
    /// A network in which everybody reaches everybody.
    #[must_use]
    pub fn new(seed: u64, default: Link) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: SmallRng::seed_from_u64(seed),
            default,
            links: BTreeMap::new(),
            hosts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            next: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to accept connections; an earlier listener of the port is gone.
    #[must_use]
    pub fn listen(&self, host: Host, port: Port) -> Incoming {
        let (accepted, incoming) = mpsc::unbounded_channel();
        self.state().listeners.insert((host, port), accepted);
        Incoming::new(incoming)
    }

    /// Opens a connection. Waits for ever while no answer can come; the caller bounds the time.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] when nobody listens there.
    pub async fn connect(&self, from: Host, to: Host, port: Port) -> io::Result<SimStream> {
        let mut retry = SYN_RETRY;
        loop {
            tokio::time::sleep(self.draw_round_trip(from, to)).await;
            if self.state().answers(from, to) {
                return self.accept(from, to, port);
            }
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(SYN_RETRY_MAX);
        }
    }

    fn draw_round_trip(&self, a: Host, b: Host) -> Duration {
        let mut state = self.state();
        state.latency(a, b) + state.latency(b, a)
    }

    fn accept(&self, from: Host, to: Host, port: Port) -> io::Result<SimStream> {
        let refused =
            || io::Error::new(io::ErrorKind::ConnectionRefused, format!("{to} refuses connections"));
        let mut state = self.state();
        let listener = state.listeners.get(&(to, port)).cloned().ok_or_else(refused)?;
        let id = state.next;
        state.next += 1;
        let pipes = [Arc::new(Pipe::new(from, to)), Arc::new(Pipe::new(to, from))];
        let [there, back] = &pipes;
        let client = SimStream::new(self.clone(), id, Arc::clone(back), Arc::clone(there));
        let server = SimStream::new(self.clone(), id, Arc::clone(there), Arc::clone(back));
        state.connections.insert(id, Connection { client: from, server: to, pipes, ends: 2 });
        drop(state);
        // A listener that is gone drops the stream, which closes the connection.
        listener.send(server).map_err(|_| refused())?;
        Ok(client)
    }

    /// Forgets a connection that neither side holds any more.
    fn released(&self, id: u64) {
        let mut state = self.state();
        let over = state.connections.get_mut(&id).is_some_and(|connection| {
            connection.ends -= 1;
            connection.ends == 0
        });
        if over {
            state.connections.remove(&id);
        }
    }

    /// Connections that a host has opened and not let go of.
    #[must_use]
    pub fn outgoing(&self, host: Host, port_of: impl Fn(Host) -> bool) -> usize {
        let state = self.state();
        state.connections.values().filter(|c| c.client == host && c.ends == 2 && port_of(c.server)).count()
    }

    /// Changes the link from one host to another, this direction only.
    pub fn change(&self, from: Host, to: Host, change: impl FnOnce(&mut Link)) {
        let mut state = self.state();
        let default = state.default;
        let link = state.links.entry((from, to)).or_insert(default);
        let was_blocked = link.blocked;
        change(link);
        if was_blocked && !link.blocked {
            state.resume(|pipe| pipe.from == from && pipe.to == to);
        }
    }

    /// Whether bytes get from one host to another now.
    #[must_use]
    pub fn is_open(&self, from: Host, to: Host) -> bool {
        !self.state().is_blocked(from, to)
    }

    /// The time that a byte takes there and back, as things stand, without what is random.
    #[must_use]
    pub fn round_trip(&self, a: Host, b: Host) -> Duration {
        let state = self.state();
        state.link(a, b).latency + state.link(b, a).latency
    }

    /// The process stands still, or goes on.
    pub fn hang(&self, host: Host, hung: bool) {
        let mut state = self.state();
        let entry = state.hosts.entry(host).or_default();
        let was = std::mem::replace(&mut entry.hung, hung);
        if was && !hung {
            state.resume(|pipe| pipe.from == host || pipe.to == host);
        }
    }

    /// The process is killed, or has ended: its kernel resets all connections.
    pub fn kill(&self, host: Host) {
        let mut state = self.state();
        state.listeners.retain(|(listening, _), _| *listening != host);
        for connection in state.connections.values().filter(|c| c.client == host || c.server == host) {
            for pipe in &connection.pipes {
                if pipe.to == host { pipe.die() } else { pipe.reset(Instant::now()) }
            }
        }
    }

    /// The machine loses power: nobody is told.
    pub fn power_off(&self, host: Host) {
        let mut state = self.state();
        state.hosts.entry(host).or_default().off = true;
        state.listeners.retain(|(listening, _), _| *listening != host);
        for connection in state.connections.values().filter(|c| c.client == host || c.server == host) {
            for pipe in &connection.pipes {
                if pipe.to == host { pipe.lose_reader() } else { pipe.orphan() }
            }
        }
    }

    /// The machine is up again; it knows nothing of its old connections, and resets them when it hears of them.
    pub fn power_on(&self, host: Host) {
        let mut state = self.state();
        state.hosts.entry(host).or_default().off = false;
        let at = Instant::now() + Duration::from_secs(1);
        for pipe in state.connections.values().flat_map(|c| &c.pipes).filter(|pipe| pipe.from == host) {
            pipe.reset_orphan(at);
        }
    }

    /// Resets every connection that a host has, as a middlebox that forgot them does.
    pub fn reset_all(&self, host: Host) {
        let state = self.state();
        for connection in state.connections.values().filter(|c| c.client == host || c.server == host) {
            for pipe in &connection.pipes {
                pipe.reset(Instant::now());
            }
        }
    }
}

impl State {
    fn link(&self, from: Host, to: Host) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.default)
    }

    fn host(&self, host: Host) -> HostState {
        self.hosts.get(&host).copied().unwrap_or_default()
    }

    fn is_blocked(&self, from: Host, to: Host) -> bool {
        let hung = self.host(from).hung || self.host(to).hung;
        from != to && (self.link(from, to).blocked || hung)
    }

    /// Whether a connecting side gets an answer: the kernel answers for a process that stands still.
    fn answers(&self, from: Host, to: Host) -> bool {
        let open = !self.link(from, to).blocked && !self.link(to, from).blocked;
        from == to || (open && !self.host(to).off && !self.host(from).hung)
    }

    fn latency(&mut self, from: Host, to: Host) -> Duration {
        if from == to { Duration::ZERO } else { self.link(from, to).draw_latency(&mut self.rng) }
    }

    /// When bytes that are sent now arrive.
    fn arrival(&mut self, from: Host, to: Host, bytes: usize) -> Instant {
        let link = self.link(from, to);
        let stall = if from == to { Duration::ZERO } else { link.draw_stall(bytes, &mut self.rng) };
        Instant::now() + self.latency(from, to) + stall
    }

    fn resume(&mut self, these: impl Fn(&Pipe) -> bool) {
        let pipes: Vec<Arc<Pipe>> = self
            .connections
            .values()
            .flat_map(|c| c.pipes.iter())
            .filter(|pipe| these(pipe))
            .cloned()
            .collect();
        for pipe in pipes {
            let wait = Duration::from_millis(self.rng.random_range(0..RESUME_WITHIN_MILLIS));
            pipe.resume(Instant::now() + wait);
        }
    }
}

#[cfg(test)]
mod tests;
