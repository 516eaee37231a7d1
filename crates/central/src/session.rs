//! The table of peer sessions: a pure value, time is passed in (protocol sections 6.1-6.3, ADR 34).

mod laggards;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sorcha_identity::Identity;
use sorcha_register::{
    clock::{Monotonic, Timestamp},
    names::{PeerId, Version},
    session_name::session_name,
};
use tokio_util::sync::CancellationToken;

use self::laggards::Behind;
pub use self::laggards::{Laggard, LaggardChanges};
use super::incoming::{Connection, Hold};

/// Heartbeats whose delay is averaged (protocol section 3.2: the last 10).
const LATENCIES: usize = 10;
/// Ended sessions that are remembered, so that their heartbeat status can still be asked for.
const REMEMBERED: usize = 10_000;

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

    /// What logs call the session by.
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
    /// This node is leaving; the peer shall move.
    Draining,
}

/// Tells the streams of a session that it is over, and why.
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
    /// Its handle; also its fence: what names another handle can't touch it.
    pub id: SessionId,
    /// Whose it is.
    pub peer_id: PeerId,
    /// Start.
    pub connected_at: Timestamp,
    /// Newest heartbeat, or the start before the first (protocol section 3.1).
    pub last_heartbeat_at: Timestamp,
    /// Heartbeats received.
    pub received: u64,
    /// Heartbeats that did not come in time, of gaps that have ended.
    missed_in_ended_gaps: u64,
    /// Newest version the peer reported (heartbeats, acknowledgements, finished streams).
    pub reported: Version,
    /// Highest version it has ever processed; never falls (protocol D13). A finished stream counts, which may still be on its way.
    pub position: Version,
    /// Highest version that the peer itself has said it holds: when it connected, opened its push stream, in a heartbeat, or as an
    /// acknowledgement.
    pub confirmed: Version,
    /// The newest comparison found other content than this node's at the peer's version.
    pub differs: bool,
    /// Last finished sync or acknowledgement.
    pub last_sync_at: Option<Timestamp>,
    /// Entries in the peer's replica, as it reports them.
    pub blueprint_count: i32,
    /// What the peer lacks, as it was looked at last.
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
    /// The use that a live session makes of its connection.
    hold: Option<Hold>,
    /// Ends the session's streams.
    pub end: SessionEnd,
}

/// How a node judges a session by its heartbeats (protocol section 6.3).
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
    /// Heartbeats missed in a row: none until strictly more than one interval has passed.
    #[must_use]
    pub fn missed(&self, now: Monotonic, interval: Duration) -> u64 {
        let silent = now.since(self.last_seen).as_nanos();
        let interval = interval.as_nanos().max(1);
        u64::try_from(silent.saturating_sub(1) / interval).unwrap_or(u64::MAX)
    }

    /// Heartbeats missed in all.
    #[must_use]
    pub fn missed_in_all(&self, now: Monotonic, interval: Duration) -> u64 {
        self.missed_in_ended_gaps + self.missed(now, interval)
    }

    /// Judgement by heartbeats.
    #[must_use]
    pub fn health(&self, now: Monotonic, interval: Duration) -> Health {
        match self.missed(now, interval) {
            0 => Health::Healthy,
            1 => Health::Warning,
            2 => Health::Critical,
            _ => Health::TimedOut,
        }
    }

    /// Whether the peer has said that it holds the register at `head`, and is not known to hold something else.
    #[must_use]
    pub fn is_up_to_date(&self, head: Version) -> bool {
        self.confirmed >= head && !self.differs
    }

    /// Since when the peer has lacked a version, as it was looked at last.
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

    /// The session uses one connection, the one that carried its newest call.
    fn move_to(&mut self, connection: &Connection) {
        if !connection.is_same(&self.connection) {
            self.hold = Some(connection.hold());
            self.connection = connection.clone();
        }
    }

    fn is_dead(&self, now: Monotonic, rules: &Rules) -> bool {
        self.connection.is_closed() || self.missed(now, rules.interval) > u64::from(rules.max_missed)
    }

    /// Whether the owner of a connection is the one that opened it, as far as certificates tell.
    #[must_use]
    pub fn is_of(&self, connection: &Connection) -> bool {
        self.connection.is_of_owner_of(connection)
    }

    /// Whether a connection is its owner's: one that proves it by its certificate, or the one that carries the session.
    #[must_use]
    pub fn is_told_to(&self, connection: &Connection) -> bool {
        connection.proves_owner_of(&self.connection) || connection.is_same(&self.connection)
    }

    /// Where the session's newest call came from, where that is known.
    #[must_use]
    pub const fn remote(&self) -> Option<std::net::SocketAddr> {
        self.connection.remote
    }
}

/// A heartbeat as the table needs it.
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

/// The table's settings.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Heartbeat interval.
    pub interval: Duration,
    /// Misses after which a session is critical; one more ends it.
    pub max_missed: u32,
    /// Sessions at once.
    pub max_peers: usize,
    /// Sessions at once of one certificate.
    pub identity_sessions: usize,
}

/// Why a connect is refused by the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The peer has a live session.
    AlreadyConnected,
    /// The table is full.
    Full,
    /// The certificate's owner has as many sessions as it may.
    IdentityFull,
}

/// Why a session is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSession {
    /// The peer has no session and named none.
    NotConnected,
    /// The session named is not the peer's live session.
    Unknown,
    /// Another identity has opened it.
    Foreign,
}

/// All sessions of a central node.
#[derive(Debug)]
pub struct SessionTable {
    rules: Rules,
    /// In an order that does not depend on the process, so that a simulated run can be repeated.
    live: BTreeMap<PeerId, Session>,
    /// Live sessions of each certificate.
    owned: HashMap<Identity, usize>,
    ended: HashMap<PeerId, (Session, EndReason)>,
    order: VecDeque<PeerId>,
}

impl SessionTable {
    /// An empty table.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            live: BTreeMap::new(),
            owned: HashMap::new(),
            ended: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Opens a session. A dead one of the same peer is replaced, and one whose owner the certificate proves to be the
    /// same; another one is not (protocol D5, ADR 34).
    ///
    /// # Errors
    /// [`Refused`] when the peer has a live session, or the table is full, or the certificate's share of it.
    pub fn open(
        &mut self,
        id: SessionId,
        peer_id: &PeerId,
        held: Version,
        connection: Connection,
        at: (Timestamp, Monotonic),
    ) -> Result<&Session, Refused> {
        match self.live.get(peer_id) {
            Some(old) if !old.is_dead(at.1, &self.rules) && !connection.proves_owner_of(&old.connection) => {
                return Err(Refused::AlreadyConnected);
            }
            Some(_) => self.close_live(peer_id, EndReason::Replaced),
            None if self.live.len() >= self.rules.max_peers => return Err(Refused::Full),
            None => {}
        }
        self.own_one_more(&connection)?;
        // Who leaves and comes again is no nearer to the head for it.
        let before = self.ended.remove(peer_id);
        let behind = before.and_then(|(session, _)| session.behind);
        let session = Session {
            id,
            peer_id: peer_id.clone(),
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
            behind,
            is_lagging: false,
            syncing: 0,
            has_push: false,
            had_push: false,
            latencies: VecDeque::with_capacity(LATENCIES),
            last_seen: at.1,
            hold: Some(connection.hold()),
            connection,
            end: SessionEnd::default(),
        };
        Ok(self.live.entry(peer_id.clone()).insert_entry(session).into_mut())
    }

    /// The live session that a call names; a call moves the session to the connection that carries it.
    ///
    /// # Errors
    /// [`NoSession`]: another peer's handle is as unknown as an invented one (protocol U3); one that another identity has opened for
    /// the same peer is foreign.
    pub fn find(
        &mut self,
        peer_id: &PeerId,
        id: &str,
        connection: &Connection,
    ) -> Result<&mut Session, NoSession> {
        match self.live.get_mut(peer_id) {
            Some(session) if session.id.as_str() == id && !session.is_of(connection) => {
                Err(NoSession::Foreign)
            }
            Some(session) if session.id.as_str() == id => {
                session.move_to(connection);
                Ok(session)
            }
            None if id.is_empty() => Err(NoSession::NotConnected),
            _ => Err(NoSession::Unknown),
        }
    }

    /// Takes a heartbeat in.
    pub fn beat(session: &mut Session, beat: Beat, now: Monotonic, interval: Duration) {
        session.missed_in_ended_gaps += session.missed(now, interval);
        session.received += 1;
        session.last_heartbeat_at = beat.received_at;
        session.last_seen = now;
        session.reported = beat.version;
        session.position = session.position.max(beat.version);
        session.confirmed = session.confirmed.max(beat.version);
        if let Some(count) = beat.blueprint_count {
            session.blueprint_count = count;
        }
        if session.latencies.len() == LATENCIES {
            session.latencies.pop_front();
        }
        session.latencies.push_back(beat.received_at.millis_since(beat.sent_at).max(0) as f64);
    }

    /// Notes whether the peer's replica is another one than this node's register at its version.
    pub fn compare(&mut self, peer_id: &PeerId, id: &str, differs: bool) {
        if let Some(session) = self.live.get_mut(peer_id).filter(|session| session.id.as_str() == id) {
            session.differs = differs;
        }
    }

    /// Notes how far a peer is, by its acknowledgement.
    pub fn acknowledge(&mut self, peer_id: &PeerId, id: &SessionId, version: Version, now: Timestamp) {
        self.advance(peer_id, id, version, now);
        self.confirm(peer_id, id, version);
    }

    /// Notes what a peer says it holds.
    pub fn confirm(&mut self, peer_id: &PeerId, id: &SessionId, version: Version) {
        if let Some(session) = self.own(peer_id, id) {
            session.confirmed = session.confirmed.max(version);
        }
    }

    /// Notes how far a peer should be: all of a stream was handed to its connection.
    pub fn advance(&mut self, peer_id: &PeerId, id: &SessionId, version: Version, now: Timestamp) {
        if let Some(session) = self.own(peer_id, id) {
            session.position = session.position.max(version);
            session.reported = session.reported.max(version);
            session.last_sync_at = Some(now);
        }
    }

    /// Marks a push stream as open; false when one is open already (protocol D31).
    pub fn begin_push(&mut self, peer_id: &PeerId, id: &SessionId) -> bool {
        self.own(peer_id, id).is_some_and(|session| {
            session.had_push = true;
            !std::mem::replace(&mut session.has_push, true)
        })
    }

    /// Marks the push stream as closed.
    pub fn end_push(&mut self, peer_id: &PeerId, id: &SessionId) {
        if let Some(session) = self.own(peer_id, id) {
            session.has_push = false;
        }
    }

    /// Counts a sync that begins.
    pub fn begin_sync(&mut self, peer_id: &PeerId, id: &SessionId) {
        if let Some(session) = self.own(peer_id, id) {
            session.syncing += 1;
        }
    }

    /// Counts a sync that has ended.
    pub fn end_sync(&mut self, peer_id: &PeerId, id: &SessionId) {
        if let Some(session) = self.own(peer_id, id) {
            session.syncing = session.syncing.saturating_sub(1);
        }
    }

    fn own(&mut self, peer_id: &PeerId, id: &SessionId) -> Option<&mut Session> {
        self.live.get_mut(peer_id).filter(|session| session.id == *id)
    }

    /// Closes the session that a call names.
    ///
    /// # Errors
    /// [`NoSession`] when it is not the peer's live session: a late close harms nothing.
    pub fn close(&mut self, peer_id: &PeerId, id: &str, connection: &Connection) -> Result<(), NoSession> {
        self.find(peer_id, id, connection)?;
        self.close_live(peer_id, EndReason::Disconnected);
        Ok(())
    }

    /// Ends sessions whose heartbeats stopped, and those that held a push stream on a connection that closed.
    pub fn expire(&mut self, now: Monotonic) -> Vec<PeerId> {
        let rules = self.rules;
        let over = |session: &Session| {
            let silent = session.missed(now, rules.interval) > u64::from(rules.max_missed);
            silent || (session.had_push && !session.has_push && session.connection.is_closed())
        };
        let gone: Vec<PeerId> = self.live.values().filter(|s| over(s)).map(|s| s.peer_id.clone()).collect();
        for peer_id in &gone {
            self.close_live(peer_id, EndReason::TimedOut);
        }
        gone
    }

    fn own_one_more(&mut self, connection: &Connection) -> Result<(), Refused> {
        let Some(identity) = connection.identity() else { return Ok(()) };
        let sessions = self.owned.entry(identity.clone()).or_default();
        if *sessions >= self.rules.identity_sessions {
            return Err(Refused::IdentityFull);
        }
        *sessions += 1;
        Ok(())
    }

    fn own_one_less(&mut self, connection: &Connection) {
        if let Some(identity) = connection.identity()
            && let Some(sessions) = self.owned.get_mut(identity)
        {
            *sessions = sessions.saturating_sub(1);
            if *sessions == 0 {
                self.owned.remove(identity);
            }
        }
    }

    fn close_live(&mut self, peer_id: &PeerId, reason: EndReason) {
        let Some(mut session) = self.live.remove(peer_id) else { return };
        self.own_one_less(&session.connection);
        session.hold = None;
        session.end.end(reason);
        if self.ended.insert(peer_id.clone(), (session, reason)).is_none() {
            self.order.push_back(peer_id.clone());
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }

    /// A peer's session, live or ended, with its health.
    #[must_use]
    pub fn look_up(&self, peer_id: &PeerId, now: Monotonic) -> Option<(&Session, Health)> {
        if let Some(session) = self.live.get(peer_id) {
            return Some((session, session.health(now, self.rules.interval)));
        }
        self.ended.get(peer_id).map(|(session, reason)| match reason {
            EndReason::TimedOut => (session, Health::TimedOut),
            _ => (session, Health::Disconnected),
        })
    }

    /// Live sessions.
    pub fn live(&self) -> impl ExactSizeIterator<Item = &Session> {
        self.live.values()
    }
}

#[cfg(test)]
mod tests;
