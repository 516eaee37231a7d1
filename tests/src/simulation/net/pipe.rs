//! One direction of a connection: what was sent and is on its way.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::{io::ReadBuf, time::Instant};

use super::Host;

/// Bytes that may be on their way before the sender waits.
const WINDOW: usize = 256 * 1024;

pub(super) struct Pipe {
    pub(super) from: Host,
    pub(super) to: Host,
    flow: Mutex<Flow>,
}

enum Item {
    Bytes(Bytes),
    /// The sender has closed its side.
    Fin,
    /// The connection is gone.
    Reset,
}

struct Flow {
    items: VecDeque<(Instant, Item)>,
    on_the_way: usize,
    /// Nothing arrives before, whatever was planned.
    not_before: Instant,
    /// The reading end belongs to a process that is dead, or is dropped.
    reader: Reader,
    /// The sending machine lost power: what it sent is lost, and nothing more comes.
    orphaned: bool,
    reads: Option<Waker>,
    writes: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Listens,
    /// The reading end was let go.
    Dropped,
    /// Its process was killed.
    Dead,
    /// Its machine has no power: what is sent there is lost, and nobody says so.
    Off,
}

/// What a reader finds.
pub(super) enum Arrived {
    /// Nothing yet; ask again at this instant, or when woken.
    NotBefore(Option<Instant>),
    /// Something was taken, or the end was reached.
    Taken(io::Result<()>),
}

fn gone(kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, "the simulated connection is gone")
}

impl Pipe {
    pub(super) fn new(from: Host, to: Host) -> Self {
        let flow = Flow {
            items: VecDeque::new(),
            on_the_way: 0,
            not_before: Instant::now(),
            reader: Reader::Listens,
            orphaned: false,
            reads: None,
            writes: None,
        };
        Self { from, to, flow: Mutex::new(flow) }
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes that are to arrive at an instant (`None`: once the link is open again); how many, or why none.
    pub(super) fn send(
        &self,
        bytes: &[u8],
        arrives: Option<Instant>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut flow = self.flow();
        let unheard = arrives.is_none() && flow.reader != Reader::Listens;
        if flow.orphaned || flow.reader == Reader::Off || unheard {
            // The end or the reset that answers this comes on the other way, once it can.
            return Poll::Ready(Ok(bytes.len()));
        }
        if flow.reader != Reader::Listens || flow.is_reset() {
            return Poll::Ready(Err(gone(io::ErrorKind::BrokenPipe)));
        }
        let room = WINDOW.saturating_sub(flow.on_the_way).min(bytes.len());
        if room == 0 {
            flow.writes = Some(cx.waker().clone());
            return Poll::Pending;
        }
        flow.on_the_way += room;
        let at = arrives.unwrap_or_else(Instant::now);
        flow.push(at, Item::Bytes(Bytes::copy_from_slice(&bytes[..room])));
        Poll::Ready(Ok(room))
    }

    /// The sender closes its side.
    pub(super) fn close(&self, arrives: Instant) {
        let mut flow = self.flow();
        if !flow.orphaned && !flow.is_reset() {
            flow.push(arrives, Item::Fin);
        }
    }

    /// The connection is gone, as the reader learns at an instant; what is on its way is lost.
    pub(super) fn reset(&self, at: Instant) {
        let mut flow = self.flow();
        if !flow.orphaned {
            flow.lose_all();
            flow.push(at, Item::Reset);
        }
    }

    /// The sending machine lost power.
    pub(super) fn orphan(&self) {
        let mut flow = self.flow();
        flow.lose_all();
        flow.orphaned = true;
    }

    /// It is up again and knows nothing of the connection.
    pub(super) fn reset_orphan(&self, at: Instant) {
        let mut flow = self.flow();
        if std::mem::take(&mut flow.orphaned) {
            flow.push(at, Item::Reset);
        }
    }

    /// The reading process is killed.
    pub(super) fn die(&self) {
        self.end_reader(Reader::Dead);
    }

    /// The reading machine loses power.
    pub(super) fn lose_reader(&self) {
        self.end_reader(Reader::Off);
    }

    fn end_reader(&self, reader: Reader) {
        let mut flow = self.flow();
        flow.reader = reader;
        flow.lose_all();
    }

    /// The reading end was let go.
    pub(super) fn drop_reader(&self) {
        let mut flow = self.flow();
        if flow.reader == Reader::Listens {
            flow.reader = Reader::Dropped;
        }
        flow.wake();
    }

    /// The link is open again.
    pub(super) fn resume(&self, at: Instant) {
        let mut flow = self.flow();
        flow.not_before = at;
        flow.wake();
    }

    /// Takes what has arrived.
    pub(super) fn receive(&self, blocked: bool, buf: &mut ReadBuf<'_>, cx: &Context<'_>) -> Arrived {
        let mut flow = self.flow();
        if matches!(flow.reader, Reader::Dead | Reader::Off) {
            return Arrived::Taken(Err(gone(io::ErrorKind::ConnectionAborted)));
        }
        let not_before = flow.not_before;
        let Some((at, item)) = flow.items.front_mut().filter(|_| !blocked) else {
            flow.reads = Some(cx.waker().clone());
            return Arrived::NotBefore(None);
        };
        let at = (*at).max(not_before);
        if at > Instant::now() {
            flow.reads = Some(cx.waker().clone());
            return Arrived::NotBefore(Some(at));
        }
        match item {
            Item::Fin => Arrived::Taken(Ok(())),
            Item::Reset => Arrived::Taken(Err(gone(io::ErrorKind::ConnectionReset))),
            Item::Bytes(bytes) => {
                let taken = bytes.split_to(bytes.len().min(buf.remaining()));
                let empty = bytes.is_empty();
                buf.put_slice(&taken);
                flow.on_the_way -= taken.len();
                if empty {
                    flow.items.pop_front();
                }
                if let Some(writer) = flow.writes.take() {
                    writer.wake();
                }
                Arrived::Taken(Ok(()))
            }
        }
    }
}

impl Flow {
    fn is_reset(&self) -> bool {
        matches!(self.items.back(), Some((_, Item::Reset)))
    }

    /// In order: nothing overtakes.
    fn push(&mut self, at: Instant, item: Item) {
        let at = self.items.back().map_or(at, |(last, _)| at.max(*last));
        self.items.push_back((at, item));
        self.wake();
    }

    fn lose_all(&mut self) {
        self.items.clear();
        self.on_the_way = 0;
        self.wake();
    }

    fn wake(&mut self) {
        self.reads.take().into_iter().chain(self.writes.take()).for_each(Waker::wake);
    }
}
