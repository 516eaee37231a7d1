//! How a node is, and why: what it serves, and what keeps it from serving well.

use serde::Serialize;
use sorcha_api::Instant;
use sorcha_central::Condition;
use sorcha_peer::{PeerNode, machine::state::PeerState, status::PeerStatus};
use sorcha_register::integrity::summary;
use utoipa::ToSchema;

use crate::NodeHandle;

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = NodeStatus)]
pub(crate) enum Status {
    /// All is well.
    Healthy,
    /// It serves its role, impaired.
    Degraded,
    /// A peer that reaches no central node; it serves its last replica.
    Isolated,
    /// A central node whose register failed its integrity check.
    Unhealthy,
    /// A central node that is leaving.
    Draining,
}

impl NodeHandle {
    /// How the node is, and why where that is not plain.
    pub(crate) fn status(&self) -> (Status, Option<String>) {
        let env = self.env();
        let trouble = || {
            let tls = env.tls.as_ref().and_then(|tls| tls.status().trouble());
            tls.or_else(|| env.tasks.trouble())
        };
        match self.role_status() {
            (Status::Healthy, why) => {
                trouble().map_or((Status::Healthy, why), |it| (Status::Degraded, Some(it)))
            }
            other => other,
        }
    }

    /// End of the node's TLS certificate, where it has one.
    pub(super) fn certificate_not_after(&self) -> Option<Instant> {
        Some(self.env().tls.as_ref()?.status().validity.not_after.into())
    }

    fn role_status(&self) -> (Status, Option<String>) {
        match self {
            Self::Central(node) => {
                let condition = node.condition();
                let status = match &condition {
                    Condition::Healthy => Status::Healthy,
                    Condition::Degraded | Condition::Contradicted(_) => Status::Degraded,
                    Condition::Unhealthy(_) | Condition::Exchanged(_) => Status::Unhealthy,
                    Condition::Draining => Status::Draining,
                };
                let weakness = || node.log.store().weakness().map(str::to_owned);
                (status, condition.reason().or_else(weakness))
            }
            Self::Peer(node) => peer_status(node),
        }
    }

    /// Whether it serves its role, or why not.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        match self {
            Self::Central(_) => match self.status() {
                (Status::Healthy | Status::Degraded, _) => Ok(()),
                (_, why) => Err(why.unwrap_or_default()),
            },
            Self::Peer(node) => {
                let (loaded, state) = (node.replica.state(), node.status().state);
                let serves_what_it_has = state == PeerState::Isolated && !loaded.view.is_empty();
                if loaded.checkpoint.is_some() || serves_what_it_has {
                    return Ok(());
                }
                Err(format!("this peer holds no replica yet; its connection is {state}"))
            }
        }
    }
}

fn peer_status(node: &PeerNode) -> (Status, Option<String>) {
    let status = node.status();
    if let Some(why) = contradiction(node, &status) {
        return (Status::Degraded, Some(why));
    }
    if status.state == PeerState::Isolated {
        let why = match &status.central_nodes_fault {
            Some(fault) if status.central_nodes.is_empty() => format!("no central node is known: {fault}"),
            _ => "no central node can be reached".to_owned(),
        };
        let held = if node.replica.is_held() {
            "the last replica is served"
        } else {
            "this peer holds no replica yet"
        };
        return (Status::Isolated, Some(format!("{why}; {held}")));
    }
    match impairment(node, status) {
        Some(why) => (Status::Degraded, Some(why)),
        None => (Status::Healthy, None),
    }
}

/// Why a peer does not go on from what it holds.
fn contradiction(node: &PeerNode, status: &PeerStatus) -> Option<String> {
    if let Some(error) = node.replica.store_fault() {
        return Some(error.to_string());
    }
    if let Some(central) = &status.split_brain {
        return Some(format!(
            "split brain: {central} serves another lineage; nothing was merged (`sorcha-node register adopt`)"
        ));
    }
    let refused = status.refused.as_ref().map(ToString::to_string);
    refused.or_else(|| status.ahead_in_words(node.replica.head()))
}

/// What does not work at a peer that is not isolated.
fn impairment(node: &PeerNode, status: PeerStatus) -> Option<String> {
    let findings = node.replica.findings();
    if !findings.is_empty() {
        return Some(summary(&findings));
    }
    if let Some(fault) = &status.heartbeat.fault {
        return Some(format!("heartbeats are missed: {fault}"));
    }
    if let Some(fault) = node.clock_fault() {
        return Some(fault);
    }
    if let Some(why) = status.replication_trouble() {
        return Some(format!("replication does not work: {why}"));
    }
    if let Some(error) = status.last_sync_error {
        return Some(format!("the last sync failed: {error}"));
    }
    status.push_fault.map(|why| format!("nothing is pushed, pulls bring what is new: {why}"))
}
