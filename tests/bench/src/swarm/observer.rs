//! Watches how a peer loses its session and finds another one.

use std::time::Instant;

use sorcha_peer::{machine::state::PeerState, status::PeerStatus};
use tokio::task::JoinHandle;

use super::Peer;

/// What happened to one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    /// When it noticed that its session is over.
    pub(crate) lost: Instant,
    /// When it had a new session, heartbeats acknowledged and its push stream open.
    pub(crate) back: Instant,
    /// How often a central node that could be reached refused it.
    pub(crate) refusals: u32,
}

/// Watches a peer with a session from now on; ends when it has lost that session and found another.
pub(crate) fn observe(peer: &Peer) -> JoinHandle<Option<Observed>> {
    let mut status = peer.node.subscribe();
    let session = status.borrow_and_update().session_id.clone();
    tokio::spawn(async move {
        let mut refusals = Refusals::default();
        let mut lost = None;
        loop {
            status.changed().await.ok()?;
            let now = Instant::now();
            let status = status.borrow_and_update();
            refusals.count(&status);
            let is_same = status.session_id == session && status.state == PeerState::HeartbeatMonitoring;
            if !is_same && lost.is_none() {
                lost = Some(now);
            }
            // Both at once, where this task was kept from looking meanwhile.
            if let Some(lost) = lost.filter(|_| status.session_id != session && is_whole(&status)) {
                return Some(Observed { lost, back: now, refusals: refusals.count });
            }
        }
    })
}

fn is_whole(status: &PeerStatus) -> bool {
    status.state == PeerState::HeartbeatMonitoring && status.subscribed_at.is_some()
}

/// Counts refusals: failed attempts whose error is the answer of a central node, not the lack of one.
#[derive(Debug, Default)]
struct Refusals {
    count: u32,
    failures: Vec<u32>,
}

impl Refusals {
    fn count(&mut self, status: &PeerStatus) {
        self.failures.resize(status.central_nodes.len(), 0);
        for (known, node) in self.failures.iter_mut().zip(&status.central_nodes) {
            let refused = node.last_error.as_deref().is_some_and(is_refusal);
            if node.consecutive_failures > *known && refused {
                self.count += node.consecutive_failures - *known;
            }
            *known = node.consecutive_failures;
        }
    }
}

fn is_refusal(error: &str) -> bool {
    ["ResourceExhausted:", "AlreadyExists:"].iter().any(|code| error.starts_with(code))
}

/// Waits for the current state of every peer to be whole again.
pub(crate) async fn collect(watches: Vec<JoinHandle<Option<Observed>>>) -> Vec<Option<Observed>> {
    let mut observed = Vec::with_capacity(watches.len());
    for watch in watches {
        observed.push(watch.await.ok().flatten());
    }
    observed
}

#[cfg(test)]
mod tests {
    use sorcha_config::CentralNodeAddress;
    use sorcha_register::clock::Timestamp;

    use super::*;

    #[test]
    fn only_answers_count_as_refusals() {
        let address = CentralNodeAddress { id: None, host: "n0".into(), port: 1, priority: 0, ca_file: None };
        let mut status = PeerStatus::new(Timestamp::from_millis(0), &[address]);
        let mut refusals = Refusals::default();
        for (failures, error) in [
            (1, "transport error"),
            (2, "ResourceExhausted: too many"),
            (2, "ResourceExhausted: too many"),
            (4, "AlreadyExists: live session"),
            (0, ""),
            (1, "ResourceExhausted: too many"),
        ] {
            status.central_nodes[0].consecutive_failures = failures;
            status.central_nodes[0].last_error = Some(error.to_owned());
            refusals.count(&status);
        }
        assert_eq!(refusals.count, 4);
    }
}
