//! What happened in a run: the record that the checker reads. Nothing in it comes from the nodes' own counters; it holds
//! what clients were told, what the database holds, and what each replica showed.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sorcha_register::{
    entry::SealedEntry,
    names::{BlueprintId, Checksum, Version},
    view::RegisterView,
};
use tokio::time::Instant;

use super::{net::Host, plan::Fault};

/// A change of the register that a publisher asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new blueprint with this checksum.
    Publish(Checksum),
    /// Deprecate it (`false`) or take that back.
    SetActive(bool),
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Since the start of the run.
    pub at: Duration,
    /// What it was.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum What {
    /// A publisher asks.
    Asked {
        /// For what.
        id: BlueprintId,
        /// Which change.
        change: Change,
    },
    /// A central node said that it is done and durable.
    Acknowledged {
        /// What.
        id: BlueprintId,
        /// Which change.
        change: Change,
        /// The version that it has got.
        version: Version,
    },
    /// All central nodes that were asked said no in a way that means that nothing was stored.
    Refused {
        /// What.
        id: BlueprintId,
        /// Which change.
        change: Change,
        /// The answer.
        answer: String,
    },
    /// The database holds a new entry.
    Stored(Arc<SealedEntry>),
    /// A peer's replica shows another state.
    Replica {
        /// Of which peer.
        peer: u8,
        /// All of it.
        view: Box<RegisterView>,
        /// The position that is stored with it.
        position: Option<Version>,
    },
    /// A client on the peer's machine read from it.
    Read {
        /// From which peer.
        peer: u8,
        /// What came of it.
        answer: Answer,
    },
    /// A process has started and serves.
    Started(Host),
    /// A process is gone.
    Ended(Host, End),
    /// A replica was damaged on purpose: it may lose anything, and must find out.
    Damaged(u8),
    /// How everybody stands, once a second.
    Sample(Vec<PeerSample>),
    /// A central node has sent a peer something else than the truth.
    Lied {
        /// Which central node.
        central: u8,
        /// To which peer.
        peer: u8,
        /// In which call.
        call: &'static str,
        /// The peer must say so, if this gets there.
        must_show: bool,
    },
    /// A peer says that a central node contradicts it, or says so no more.
    Doubts {
        /// Which peer.
        peer: u8,
        /// Its words.
        what: Option<String>,
        /// The status and the reason that its health had then; none if it could not be asked.
        health: Option<String>,
    },
    /// A node logged an error.
    Complaint(String),
    /// Somebody asked a peer to connect anew.
    Disturbed(u8),
    /// A fault begins or ends.
    Fault {
        /// Which.
        fault: Fault,
        /// `false`: it is over.
        begins: bool,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As asked to.
    Stopped,
    /// By SIGKILL.
    Killed,
    /// With its machine's power.
    PowerCut,
    /// By itself.
    Failed,
}

/// An answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: the version that the answer states, and of a blueprint its checksum and state.
    Found {
        /// Version of the replica.
        version: Version,
        /// What was read, if it was a blueprint.
        blueprint: Option<(BlueprintId, Checksum, bool)>,
    },
    /// 404 for a blueprint.
    Unknown(BlueprintId, Version),
    /// Anything else, or nothing.
    Failed(String),
}

/// One peer at one moment.
#[derive(Clone, Debug)]
pub struct PeerSample {
    /// Which.
    pub peer: u8,
    /// Its process runs and has loaded its replica.
    pub alive: bool,
    /// The central node that it holds a session with, by its own word.
    pub central: Option<u8>,
    /// Which session that is.
    pub session: Option<String>,
    /// Its state by its public name.
    pub state: &'static str,
    /// Version of its replica.
    pub head: Version,
    /// gRPC connections that its machine holds open.
    pub connections: usize,
    /// Central nodes that serve and that it could reach, all well in between.
    pub reachable: Vec<u8>,
    /// Central nodes that are dead, hung, or cut off from it.
    pub gone: Vec<u8>,
    /// What is not as it should be, once nothing goes wrong any more.
    pub wrong: Option<String>,
}

/// The record; cheap to clone.
#[derive(Clone)]
pub struct History {
    started: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

impl History {
    /// An empty one; the run starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), events: Arc::default() }
    }

    /// When the run started.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// Time since the start of the run.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes that something has happened now.
    pub fn record(&self, what: What) {
        let event = Event { at: self.now(), what };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// All that the database was seen to hold, in order.
    #[must_use]
    pub fn stored(&self) -> Vec<Arc<SealedEntry>> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = |event: &Event| match &event.what {
            What::Stored(sealed) => Some(Arc::clone(sealed)),
            _ => None,
        };
        events.iter().filter_map(stored).collect()
    }

    /// Everything so far.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9.3} s  ", self.at.as_secs_f64())?;
        match &self.what {
            What::Asked { id, change } => write!(f, "asked        {id} {change}"),
            What::Acknowledged { id, change, version } => {
                write!(f, "acknowledged {id} {change} at version {version}")
            }
            What::Refused { id, change, answer } => write!(f, "refused      {id} {change}: {answer}"),
            What::Stored(sealed) => {
                write!(
                    f,
                    "stored       {} at version {}",
                    sealed.entry().blueprint_id,
                    sealed.entry().version
                )
            }
            What::Replica { peer, view, .. } => write!(f, "edge-{peer} holds version {}", view.head()),
            What::Read { peer, answer } => write!(f, "edge-{peer} answers {answer:?}"),
            What::Started(host) => write!(f, "{host} serves"),
            What::Ended(host, end) => write!(f, "{host} has ended: {end:?}"),
            What::Damaged(peer) => write!(f, "the file of edge-{peer} is damaged"),
            What::Sample(peers) => write!(f, "sample of {} peers", peers.len()),
            What::Lied { central, peer, call, .. } => write!(f, "n{central} lies to edge-{peer} ({call})"),
            What::Doubts { peer, what: Some(what), .. } => write!(f, "edge-{peer} says: {what}"),
            What::Doubts { peer, what: None, .. } => {
                write!(f, "edge-{peer} has nothing to say against a central node")
            }
            What::Complaint(text) => write!(f, "logged: {text}"),
            What::Disturbed(peer) => write!(f, "edge-{peer} is asked to reconnect or to sync"),
            What::Fault { fault, begins: true } => write!(f, "fault begins: {fault}"),
            What::Fault { fault, begins: false } => write!(f, "fault is over: {fault}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish(_) => "publish",
            Self::SetActive(true) => "reactivate",
            Self::SetActive(false) => "deprecate",
        })
    }
}
