//! The central role: holds the register, accepts peers, serves syncs and pushes, takes publications.
//!
//! Everything a peer is served comes from [`log::RegisterLog`]; the store is only read by its tail and written by
//! [`publish`]. An answered publication is durable. The memory held for callers is bounded, whatever they do.
//!
//! Deliberately absent: queues per peer (a push stream is a cursor into the log), calls to other central nodes, the peer role,
//! the HTTP API, and any use of the Kubernetes API.
//! Begin with [`CentralNode`], [`serve::serve`], [`log::RegisterLog`], `session::SessionTable`, `sync::SyncService`.

mod answers;
mod authority;
pub mod bootstrap;
pub mod connect;
mod connections;
mod counts;
pub mod drain;
mod entries;
mod flight;
pub mod handshakes;
pub mod heartbeat;
pub mod incoming;
pub mod limits;
pub mod log;
mod notices;
mod outlet;
pub mod publish;
pub mod push;
pub mod serve;
pub mod session;
mod slots;
mod status;
mod stream;
mod streams;
pub mod sync;
#[cfg(test)]
mod testing;
mod validate;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ed25519_dalek::SigningKey;
use sorcha_config::Config;
use sorcha_identity::Identity;
use sorcha_register::{
    clock::Monotonic,
    integrity::{self, Finding},
    names::PeerId,
    succession::Contradiction,
};
use sorcha_runtime::{env::Env, shares::Shares};
use sorcha_store::Exchange;
use tokio::sync::watch;
use tonic::{Code, Status};

use self::{
    connections::{ConnectionRules, Connections},
    incoming::Connection,
    limits::{Exhausted, Limiters},
    log::RegisterLog,
    session::{Health, NoSession, Session, SessionRules, SessionTable},
    slots::{Slots, slots},
    streams::Streams,
};

/// Concurrent answers with a list of peers, of all callers and of one certificate.
const PEER_LISTS: usize = 64;
const IDENTITY_PEER_LISTS: usize = 8;
/// Connections of one certificate beyond two for each of its sessions: for status calls.
const SPARE: usize = 16;

/// What a central node says of itself (contract NodeHealth).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Accepts peers and publications.
    Healthy,
    /// Serves peers from its log; the store does not answer, so publications are refused.
    Degraded,
    /// Serves peers from its log; the store shows entries that contradict it, so that they are not served, and publications
    /// are refused.
    Contradicted(Contradiction),
    /// The register failed its integrity check: takes no peer and no publication.
    Unhealthy(Vec<Finding>),
    /// Its database holds another register, or none: takes no publication; peers are served from its log.
    Exchanged(Exchange),
    /// Draining: peers are advised to move.
    Draining,
}

impl Condition {
    /// The name in reports and HTTP answers.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Degraded | Self::Contradicted(_) => "Degraded",
            Self::Unhealthy(_) | Self::Exchanged(_) => "Unhealthy",
            Self::Draining => "Draining",
        }
    }

    /// The reason, unless the condition is healthy.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let why = match self {
            Self::Healthy => return None,
            Self::Degraded => {
                "the store is not available; peers are served from the log, publications are refused"
            }
            Self::Contradicted(contradiction) => {
                return Some(format!(
                    "the store contradicts what this node serves: {contradiction}; peers are served from the log, \
                     publications are refused"
                ));
            }
            Self::Unhealthy(findings) => return Some(integrity::summary(findings)),
            Self::Exchanged(exchange) => return Some(exchange.to_string()),
            Self::Draining => "this central node is draining",
        };
        Some(why.to_owned())
    }
}

/// A central node; shared by its services.
pub struct CentralNode {
    /// Its settings.
    pub config: Arc<Config>,
    /// Its surroundings.
    pub env: Env,
    /// Its log of the register.
    pub log: RegisterLog,
    started: Monotonic,
    findings: Vec<Finding>,
    sessions: Mutex<SessionTable>,
    limiters: Limiters,
    full_syncs: Slots,
    peer_lists: Shares<Identity>,
    streams: Streams,
    connections: Connections,
    draining: watch::Sender<bool>,
    signing_key: OnceLock<SigningKey>,
}

impl CentralNode {
    /// A node over a verified register; with `findings` it refuses peers and publications (ADR 27).
    #[must_use]
    pub fn new(config: Arc<Config>, env: Env, log: RegisterLog, findings: Vec<Finding>) -> Arc<Self> {
        let rules = SessionRules {
            interval: config.heartbeat.interval,
            max_missed: config.heartbeat.max_missed,
            max_peers: config.limits.max_peers,
            identity_sessions: config.limits.identity_sessions,
        };
        log.measure_with(env.metrics.clone());
        let limiters = Limiters::new(&config.limits, config.heartbeat.interval, Arc::clone(&env.clock));
        env.metrics.findings(findings.len());
        for finding in &findings {
            tracing::error!(%finding, "register integrity failure");
        }
        Arc::new(Self {
            started: env.clock.monotonic(),
            sessions: Mutex::new(SessionTable::new(rules)),
            connections: Connections::new(ConnectionRules {
                most: config.limits.max_connections,
                of_identity: config.limits.identity_sessions.saturating_mul(2).saturating_add(SPARE),
                patience: config.limits.sessionless_connection,
                stuck: config.limits.push_write_timeout.saturating_mul(2),
            }),
            streams: Streams::new(config.limits.identity_sessions),
            full_syncs: slots(config.limits.max_concurrent_full_syncs),
            peer_lists: Shares::new(PEER_LISTS, IDENTITY_PEER_LISTS),
            draining: watch::Sender::new(false),
            signing_key: OnceLock::new(),
            limiters,
            findings,
            config,
            env,
            log,
        })
    }

    /// Gives it a key to sign bundles with, if that is the key of the register's creator.
    pub fn sign_with(&self, key: SigningKey) {
        let _first_stays = self.signing_key.set(key);
    }

    /// Its key, where it has one.
    #[must_use]
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.signing_key.get()
    }

    /// Its identity on the wire (protocol D26: the configured name).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.config.node.id
    }

    /// The worst condition that applies.
    #[must_use]
    pub fn condition(&self) -> Condition {
        if *self.draining.borrow() {
            Condition::Draining
        } else if !self.findings.is_empty() {
            Condition::Unhealthy(self.findings.clone())
        } else if let Some(exchange) = self.log.exchange() {
            Condition::Exchanged(exchange)
        } else if let Some(contradiction) = self.log.refused() {
            Condition::Contradicted(contradiction)
        } else if !self.log.is_reachable() {
            Condition::Degraded
        } else {
            Condition::Healthy
        }
    }

    /// Follows whether it is leaving.
    #[must_use]
    pub fn subscribe_draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Peers with a live session, and those of them that are known to hold the newest version.
    #[must_use]
    pub fn peer_counts(&self) -> (usize, usize) {
        let head = self.log.view().head();
        let sessions = self.sessions();
        (sessions.live().len(), sessions.live().filter(|session| session.is_up_to_date(head)).count())
    }

    /// Peers with a live session that have been behind for longer than `limits.lagging_after` (protocol section 6.9).
    #[must_use]
    pub fn lagging_peers(&self) -> usize {
        self.sessions().live().filter(|session| session.is_lagging).count()
    }

    /// Time since start.
    #[must_use]
    pub fn uptime(&self) -> std::time::Duration {
        self.env.clock.monotonic().since(self.started)
    }

    /// The session table; never held across an await.
    pub fn sessions(&self) -> MutexGuard<'_, SessionTable> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_peers(&self) {
        let count = self.sessions().live().len();
        self.env.metrics.peers(count);
    }

    fn exhausted(&self, what: &'static str, peer: &PeerId, Exhausted(wait): Exhausted) -> Status {
        self.env.metrics.refused(what);
        let message = format!("too many {what} calls of {peer}; come back in {} ms", wait.as_millis().max(1));
        validate::refused(Code::ResourceExhausted, message, wait)
    }

    /// What failed the register's integrity check; with any, publications are refused.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl CentralNode {
    /// A peer's session, live or ended, with its health; an empty `id` names the newest one.
    fn look_up<'s>(
        &self,
        sessions: &'s SessionTable,
        peer: &PeerId,
        id: &str,
        connection: &Connection,
    ) -> Result<(&'s Session, Health), Status> {
        let found = sessions
            .look_up(peer, self.env.clock.monotonic())
            .filter(|(session, _)| id.is_empty() || session.id.as_str() == id)
            .ok_or_else(|| self.no_session(NoSession::Unknown, peer, "?", connection))?;
        if found.0.is_of(connection) { Ok(found) } else { Err(self.foreign_session(connection, peer)) }
    }

    /// Protocol section 5 and D4: which code a session gets that the caller can't use.
    fn no_session(&self, reason: NoSession, peer: &PeerId, id: &str, connection: &Connection) -> Status {
        match reason {
            NoSession::Foreign => self.foreign_session(connection, peer),
            NoSession::NotConnected => Status::failed_precondition(format!(
                "{peer} is not connected; call ConnectToCentralNode first"
            )),
            NoSession::Unknown if id.is_empty() => Status::not_found(format!(
                "session_id is empty; {peer} must send the one from ConnectToCentralNode"
            )),
            NoSession::Unknown => Status::not_found(format!(
                "this node knows no such session of {peer}; call ConnectToCentralNode again"
            )),
        }
    }
}
