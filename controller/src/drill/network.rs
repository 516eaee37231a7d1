//! What the resources of a network say, and what is missing; pure but for the reading.

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use sorcha_crds::{
    SorchaCentralNode, SorchaPeer,
    conditions::{READY, is_true},
};

/// The resources of one network in one namespace.
#[derive(Clone, Debug)]
pub(crate) struct DrillNetwork {
    central_nodes: Vec<SorchaCentralNode>,
    peers: Vec<SorchaPeer>,
}

/// One peer, as it reported last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DrillReplica {
    /// Pod.
    pub name: String,
    /// Central node that it is connected to.
    pub central: Option<String>,
    connected: bool,
    failovers: i64,
    since: Option<Timestamp>,
}

impl DrillNetwork {
    /// Sorts the resources of a network out of all those of a namespace.
    #[must_use]
    pub(crate) fn new(
        mut central_nodes: Vec<SorchaCentralNode>,
        mut peers: Vec<SorchaPeer>,
        network: &str,
    ) -> Self {
        central_nodes.retain(|node| node.spec.network == network);
        central_nodes.sort_by_key(|node| (node.spec.priority, node.name_any()));
        peers.retain(|peer| peer.spec.network == network);
        Self { central_nodes, peers }
    }

    /// Reads a network.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us.
    pub(crate) async fn read(client: &Client, namespace: &str, network: &str) -> kube::Result<Self> {
        let central_nodes: Api<SorchaCentralNode> = Api::namespaced(client.clone(), namespace);
        let peers: Api<SorchaPeer> = Api::namespaced(client.clone(), namespace);
        let all = ListParams::default();
        let (central_nodes, peers) = (central_nodes.list(&all).await?.items, peers.list(&all).await?.items);
        Ok(Self::new(central_nodes, peers, network))
    }

    /// Central nodes in failover order.
    #[must_use]
    pub(crate) fn centrals(&self) -> Vec<String> {
        self.central_nodes.iter().map(|node| node.name_any()).collect()
    }

    /// Why there is nothing to drill.
    #[must_use]
    pub(crate) fn lack(&self) -> Option<String> {
        let suspended = |suspend: bool, kind: &str, name: String| {
            suspend
                .then(|| format!("{kind} {name} is suspended: set its spec.suspend to false before a drill"))
        };
        if self.central_nodes.is_empty() {
            return Some(
                "there is no SorchaCentralNode of this network (--network names another one)".to_owned(),
            );
        }
        if self.replicas().is_empty() {
            return Some("there is no SorchaPeer of this network with replicas".to_owned());
        }
        let nodes = self.central_nodes.iter();
        let peers = self.peers.iter();
        nodes
            .filter_map(|node| suspended(node.spec.suspend, "SorchaCentralNode", node.name_any()))
            .chain(peers.filter_map(|peer| suspended(peer.spec.suspend, "SorchaPeer", peer.name_any())))
            .next()
    }

    /// Who is there.
    #[must_use]
    pub(crate) fn census(&self) -> String {
        let peers: Vec<String> =
            self.peers.iter().map(|peer| format!("{} ({})", peer.name_any(), peer.spec.replicas)).collect();
        format!("central nodes {}; peers {}", self.centrals().join(", "), peers.join(", "))
    }

    /// Resources that are not Ready for their newest spec, and why.
    #[must_use]
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let nodes = self.central_nodes.iter().map(|node| {
            let status = node.status.as_ref();
            let (seen, conditions) =
                status.map_or((None, &[][..]), |s| (s.observed_generation, &s.conditions[..]));
            why_not_ready(&node.name_any(), node.metadata.generation, seen, conditions)
        });
        let peers = self.peers.iter().map(|peer| {
            let status = peer.status.as_ref();
            let (seen, conditions) =
                status.map_or((None, &[][..]), |s| (s.observed_generation, &s.conditions[..]));
            why_not_ready(&peer.name_any(), peer.metadata.generation, seen, conditions)
        });
        nodes.chain(peers).flatten().collect()
    }

    /// Peers that are not known to hold a version.
    #[must_use]
    pub(crate) fn behind(&self, version: i64) -> Vec<String> {
        let held = |peer: &SorchaPeer| peer.status.as_ref()?.min_version;
        let asked = self.peers.iter().filter(|peer| peer.spec.replicas > 0);
        asked
            .filter_map(|peer| match held(peer) {
                Some(held) if held >= version => None,
                Some(held) => Some(format!("{} reports version {held}", peer.name_any())),
                None => Some(format!("{} reports no version of all its replicas", peer.name_any())),
            })
            .collect()
    }

    /// Every peer that is asked for; one without report is not connected.
    #[must_use]
    pub(crate) fn replicas(&self) -> Vec<DrillReplica> {
        let of = |peer: &SorchaPeer| {
            let (name, reports) =
                (peer.name_any(), peer.status.as_ref().map_or_else(Vec::new, |status| status.nodes.clone()));
            let replica = move |ordinal: i32| {
                let name = format!("{name}-{ordinal}");
                let report = reports.iter().find(|report| report.name == name).cloned().unwrap_or_default();
                let connected = matches!(report.state.as_deref(), Some("Connected" | "HeartbeatMonitoring"));
                DrillReplica {
                    name,
                    central: report.central_node,
                    connected,
                    failovers: report.failovers.unwrap_or_default(),
                    since: report.since.map(|since| since.0),
                }
            };
            (0..peer.spec.replicas).map(replica).collect::<Vec<_>>()
        };
        self.peers.iter().flat_map(of).collect()
    }

    /// Peers that are not connected.
    #[must_use]
    pub(crate) fn not_connected(&self) -> Vec<String> {
        let replicas = self.replicas().into_iter().filter(|replica| !replica.connected);
        replicas.map(|replica| format!("{} is not connected", replica.name)).collect()
    }

    /// The central node that most peers are connected to, and their number; among equals the first.
    #[must_use]
    pub(crate) fn busiest(&self) -> Option<(String, usize)> {
        let replicas = self.replicas();
        let on = |name: &String| replicas.iter().filter(|replica| replica.is_on(name)).count();
        let counted = self.centrals().into_iter().rev().map(|name| (on(&name), name));
        counted
            .filter(|(count, _)| *count > 0)
            .max_by_key(|(count, _)| *count)
            .map(|(count, name)| (name, count))
    }
}

impl DrillReplica {
    fn is_on(&self, central: &str) -> bool {
        self.connected && self.central.as_deref() == Some(central)
    }
}

fn why_not_ready(
    name: &str,
    generation: Option<i64>,
    seen: Option<i64>,
    conditions: &[Condition],
) -> Option<String> {
    if seen != generation {
        return Some(format!("{name} was not looked at since its spec changed: does the controller run?"));
    }
    if is_true(conditions, READY) {
        return None;
    }
    Some(match conditions.iter().find(|condition| condition.type_ == READY) {
        Some(condition) => format!("{name} is not Ready ({}: {})", condition.reason, condition.message),
        None => format!("{name} has no condition Ready"),
    })
}

/// Peers that have not got over the loss of a central node: those that were connected to it must have a session that
/// is newer than the loss, the others one at all. With no other central node (`alone`) it is one at the same.
#[must_use]
pub(crate) fn not_recovered(
    lost: &str,
    alone: bool,
    before: &[DrillReplica],
    now: &[DrillReplica],
) -> Vec<String> {
    let of = |replica: &&DrillReplica| before.iter().find(|before| before.name == replica.name);
    let why = |replica: &DrillReplica| {
        let was = of(&replica);
        let moved = was.is_none_or(|was| {
            !was.is_on(lost)
                || replica.central != was.central
                || replica.failovers > was.failovers
                || (alone && replica.since > was.since)
        });
        match (replica.connected, moved) {
            (true, true) => None,
            (false, _) => Some(format!("{} is not connected", replica.name)),
            (true, false) => Some(format!("{} still reports {lost}", replica.name)),
        }
    };
    now.iter().filter_map(why).collect()
}

/// Why a pod is not the ready successor of the one with `uid`.
#[must_use]
pub(crate) fn replacement(pod: Option<&Pod>, uid: &str) -> Option<String> {
    let Some(pod) = pod else { return Some("does not exist".to_owned()) };
    if pod.uid().as_deref() == Some(uid) {
        return Some("is still the old one".to_owned());
    }
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.into_iter().any(|condition| condition.type_ == READY && condition.status == "True");
    (!ready).then(|| "is not ready".to_owned())
}

/// Tells an API server that is away (`Ok(Err)`: waiting helps) from one that refuses (`Err`: it does not).
///
/// # Errors
/// What the API server refuses.
pub(crate) fn passing<T>(answer: kube::Result<T>) -> anyhow::Result<Result<T, String>> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(kube::Error::Api(status)) if matches!(status.code, 400..=428 | 430..=499) => {
            anyhow::bail!("the API server refuses: {}", status.message)
        }
        Err(kube::Error::Api(status)) => Ok(Err(format!("the API server says: {}", status.message))),
        Err(error) => Ok(Err(format!("the API server does not answer: {error}"))),
    }
}

#[cfg(test)]
mod tests;
