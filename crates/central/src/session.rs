//! Sessions of peers: pure values, time is passed in (protocol sections 6.1-6.3, ADR 34).

mod laggards;
mod table;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sorcha_register::{
    clock::{Monotonic, Timestamp},
    names::{PeerId, Version},
    session_name::session_name,
};
use tokio_util::sync::CancellationToken;

use self::laggards::Behind;
pub(crate) use self::{
    laggards::Laggard,
    table::{NoSession, Refused, SessionRules, SessionTable},
};
use super::incoming::{Connection, Hold};

/// Heartbeats whose delay is averaged (protocol section 3.2: the last 10).
const LATENCIES: usize = 10;

/// Opaque handle of a session; its debug form is its name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl SessionId {
    /// A handle from 128 random bits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}").into())
    }

    /// The text on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The session's name in logs.
    #[must_use]
    pub fn name(&self) -> String {
        session_name(&self.0)
    }
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The peer left.
    Disconnected,
    /// Its heartbeats stopped, or its connection closed.
    TimedOut,
    /// The same peer opened a new session.
    Replaced,
    /// This node is draining; the peer is to move.
    Draining,
}

/// Signals the end of a session to its streams, with the reason.
#[derive(Clone, Debug, Default)]
pub struct SessionEnd {
    token: CancellationToken,
    reason: Arc<OnceLock<EndReason>>,
}

impl SessionEnd {
    /// Ends the session's streams; the first reason stays.
    pub fn end(&self, reason: EndReason) {
        let _first_reason_stays = self.reason.set(reason);
        self.token.cancel();
    }

    /// Waits for the end.
    pub async fn ended(&self) -> EndReason {
        self.token.cancelled().await;
        self.reason.get().copied().unwrap_or(EndReason::Disconnected)
    }
}

/// One peer's session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its handle; also its fence: calls with another handle are refused.
    pub id: SessionId,
    /// The peer.
    pub peer_id: PeerId,
    /// Start.
    pub connected_at: Timestamp,
    /// Newest heartbeat, or the start before the first (protocol section 3.1).
    pub last_heartbeat_at: Timestamp,
    /// Heartbeats received.
    pub received: u64,
    /// Late heartbeats of gaps that have ended.
    missed_in_ended_gaps: u64,
    /// Newest version the peer reported (heartbeats, acknowledgements, finished streams).
    pub reported: Version,
    /// Highest version it has ever processed; never falls (protocol D13). A finished stream counts, though its last bytes may be in
    /// flight.
    pub position: Version,
    /// Highest version that the peer itself has reported: at connect, at the opening of its push stream, in a heartbeat or an
    /// acknowledgement.
    pub confirmed: Version,
    /// The newest comparison found a digest that differs at the peer's version.
    pub differs: bool,
    /// Last finished sync or acknowledgement.
    pub last_sync_at: Option<Timestamp>,
    /// Entries in the peer's replica, as it reports them.
    pub blueprint_count: i32,
    /// What the peer lacked at the last sweep.
    behind: Option<Behind>,
    /// It has been behind for longer than `limits.lagging_after` (protocol section 6.9).
    pub is_lagging: bool,
    /// Syncs that run now.
    pub syncing: usize,
    /// A push stream is open.
    pub has_push: bool,
    had_push: bool,
    latencies: VecDeque<f64>,
    last_seen: Monotonic,
    connection: Connection,
    /// Keeps the connection in use while the session lives.
    hold: Option<Hold>,
    /// Ends the session's streams.
    pub end: SessionEnd,
}

/// Health of a session by its heartbeats (protocol section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// On time.
    Healthy,
    /// One missed.
    Warning,
    /// Two missed.
    Critical,
    /// Taken as failed.
    TimedOut,
    /// The peer left.
    Disconnected,
}

impl Session {
    fn new(
        id: SessionId,
        peer_id: PeerId,
        held: Version,
        connection: Connection,
        at: (Timestamp, Monotonic),
    ) -> Self {
        Self {
            id,
            peer_id,
            connected_at: at.0,
            last_heartbeat_at: at.0,
            received: 0,
            missed_in_ended_gaps: 0,
            reported: held,
            position: held,
            confirmed: held,
            differs: false,
            last_sync_at: None,
            blueprint_count: 0,
            behind: None,
            is_lagging: false,
            syncing: 0,
            has_push: false,
            had_push: false,
            latencies: VecDeque::with_capacity(LATENCIES),
            last_seen: at.1,
            hold: Some(connection.hold()),
            connection,
            end: SessionEnd::default(),
        }
    }

    /// Heartbeats missed in a row: none until strictly more than one interval has passed.
    #[must_use]
    pub fn missed(&self, now: Monotonic, interval: Duration) -> u64 {
        let silent = now.since(self.last_seen).as_nanos();
        let interval = interval.as_nanos().max(1);
        u64::try_from(silent.saturating_sub(1) / interval).unwrap_or(u64::MAX)
    }

    /// Heartbeats missed in all.
    #[must_use]
    pub(crate) fn missed_in_all(&self, now: Monotonic, interval: Duration) -> u64 {
        self.missed_in_ended_gaps + self.missed(now, interval)
    }

    /// Health by the heartbeats missed in a row.
    #[must_use]
    pub fn health(&self, now: Monotonic, interval: Duration) -> Health {
        match self.missed(now, interval) {
            0 => Health::Healthy,
            1 => Health::Warning,
            2 => Health::Critical,
            _ => Health::TimedOut,
        }
    }

    /// Whether the peer has reported `head`, and the newest comparison found no difference.
    #[must_use]
    pub(crate) fn is_up_to_date(&self, head: Version) -> bool {
        self.confirmed >= head && !self.differs
    }

    /// Since when the peer has lacked a version, by the last sweep.
    #[must_use]
    pub fn behind_since(&self) -> Option<Timestamp> {
        self.behind.map(|behind| behind.since.0)
    }

    /// Mean delay of the last heartbeats by the two clocks, milliseconds (protocol U9).
    #[must_use]
    pub fn average_latency_ms(&self) -> f64 {
        if self.latencies.is_empty() {
            0.0
        } else {
            self.latencies.iter().sum::<f64>() / self.latencies.len() as f64
        }
    }

    /// Takes a heartbeat in.
    pub fn beat(&mut self, beat: Beat, now: Monotonic, interval: Duration) {
        self.missed_in_ended_gaps += self.missed(now, interval);
        self.received += 1;
        self.last_heartbeat_at = beat.received_at;
        self.last_seen = now;
        self.reported = beat.version;
        self.position = self.position.max(beat.version);
        self.confirmed = self.confirmed.max(beat.version);
        if let Some(count) = beat.blueprint_count {
            self.blueprint_count = count;
        }
        if self.latencies.len() == LATENCIES {
            self.latencies.pop_front();
        }
        self.latencies.push_back(beat.received_at.millis_since(beat.sent_at).max(0) as f64);
    }

    /// Moves the session to the connection that carried its newest call.
    fn move_to(&mut self, connection: &Connection) {
        if !connection.is_same(&self.connection) {
            self.hold = Some(connection.hold());
            self.connection = connection.clone();
        }
    }

    fn is_dead(&self, now: Monotonic, rules: &SessionRules) -> bool {
        self.connection.is_closed() || self.missed(now, rules.interval) > u64::from(rules.max_missed)
    }

    /// Whether a connection has the certificate identity that opened the session, or both have none.
    #[must_use]
    pub(crate) fn is_of(&self, connection: &Connection) -> bool {
        self.connection.is_of_owner_of(connection)
    }

    /// Whether a connection may learn the session's id: its owner's certificate proves it, or it carries the session.
    #[must_use]
    pub(crate) fn reveals_id_to(&self, connection: &Connection) -> bool {
        connection.proves_owner_of(&self.connection) || connection.is_same(&self.connection)
    }

    /// Where the session's newest call came from, where that is known.
    #[must_use]
    pub const fn remote(&self) -> Option<std::net::SocketAddr> {
        self.connection.remote
    }
}

/// The fields of a heartbeat that a session records.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// Sender's clock.
    pub sent_at: Timestamp,
    /// Receiver's clock.
    pub received_at: Timestamp,
    /// Newest version the sender holds.
    pub version: Version,
    /// Entries in its replica, when it says so.
    pub blueprint_count: Option<i32>,
}

#[cfg(test)]
mod tests;
