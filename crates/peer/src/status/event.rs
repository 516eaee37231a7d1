//! What changes a peer's snapshot of itself.

use std::time::Duration;

use sorcha_config::CentralNodeAddress;
use sorcha_register::{
    clock::{Moment, Timestamp},
    names::Version,
};

use super::{Comparison, Refused, SyncRecord};
use crate::machine::state::PeerState;

/// Something that the shell or a task of a session did or saw.
#[derive(Clone, Debug)]
pub(crate) enum StatusEvent {
    /// The machine has taken a step.
    Shown(Shown),
    Transition(Timestamp, String),
    FailedOver,
    /// A central node refuses this peer for good.
    RefusesPeer(String),
    /// The central nodes are these, in priority order.
    Listed(Vec<CentralNodeAddress>),
    /// The file of central nodes was looked at; what is wrong with it.
    ListRead(Option<String>),
    Dial(String, DialEvent),
    DialAbandoned,
    SessionClosed,
    Heartbeat(HeartbeatEvent),
    /// A pull showed the central node's register at this version, and that what is held equals it, or not.
    Heard {
        central: Version,
        held: Version,
        equal: bool,
        at: Moment,
    },
    Pull(PullEvent),
    Push(PushEvent),
    Replication(ReplicationEvent),
    /// A central node's register contradicts what is held.
    Refused(Refused),
    /// A central node's register continues what is held.
    Continues {
        central: String,
        at: Timestamp,
    },
    /// The full sync that a token asked for is stored.
    Resynced(String),
    /// The store was looked at; why it takes nothing.
    StoreSeen(Option<String>),
}

/// The machine's state, for people.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) state: PeerState,
    /// It was another one before.
    pub(crate) changed: bool,
    pub(crate) at: Timestamp,
    /// Central node and handle.
    pub(crate) session: Option<(String, String)>,
    pub(crate) isolated_since: Option<Timestamp>,
    pub(crate) split_brain: Option<String>,
}

/// What became of an attempt to connect.
#[derive(Clone, Debug)]
pub(crate) enum DialEvent {
    Began(Timestamp),
    /// The central node's register is at this version.
    Succeeded(Timestamp, Version),
    Failed(String),
    /// Its session is in use.
    Opened,
}

#[derive(Clone, Debug)]
pub(crate) enum HeartbeatEvent {
    Sent(Timestamp),
    Acknowledged { at: Moment, round_trip: Duration, said: Option<Said> },
    Missed(String),
}

/// What an acknowledgement says of the register at the central node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) central: Version,
    /// The version that the heartbeat named, and whether it is that of the central node, with its digest.
    pub(crate) sent: Version,
    pub(crate) equal: bool,
    pub(crate) told: Comparison,
    /// The version held by now.
    pub(crate) held: Version,
}

#[derive(Clone, Debug)]
pub(crate) enum PullEvent {
    Began,
    /// Its record; the number comes here.
    Ended(SyncRecord),
    Died(String),
}

#[derive(Clone, Debug)]
pub(crate) enum PushEvent {
    Opened(Timestamp),
    Closed,
    Stalled(String),
    Died(String),
    /// What was pushed could not be taken.
    Failed(String),
    /// What was pushed could be taken again.
    Recovered,
    /// Entries that were published at these times are stored.
    Stored {
        published: Vec<Timestamp>,
        head: Version,
        at: Moment,
    },
}

/// Whether replication works.
#[derive(Clone, Debug)]
pub(crate) enum ReplicationEvent {
    Works,
    Fails(String),
    /// Why it does not get anywhere, if that is so.
    StandsStill(Option<String>),
}
