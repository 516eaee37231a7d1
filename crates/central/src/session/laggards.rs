//! Laggards: peers that have been behind for too long (protocol section 6.9). They need no queue: push streams and pulls begin
//! at the version that the peer holds.

use std::time::Duration;

use sorcha_register::{
    clock::{Monotonic, Timestamp},
    names::{PeerId, Version},
};

use super::SessionTable;

/// A version that a peer lacked at a sweep, and the time of the sweep by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    lacks: Version,
    pub(super) since: (Timestamp, Monotonic),
}

/// A peer that has been behind for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laggard {
    /// The peer.
    pub peer_id: PeerId,
    /// Start of the lag.
    pub since: Timestamp,
    /// Its version.
    pub at: Version,
}

/// Changes since the last sweep.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LaggardChanges {
    /// New laggards.
    pub began: Vec<Laggard>,
    /// Peers that are up to date again.
    pub caught_up: Vec<PeerId>,
}

impl SessionTable {
    /// Finds the peers that have been behind for longer than `after`, and those that have caught up.
    pub fn look_for_laggards(
        &mut self,
        head: Version,
        at: (Timestamp, Monotonic),
        after: Duration,
    ) -> LaggardChanges {
        let mut changes = LaggardChanges::default();
        for session in self.live.values_mut() {
            // Every peer is briefly behind the head: only the version that it lacked at a sweep counts.
            if session.behind.is_some_and(|behind| session.is_up_to_date(behind.lacks)) {
                session.behind = None;
            }
            if session.behind.is_none() && !session.is_up_to_date(head) {
                session.behind = Some(Behind { lacks: head, since: at });
            }
            let Some(Behind { since, .. }) =
                session.behind.filter(|behind| at.1.since(behind.since.1) > after)
            else {
                if std::mem::take(&mut session.is_lagging) {
                    changes.caught_up.push(session.peer_id.clone());
                }
                continue;
            };
            if !std::mem::replace(&mut session.is_lagging, true) {
                let (peer_id, since) = (session.peer_id.clone(), since.0);
                changes.began.push(Laggard { peer_id, since, at: session.position });
            }
        }
        changes
    }
}
