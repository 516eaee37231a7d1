//! Admission and eviction of connections: a limit for all, and one for each certificate.
//!
//! A connection without a session is evicted after a time-out, and earlier when all places are taken. A connection whose caller
//! does not read an answer is evicted, too. So idle and stalled callers do not exhaust the places.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sorcha_identity::Identity;
use sorcha_register::clock::Monotonic;

use super::{counts::Counts, incoming::Connection};

/// Age from which a connection may be evicted: the first call of a newer one may be on its way.
const SETTLES: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Connections {
    rules: ConnectionRules,
    table: Mutex<Table>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionRules {
    /// Connections at once (`limits.max_connections`).
    pub(super) most: usize,
    /// Connections at once of one certificate.
    pub(super) of_identity: usize,
    /// Longest time without a session (`limits.sessionless_connection`).
    pub(super) patience: Duration,
    /// Longest time without reading an answer that is ready.
    pub(super) stuck: Duration,
}

/// Evicted connections, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Without a session for too long.
    pub(super) idle: usize,
    /// Their callers did not read an answer for too long.
    pub(super) stuck: usize,
}

#[derive(Debug, Default)]
struct Table {
    /// Connections without a session, and since when; oldest first.
    newcomers: VecDeque<(Connection, Monotonic)>,
    /// Connections that had a session at the last sweep.
    known: Vec<Connection>,
    /// Connections of each certificate, in both lists.
    owned: Counts<Identity>,
}

impl Connections {
    pub(super) fn new(rules: ConnectionRules) -> Self {
        Self { rules, table: Mutex::default() }
    }

    /// Admits a connection, evicting another one where a limit is reached. False when no connection can be evicted. The limit
    /// of the certificate comes first: a certificate at its own limit evicts only its own connections.
    pub(super) fn admit(&self, connection: &Connection, now: Monotonic) -> bool {
        let mut table = self.table();
        if let Some(identity) = connection.identity() {
            while table.owned.get(identity) >= self.rules.of_identity {
                if !table.evict_of(identity, now) {
                    return false;
                }
            }
        }
        while table.len() >= self.rules.most {
            if !table.evict(now) {
                return false;
            }
        }
        table.add(connection, now);
        true
    }

    /// Evicts the oldest connection without a session, unless it is too new.
    pub(super) fn relieve(&self, now: Monotonic) -> bool {
        self.table().evict(now)
    }

    /// Evicts connections that have had no session, or have not read, for too long.
    pub(super) fn sweep(&self, now: Monotonic) -> Cut {
        let (mut table, mut cut) = (self.table(), Cut::default());
        let (known, newcomers) = (std::mem::take(&mut table.known), std::mem::take(&mut table.newcomers));
        let all = known.into_iter().map(|connection| (connection, now)).chain(newcomers);
        let mut idle = Vec::new();
        for (connection, since) in all {
            if connection.is_closed() {
                table.forget(&connection);
            } else if connection.is_stuck(self.rules.stuck) {
                connection.cut();
                table.forget(&connection);
                cut.stuck += 1;
            } else if connection.is_used() {
                table.known.push(connection);
            } else if now.since(since) > self.rules.patience {
                connection.cut();
                table.forget(&connection);
                cut.idle += 1;
            } else {
                idle.push((connection, since));
            }
        }
        // Oldest first: one that has just lost its session is the newest.
        idle.sort_by_key(|(_, since)| *since);
        table.newcomers = idle.into();
        cut
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn len(&self) -> usize {
        self.newcomers.len() + self.known.len()
    }

    fn add(&mut self, connection: &Connection, now: Monotonic) {
        if let Some(identity) = connection.identity() {
            self.owned.add(identity);
        }
        self.newcomers.push_back((connection.clone(), now));
    }

    /// Uncounts a connection that has left the lists.
    fn forget(&mut self, connection: &Connection) {
        if let Some(identity) = connection.identity() {
            self.owned.remove(identity);
        }
    }

    fn evict(&mut self, now: Monotonic) -> bool {
        while let Some((connection, since)) = self.newcomers.pop_front() {
            if !connection.is_closed() && connection.is_used() {
                self.known.push(connection);
                continue;
            }
            if !may_evict(&connection, since, now) {
                self.newcomers.push_front((connection, since));
                return false;
            }
            self.forget(&connection);
            connection.cut();
            return true;
        }
        false
    }

    fn evict_of(&mut self, identity: &Identity, now: Monotonic) -> bool {
        let is_its = |connection: &Connection| connection.identity() == Some(identity);
        let newcomer = self
            .newcomers
            .iter()
            .position(|(connection, since)| is_its(connection) && may_evict(connection, *since, now));
        let gone = match newcomer {
            Some(at) => self.newcomers.remove(at).map(|(connection, _)| connection),
            None => {
                let free = |connection: &Connection| connection.is_closed() || !connection.is_used();
                let at = self.known.iter().position(|connection| is_its(connection) && free(connection));
                at.map(|at| self.known.swap_remove(at))
            }
        };
        let Some(connection) = gone else { return false };
        self.forget(&connection);
        connection.cut();
        true
    }
}

fn may_evict(connection: &Connection, since: Monotonic, now: Monotonic) -> bool {
    connection.is_closed() || (!connection.is_used() && now.since(since) >= SETTLES)
}

#[cfg(test)]
mod tests;
