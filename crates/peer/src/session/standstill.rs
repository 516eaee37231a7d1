//! A replica that is behind and gets nowhere, whatever keeps it: seen from the heartbeats, which go on meanwhile.

use std::time::Duration;

use sorcha_register::{clock::Monotonic, names::Version};

use super::LiveSession;
use crate::status::{ReplicationEvent, StatusEvent};

/// Waits for a central node are given up after `sync.stall_timeout`: after twice that time something must have moved.
const TIMES: u32 = 2;

/// Since when nothing has moved.
#[derive(Debug)]
pub(super) struct Standstill {
    since: Monotonic,
    head: Version,
    received: u64,
}

impl Standstill {
    pub(super) const fn since(now: Monotonic) -> Self {
        Self { since: now, head: Version::ZERO, received: 0 }
    }

    /// Looks whether replication gets anywhere, and tells when it does not.
    pub(super) fn look(&mut self, session: &LiveSession) {
        let node = &session.node;
        let (head, received, now) =
            (node.replica.head(), session.received.bytes(), node.env.clock.monotonic());
        let behind = node.status.borrow().lag(head);
        let stood = self.stood(behind > 0, head, received, now);
        let fault = (stood >= node.config.sync.stall_timeout * TIMES).then(|| {
            let time = humantime::format_duration(Duration::from_secs(stood.as_secs()));
            format!("{behind} versions behind {}, and nothing has arrived for {time}", session.central)
        });
        let began = fault.is_some() && node.status.borrow().standstill.is_none();
        if let Some(why) = fault.as_ref().filter(|_| began) {
            tracing::error!(central_node_id = session.central, why, "replication stands still");
        }
        if node.status.borrow().standstill != fault {
            node.note(StatusEvent::Replication(ReplicationEvent::StandsStill(fault)));
        }
    }

    fn stood(&mut self, is_behind: bool, head: Version, received: u64, now: Monotonic) -> Duration {
        if !is_behind || (head, received) != (self.head, self.received) {
            *self = Self { since: now, head, received };
        }
        now.since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_store::contract::version;

    #[test]
    fn only_a_replica_that_is_behind_and_does_not_move_stands_still() {
        let at = |seconds| Monotonic::from_start(Duration::from_secs(seconds));
        let mut standstill = Standstill::since(at(990));
        let mut stood = |behind, head, received, now| {
            standstill.stood(behind, version(head), received, at(now)).as_secs()
        };
        assert_eq!(stood(true, 0, 0, 995), 5, "an empty replica");
        assert_eq!(stood(false, 3, 0, 1000), 0, "nothing is published");
        assert_eq!(stood(true, 3, 0, 1030), 30);
        assert_eq!(stood(true, 3, 500, 1060), 0, "bytes of a long pull");
        assert_eq!(stood(true, 4, 500, 1090), 0, "a pushed entry");
        assert_eq!(stood(true, 4, 500, 1150), 60);
        assert_eq!(stood(false, 9, 500, 1180), 0);
    }
}
