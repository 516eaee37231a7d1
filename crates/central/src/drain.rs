//! Draining (ADR 37), and the sweep of sessions whose heartbeats have stopped.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    CentralNode,
    session::{EndReason, Laggard},
};

/// Period of the sweep, and of the look at a draining node's sessions.
const SWEEP: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// Sweeps between two clean-ups of the token buckets.
const SWEEPS_PER_CLEANUP: u32 = 60;

impl CentralNode {
    /// Ends silent sessions and evicts connections, for ever.
    pub(super) async fn sweep(&self) {
        for round in 1u32.. {
            sleep(SWEEP).await;
            let gone = self.sessions().expire(self.env.clock.monotonic());
            for peer in &gone {
                tracing::warn!(peer_id = %peer, "peer taken as failed; its session is over");
            }
            if !gone.is_empty() {
                self.record_peers();
            }
            self.look_for_laggards();
            self.cut_connections();
            if round.is_multiple_of(SWEEPS_PER_CLEANUP) {
                self.limiters.forget_idle();
            }
        }
    }

    fn cut_connections(&self) {
        let limits = &self.config.limits;
        let cut = self.connections.sweep(self.env.clock.monotonic());
        if cut.idle > 0 {
            let limit = humantime::format_duration(limits.sessionless_connection);
            tracing::debug!(cut = cut.idle, %limit, "connections without a session were cut (limits.sessionless_connection)");
        }
        if cut.stuck > 0 {
            let limit = humantime::format_duration(limits.push_write_timeout);
            tracing::warn!(cut = cut.stuck, %limit, "connections that took nothing of an answer for twice limits.push_write_timeout were cut");
        }
        self.env.metrics.cut(cut.idle + cut.stuck);
    }

    /// Reports peers that pushes and pulls don't bring up to date (protocol section 6.9).
    fn look_for_laggards(&self) {
        let (head, clock, after) =
            (self.log.view().head(), &self.env.clock, self.config.limits.lagging_after);
        let at = (clock.now(), clock.monotonic());
        let (changes, count) = {
            let mut sessions = self.sessions();
            let changes = sessions.look_for_laggards(head, at, after);
            (changes, sessions.live().filter(|session| session.is_lagging).count())
        };
        for Laggard { peer_id, since, at } in &changes.began {
            let (since, limit) = (since.to_string(), humantime::format_duration(after));
            tracing::warn!(%peer_id, %since, version = %at, %head, %limit, "peer lags: neither pushes nor pulls bring it up to date (limits.lagging_after)");
        }
        for peer_id in &changes.caught_up {
            tracing::info!(%peer_id, %head, "peer has caught up");
        }
        self.env.metrics.lagging(count);
    }

    /// Drains the node: refuses new connects, ends the sessions at moments spread over `drain.spread`, and waits until all
    /// peers have left or `drain.timeout` is over.
    pub async fn drain(self: &Arc<Self>) {
        self.draining.send_replace(true);
        let ends: Vec<_> = self.sessions().live().map(|session| session.end.clone()).collect();
        tracing::info!(peers = ends.len(), "draining: peers are told to move");
        let (start, spread) = (Instant::now(), self.config.drain.spread);
        for end in ends {
            let at = start + spread.mul_f64(self.env.random.unit());
            tokio::spawn(async move {
                sleep_until(at).await;
                end.end(EndReason::Draining);
            });
        }
        let gone = async {
            while self.sessions().live().len() > 0 {
                sleep(LOOK).await;
            }
        };
        let left = match timeout(self.config.drain.timeout, gone).await {
            Ok(()) => 0,
            Err(_elapsed) => self.sessions().live().len(),
        };
        tracing::info!(peers_left = left, "drained");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        incoming::Connection,
        session::{SessionEnd, SessionId},
        testing,
    };
    use sorcha_register::names::{PeerId, Version};
    use sorcha_runtime::metrics::Metrics;

    const PEERS: u32 = 300;

    /// A central node with the default times, and sessions of many peers.
    fn node() -> Arc<CentralNode> {
        let node = testing::node(Metrics::disabled());
        for number in 0..PEERS {
            let (id, peer) =
                (SessionId::from_bits(number.into()), PeerId::new(format!("edge-{number}")).unwrap());
            let at = (node.env.clock.now(), node.env.clock.monotonic());
            node.sessions().open(id, &peer, Version::ZERO, Connection::default(), at).unwrap();
        }
        node
    }

    /// When each session is ended, counted from now; its peer then leaves if `leaves`.
    fn told(node: &Arc<CentralNode>, leaves: bool) -> Vec<tokio::task::JoinHandle<Duration>> {
        let began = Instant::now();
        let sessions: Vec<_> = node
            .sessions()
            .live()
            .map(|session| (session.peer_id.clone(), session.id.clone(), session.end.clone()))
            .collect();
        let follow = |(peer, id, end): (PeerId, SessionId, SessionEnd)| {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                assert_eq!(end.ended().await, EndReason::Draining);
                if leaves {
                    node.sessions().close(&peer, id.as_str(), &Connection::default()).unwrap();
                }
                began.elapsed()
            })
        };
        sessions.into_iter().map(follow).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn peers_are_told_to_move_one_after_the_other_within_the_spread() {
        let node = node();
        let (began, told) = (Instant::now(), told(&node, true));
        node.drain().await;
        let took = began.elapsed();
        let mut thirds = [0; 3];
        for moment in futures::future::join_all(told).await {
            let moment = moment.unwrap();
            assert!(moment <= Duration::from_secs(3), "drain.spread: {moment:?}");
            thirds[usize::try_from(moment.as_secs().min(2)).unwrap()] += 1;
        }
        assert!(thirds.iter().all(|count| (60..=140).contains(count)), "{thirds:?}");
        assert!(took <= Duration::from_secs(3) + 2 * LOOK, "it goes on waiting without a session: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_do_not_leave_are_waited_for_until_the_timeout() {
        let node = node();
        let (began, told) = (Instant::now(), told(&node, false));
        node.drain().await;
        let (took, timeout) = (began.elapsed(), Duration::from_secs(15));
        assert!(took >= timeout && took <= timeout + LOOK, "drain.timeout: {took:?}");
        assert!(told.iter().all(tokio::task::JoinHandle::is_finished), "all were told before");
        assert_eq!(node.sessions().live().len(), 300);
    }
}
