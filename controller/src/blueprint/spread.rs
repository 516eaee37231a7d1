//! How far a version has got, as the network's central nodes report it; pure.

use std::sync::Arc;

use sorcha_crds::{
    SorchaCentralNode,
    conditions::{CONVERGED, ConditionStatus, Finding, READY, is_true},
};

/// Peers of a network and what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread {
    /// Known to hold the version.
    pub(super) up_to_date: i64,
    /// Connected.
    pub(super) total: i64,
    /// A central node is ready.
    pub(super) served: bool,
}

/// Counts the peers of central nodes. Of one whose peers all held the version once (`convergedVersion`) all count: a
/// replica only moves forward, and a peer that connects later gets the whole register. Of another one those count that
/// hold its newest version, if that is not an older one; a report that has not heard of the version counts nobody.
pub(super) fn spread(version: i64, nodes: &[Arc<SorchaCentralNode>]) -> Spread {
    nodes.iter().filter_map(|node| node.status.as_ref()).fold(Spread::default(), |sum, status| {
        let peers = status.peers.unwrap_or_default();
        let reached = |held: Option<i64>| held.is_some_and(|held| held >= version);
        let holding = if reached(status.converged_version) {
            peers.connected
        } else if reached(status.version) {
            peers.up_to_date.min(peers.connected)
        } else {
            0
        };
        Spread {
            up_to_date: sum.up_to_date.saturating_add(holding),
            total: sum.total.saturating_add(peers.connected),
            served: sum.served || is_true(&status.conditions, READY),
        }
    })
}

/// The finding on whether every connected peer holds the version.
pub(super) fn converged(version: i64, spread: Spread) -> Finding {
    let Spread { up_to_date, total, served } = spread;
    let unknown = |reason, message: &str| Finding::new(CONVERGED, ConditionStatus::Unknown, reason, message);
    if !served {
        return unknown("NoCentralNode", "no central node of the network is ready");
    }
    if total == 0 {
        return unknown("NoPeers", "no peer is connected to the network's central nodes");
    }
    if up_to_date >= total {
        return Finding::new(
            CONVERGED,
            true,
            "Converged",
            format!("all connected peers hold version {version}"),
        );
    }
    Finding::new(
        CONVERGED,
        false,
        "Replicating",
        format!("{up_to_date} of {total} connected peers are known to hold version {version}"),
    )
}
