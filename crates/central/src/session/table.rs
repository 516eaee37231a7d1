//! The table of sessions: one live session a peer, and the ended ones that can still be asked about.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use sorcha_identity::Identity;
use sorcha_register::{
    clock::{Monotonic, Timestamp},
    names::{PeerId, Version},
};

use super::{
    super::{counts::Counts, incoming::Connection},
    EndReason, Health, Session, SessionId,
};

/// Ended sessions that are remembered, so that their heartbeat status can still be asked for.
const REMEMBERED: usize = 10_000;

/// The table's settings.
#[derive(Clone, Copy, Debug)]
pub struct SessionRules {
    /// Heartbeat interval.
    pub interval: Duration,
    /// Misses after which a session is critical; one more ends it.
    pub max_missed: u32,
    /// Sessions at once.
    pub max_peers: usize,
    /// Sessions at once of one certificate.
    pub identity_sessions: usize,
}

/// Why the table refuses a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The peer has a live session.
    AlreadyConnected,
    /// The table is full.
    Full,
    /// The certificate's limit of sessions is reached.
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
    rules: SessionRules,
    /// In an order that does not depend on the process, so that a simulated run can be repeated.
    pub(super) live: BTreeMap<PeerId, Session>,
    /// Live sessions of each certificate.
    pub(super) owned: Counts<Identity>,
    ended: HashMap<PeerId, (Session, EndReason)>,
    order: VecDeque<PeerId>,
}

impl SessionTable {
    /// An empty table.
    #[must_use]
    pub fn new(rules: SessionRules) -> Self {
        Self {
            rules,
            live: BTreeMap::new(),
            owned: Counts::default(),
            ended: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Opens a session. It replaces a session of the same peer that is dead, or has the same certificate identity; no other one
    /// (protocol D5, ADR 34).
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
        // A reconnect does not bring the peer nearer to the head.
        let before = self.ended.remove(peer_id);
        let behind = before.and_then(|(session, _)| session.behind);
        let mut session = Session::new(id, peer_id.clone(), held, connection, at);
        session.behind = behind;
        Ok(self.live.entry(peer_id.clone()).insert_entry(session).into_mut())
    }

    /// The live session that a call names; a call moves the session to the connection that carries it.
    ///
    /// # Errors
    /// [`NoSession`]: `Unknown` for another peer's handle (protocol U3), `Foreign` for one that another identity has opened for the
    /// same peer.
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

    /// Notes whether the peer's replica differs from the register at the peer's version.
    pub fn compare(&mut self, peer_id: &PeerId, id: &str, differs: bool) {
        if let Some(session) = self.live.get_mut(peer_id).filter(|session| session.id.as_str() == id) {
            session.differs = differs;
        }
    }

    /// Notes an acknowledged version.
    pub fn acknowledge(&mut self, peer_id: &PeerId, id: &SessionId, version: Version, now: Timestamp) {
        self.advance(peer_id, id, version, now);
        self.confirm(peer_id, id, version);
    }

    /// Notes a version that a peer reports.
    pub fn confirm(&mut self, peer_id: &PeerId, id: &SessionId, version: Version) {
        if let Some(session) = self.own(peer_id, id) {
            session.confirmed = session.confirmed.max(version);
        }
    }

    /// Notes the end of a stream that was handed to the connection completely.
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
    pub(crate) fn end_push(&mut self, peer_id: &PeerId, id: &SessionId) {
        if let Some(session) = self.own(peer_id, id) {
            session.has_push = false;
        }
    }

    /// Counts a sync that begins.
    pub(crate) fn begin_sync(&mut self, peer_id: &PeerId, id: &SessionId) {
        if let Some(session) = self.own(peer_id, id) {
            session.syncing += 1;
        }
    }

    /// Counts a sync that has ended.
    pub(crate) fn end_sync(&mut self, peer_id: &PeerId, id: &SessionId) {
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
    pub(crate) fn expire(&mut self, now: Monotonic) -> Vec<PeerId> {
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
        if self.owned.get(identity) >= self.rules.identity_sessions {
            return Err(Refused::IdentityFull);
        }
        self.owned.add(identity);
        Ok(())
    }

    fn close_live(&mut self, peer_id: &PeerId, reason: EndReason) {
        let Some(mut session) = self.live.remove(peer_id) else { return };
        if let Some(identity) = session.connection.identity() {
            self.owned.remove(identity);
        }
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
