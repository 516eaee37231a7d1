//! Connections: so many and no more. One that no session uses is cut after a while, and gives way while all places are taken, so
//! that who connects and says nothing of use costs little and keeps nobody out.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::incoming::Connection;
use crate::clock::Monotonic;

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
    /// How long one may be there without a session (`limits.sessionless_connection`).
    pub(super) patience: Duration,
}

#[derive(Debug, Default)]
struct Table {
    /// Those that no session uses, and since when; oldest first.
    newcomers: VecDeque<(Connection, Monotonic)>,
    /// Those that one did use when they were looked at last.
    known: Vec<Connection>,
}

impl Connections {
    pub(super) const fn new(rules: Rules) -> Self {
        let table = Table { newcomers: VecDeque::new(), known: Vec::new() };
        Self { rules, table: Mutex::new(table) }
    }

    /// Lets a connection in; false when all places are taken by connections that have sessions, or are too new to give way.
    pub(super) fn admit(&self, connection: &Connection, now: Monotonic) -> bool {
        let mut table = self.table();
        while table.len() >= self.rules.most {
            if !table.give_way(now) {
                return false;
            }
        }
        table.newcomers.push_back((connection.clone(), now));
        true
    }

    /// Cuts the oldest that no session uses, if there is one that is not too new.
    pub(super) fn relieve(&self, now: Monotonic) -> bool {
        self.table().give_way(now)
    }

    /// Cuts those that have had no session for too long; how many.
    pub(super) fn sweep(&self, now: Monotonic) -> usize {
        let mut table = self.table();
        let (idle, still_known) = std::mem::take(&mut table.known)
            .into_iter()
            .filter(|connection| !connection.is_closed())
            .partition::<Vec<_>, _>(|connection| !connection.is_used());
        table.known = still_known;
        table.newcomers.extend(idle.into_iter().map(|connection| (connection, now)));
        let mut cut = 0;
        for (connection, since) in std::mem::take(&mut table.newcomers) {
            if connection.is_closed() {
                continue;
            }
            if connection.is_used() {
                table.known.push(connection);
            } else if now.since(since) > self.rules.patience {
                connection.cut();
                cut += 1;
            } else {
                table.newcomers.push_back((connection, since));
            }
        }
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

    /// Makes room by one place, if any connection is to give way.
    fn give_way(&mut self, now: Monotonic) -> bool {
        while let Some((connection, since)) = self.newcomers.pop_front() {
            if connection.is_closed() {
                return true;
            }
            if connection.is_used() {
                self.known.push(connection);
                continue;
            }
            if now.since(since) < SETTLES {
                self.newcomers.push_front((connection, since));
                return false;
            }
            connection.cut();
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use tonic::transport::server::Connected as _;

    use super::*;
    use crate::central::incoming::Tracked;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    fn connections() -> Connections {
        Connections::new(Rules { most: 3, patience: Duration::from_secs(60) })
    }

    #[test]
    fn a_connection_without_a_session_is_cut_after_a_while() {
        let (connections, silent, used) = (connections(), Tracked::new((), None), Tracked::new((), None));
        assert!(
            connections.admit(&silent.connect_info(), at(0))
                && connections.admit(&used.connect_info(), at(0))
        );
        used.connect_info().set_used(true);
        assert_eq!([connections.sweep(at(60)), connections.sweep(at(61))], [0, 1]);
        assert!(silent.connect_info().is_cut() && !used.connect_info().is_cut());
        used.connect_info().set_used(false);
        assert_eq!(
            [connections.sweep(at(100)), connections.sweep(at(160)), connections.sweep(at(161))],
            [0, 0, 1]
        );
    }

    #[test]
    fn silent_connections_give_way_and_used_ones_do_not() {
        let connections = connections();
        let there: Vec<_> = (0..3).map(|_| Tracked::new((), None)).collect();
        assert!(there.iter().all(|tracked| connections.admit(&tracked.connect_info(), at(0))));
        there[0].connect_info().set_used(true);
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
        for tracked in &there {
            assert!(connections.admit(&tracked.connect_info(), at(0)));
            tracked.connect_info().set_used(true);
        }
        let late = Tracked::new((), None);
        assert!(!connections.admit(&late.connect_info(), at(9)));
        assert!(there.iter().all(|tracked| !tracked.connect_info().is_cut()));
    }
}
