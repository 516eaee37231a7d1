//! What follows from a sync that failed, on either way.

use std::time::Duration;

use super::{SyncEffect, SyncFailure, SyncFault, SyncTurn};
use crate::{
    failover::LONGEST_HINT,
    machine::event::{Event, Fault},
    status::{ReplicationEvent, StatusEvent},
};

/// Pause after the first failed sync is twice this; the longest one.
const RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(60);

impl SyncTurn<'_> {
    /// Notes a failure in a row; how long to wait after it.
    pub(super) fn count_failure(&mut self) -> Duration {
        self.state.failures = self.state.failures.saturating_add(1);
        RETRY.saturating_mul(1 << self.state.failures.min(6)).min(SLOWEST_RETRY)
    }

    /// How long to wait after a failure, unless the session is over, and what the machine has to know. `again` is logged.
    pub(super) fn failed(
        &mut self,
        failure: SyncFailure,
        again: fn(Duration, String) -> SyncEffect,
    ) -> (Option<Duration>, Option<Event>) {
        let SyncFailure { fault, message, hint } = failure;
        let epoch = self.state.epoch;
        let backoff = self.count_failure();
        let wait = hint.map_or(backoff, |hint| hint.after.min(LONGEST_HINT) + backoff.mul_f64(hint.draw));
        let is_stall = fault == SyncFault::Stalled;
        let its = match fault {
            // The machine looks elsewhere, and comes back here later.
            SyncFault::Refused(contradiction) => {
                self.state.is_level = false;
                self.emit(SyncEffect::Refuse(contradiction));
                return (None, Some(Event::SyncFailed { epoch, fault: Fault::Refused, message }));
            }
            SyncFault::Lost(loss) => return (None, Some(Event::ConnectionLost { epoch, loss })),
            SyncFault::Rejected => return (None, Some(Event::SessionRejected { epoch })),
            SyncFault::Central(fault) => Some(fault),
            SyncFault::Stalled => Some(Fault::Passing),
            SyncFault::Blameless => None,
        };
        self.emit(again(wait, message.clone()));
        if self.state.failures > 1 || is_stall {
            self.emit(SyncEffect::Show(StatusEvent::Replication(ReplicationEvent::Fails(message.clone()))));
        }
        (Some(wait), its.map(|fault| Event::SyncFailed { epoch, fault, message }))
    }
}
