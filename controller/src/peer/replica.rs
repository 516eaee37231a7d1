//! What one peer is, as its pod and its own report show it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use sorcha_crds::{SorchaPeer, peer::PeerReport};

use super::observe::PeerWorld;
use crate::{names, reports, workload::is_running};

/// What one peer is, in the eyes of the controller: a pod that does not run has no state, whatever it said last.
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) running: bool,
    pub(super) report: Option<PeerReport>,
    /// What in its report can't be true.
    pub(super) fault: Option<String>,
}

impl Replica {
    pub(super) fn state(&self) -> &str {
        match self.report.as_ref().and_then(|report| report.state.as_deref()) {
            _ if !self.running => "Down",
            Some(state) => state,
            None => "Starting",
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state(), "Connected" | "HeartbeatMonitoring")
    }

    /// Why replication does not work.
    pub(super) fn replication_fault(&self) -> Option<&str> {
        self.report.as_ref()?.replication_fault.as_deref().filter(|_| self.is_connected())
    }

    pub(super) fn is_synced(&self) -> bool {
        self.is_connected()
            && self.fault.is_none()
            && self.report.as_ref().is_some_and(|report| report.lag == Some(0))
    }
}

pub(super) fn replicas(peer: &SorchaPeer, world: &PeerWorld, now: &Time) -> Vec<Replica> {
    let head = world.network.head(None);
    let told: &[PeerReport] = peer.status.as_ref().map_or(&[], |status| &status.nodes);
    (0..peer.spec.replicas)
        .map(|ordinal| {
            let name = names::pod(&peer.name_any(), ordinal);
            let running = world.pods.get(&name).is_some_and(|pod| is_running(pod));
            let told = told.iter().find(|report| report.name == name);
            let told = told.map(|report| reports::peer(report, head, now));
            let (report, fault) = told.map_or((None, None), |told| (Some(told.report), told.fault));
            Replica { name, running, report, fault }
        })
        .collect()
}
