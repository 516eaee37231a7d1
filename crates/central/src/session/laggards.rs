//! Peers that are behind for too long (protocol section 6.9). What they miss needs no queue: a push stream is a cursor that
//! stands where they are, and every pull begins there.

use std::time::Duration;

use sorcha_register::{
    clock::{Monotonic, Timestamp},
    names::{PeerId, Version},
};

use super::SessionTable;

/// A version that a peer was seen to lack, and when, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    lacks: Version,
    pub(super) since: (Timestamp, Monotonic),
}

/// A peer that has been behind for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laggard {
    /// Which.
    pub peer_id: PeerId,
    /// Since when it is behind.
    pub since: Timestamp,
    /// The version that it is at.
    pub at: Version,
}

/// What has changed since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LaggardChanges {
    /// Who has become a laggard.
    pub began: Vec<Laggard>,
    /// Who is up to date again.
    pub caught_up: Vec<PeerId>,
}

impl SessionTable {
    /// Looks which peers are up to date at `head`, and which have not been for longer than `after`.
    pub fn look_for_laggards(
        &mut self,
        head: Version,
        at: (Timestamp, Monotonic),
        after: Duration,
    ) -> LaggardChanges {
        let mut changes = LaggardChanges::default();
        for session in self.live.values_mut() {
            // Who follows is always a little behind: only a version that it was seen to lack counts.
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
