//! Connections: so many and no more, and a part of them to each certificate. One that no session uses is cut after a while, and gives
//! way while all places are taken; one that takes nothing of an answer is cut, too. Who connects and does nothing of use costs little
//! and keeps no other out.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sorcha_identity::Identity;
use sorcha_register::clock::Monotonic;

use super::incoming::Connection;

/// A newer connection does not give way: its first call may be on its way.
const SETTLES: Duration = Duration::from_secs(1);

/// All connections of a central node.
#[derive(Debug)]
pub(super) struct Connections {
    rules: Rules,
    table: Mutex<Table>,
}

/// The settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Connections at once (`limits.max_connections`).
    pub(super) most: usize,
    /// Connections at once of one certificate.
    pub(super) of_identity: usize,
    /// How long one may be there without a session (`limits.sessionless_connection`).
    pub(super) patience: Duration,
    /// How long one may take nothing of an answer.
    pub(super) stuck: Duration,
}

/// How many were cut, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// No session used them for too long.
    pub(super) idle: usize,
    /// They took nothing of an answer for too long.
    pub(super) stuck: usize,
}

#[derive(Debug, Default)]
struct Table {
    /// Those that no session uses, and since when; oldest first.
    newcomers: VecDeque<(Connection, Monotonic)>,
    /// Those that one did use when they were looked at last.
    known: Vec<Connection>,
    /// How many each certificate has of both.
    owned: HashMap<Identity, usize>,
}

impl Connections {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, table: Mutex::default() }
    }

    /// Lets a connection in; false when all places are taken, or all of its certificate, by connections that have sessions, or are
    /// too new to give way. Those of the certificate come first: who is above its own limit takes no place of others.
    pub(super) fn admit(&self, connection: &Connection, now: Monotonic) -> bool {
        let mut table = self.table();
        if let Some(identity) = connection.identity() {
            while table.owned_by(identity) >= self.rules.of_identity {
                if !table.give_way_of(identity, now) {
                    return false;
                }
            }
        }
        while table.len() >= self.rules.most {
            if !table.give_way(now) {
                return false;
            }
        }
        table.add(connection, now);
        true
    }

    /// Cuts the oldest that no session uses, if there is one that is not too new.
    pub(super) fn relieve(&self, now: Monotonic) -> bool {
        self.table().give_way(now)
    }

    /// Cuts those that have had no session for too long, and those that take nothing.
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

    fn owned_by(&self, identity: &Identity) -> usize {
        self.owned.get(identity).copied().unwrap_or_default()
    }

    fn add(&mut self, connection: &Connection, now: Monotonic) {
        if let Some(identity) = connection.identity() {
            *self.owned.entry(identity.clone()).or_default() += 1;
        }
        self.newcomers.push_back((connection.clone(), now));
    }

    /// One that is taken out of the lists.
    fn forget(&mut self, connection: &Connection) {
        let Some(identity) = connection.identity() else { return };
        if let Some(count) = self.owned.get_mut(identity) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.owned.remove(identity);
            }
        }
    }

    /// Makes room by one place, if any connection is to give way.
    fn give_way(&mut self, now: Monotonic) -> bool {
        while let Some((connection, since)) = self.newcomers.pop_front() {
            if !connection.is_closed() && connection.is_used() {
                self.known.push(connection);
                continue;
            }
            if !may_go(&connection, since, now) {
                self.newcomers.push_front((connection, since));
                return false;
            }
            self.forget(&connection);
            connection.cut();
            return true;
        }
        false
    }

    /// Makes room by one place among those of a certificate.
    fn give_way_of(&mut self, identity: &Identity, now: Monotonic) -> bool {
        let is_its = |connection: &Connection| connection.identity() == Some(identity);
        let newcomer = self
            .newcomers
            .iter()
            .position(|(connection, since)| is_its(connection) && may_go(connection, *since, now));
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

/// Whether a newcomer may give way. A new one does not: its first call may be on its way.
fn may_go(connection: &Connection, since: Monotonic, now: Monotonic) -> bool {
    connection.is_closed() || (!connection.is_used() && now.since(since) >= SETTLES)
}

#[cfg(test)]
mod tests {
    use tonic::transport::server::Connected as _;

    use super::*;
    use crate::{
        flight::{Flight, Load},
        incoming::Tracked,
    };

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    fn connections() -> Connections {
        let (patience, stuck) = (Duration::from_secs(60), Duration::from_secs(60));
        Connections::new(Rules { most: 3, of_identity: 2, patience, stuck })
    }

    #[test]
    fn a_connection_without_a_session_is_cut_after_a_while() {
        let (connections, silent, used) = (connections(), Tracked::new((), None), Tracked::new((), None));
        assert!(
            connections.admit(&silent.connect_info(), at(0))
                && connections.admit(&used.connect_info(), at(0))
        );
        let hold = used.connect_info().hold();
        let swept = |seconds| connections.sweep(at(seconds)).idle;
        assert_eq!([swept(60), swept(61)], [0, 1]);
        assert!(silent.connect_info().is_cut() && !used.connect_info().is_cut());
        drop(hold);
        assert_eq!([swept(100), swept(160), swept(161)], [0, 0, 1]);
    }

    #[test]
    fn silent_connections_give_way_and_used_ones_do_not() {
        let connections = connections();
        let there: Vec<_> = (0..3).map(|_| Tracked::new((), None)).collect();
        assert!(there.iter().all(|tracked| connections.admit(&tracked.connect_info(), at(0))));
        let _hold = there[0].connect_info().hold();
        let late = Tracked::new((), None);
        assert!(!connections.admit(&late.connect_info(), at(0)), "the others are too new to give way");
        assert!(connections.admit(&late.connect_info(), at(2)));
        let cut: Vec<_> = there.iter().map(|tracked| tracked.connect_info().is_cut()).collect();
        assert_eq!(cut, [false, true, false]);
        drop(there);
        assert!(
            connections.admit(&Tracked::new((), None).connect_info(), at(2)),
            "who has left makes room at once"
        );
    }

    #[test]
    fn all_places_may_be_taken_by_sessions() {
        let connections = connections();
        let there: Vec<_> = (0..3).map(|_| Tracked::new((), None)).collect();
        let mut holds = Vec::new();
        for tracked in &there {
            assert!(connections.admit(&tracked.connect_info(), at(0)));
            holds.push(tracked.connect_info().hold());
        }
        let late = Tracked::new((), None);
        assert!(!connections.admit(&late.connect_info(), at(9)));
        assert!(there.iter().all(|tracked| !tracked.connect_info().is_cut()));
    }

    #[test]
    fn a_certificate_has_so_many_connections_and_its_own_give_way() {
        let connections = connections();
        let of = |owner: &str| {
            let identity =
                Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{owner}")).unwrap();
            Tracked::secured((), "127.0.0.1:1".parse().unwrap(), Ok(identity))
        };
        let thief: Vec<_> = (0..2).map(|_| of("thief")).collect();
        let holds: Vec<_> = thief.iter().map(|tracked| tracked.connect_info().hold()).collect();
        assert!(thief.iter().all(|tracked| connections.admit(&tracked.connect_info(), at(0))));
        assert_eq!(connections.sweep(at(1)), Cut::default());
        let third = of("thief");
        assert!(!connections.admit(&third.connect_info(), at(9)), "its share is in use");
        let honest = of("honest");
        assert!(connections.admit(&honest.connect_info(), at(9)), "another certificate has a place");
        drop(holds);
        assert!(connections.admit(&third.connect_info(), at(9)));
        assert!(thief[0].connect_info().is_cut() && !honest.connect_info().is_cut());
        drop((thief, third, honest));
        assert_eq!(connections.sweep(at(10)), Cut::default());
        assert!(connections.table().owned.is_empty() && connections.table().len() == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_nothing_of_an_answer_is_cut_though_a_session_uses_it() {
        let (connections, tracked) = (connections(), Tracked::new((), None));
        let connection = tracked.connect_info();
        let _hold = connection.hold();
        assert!(connections.admit(&connection, at(0)));
        let answer = Flight::new(Load::default(), None);
        connection.carries(&answer);
        let untaken = answer.depart(bytes::Bytes::from_static(b"an entry"));
        drop(answer);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(connections.sweep(at(60)), Cut::default());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(connections.sweep(at(61)), Cut { idle: 0, stuck: 1 });
        assert!(connection.is_cut());
        drop(untaken);
    }
}
