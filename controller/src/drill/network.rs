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
pub struct Network {
    central_nodes: Vec<SorchaCentralNode>,
    peers: Vec<SorchaPeer>,
}

/// One peer, as it reported last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Pod.
    pub name: String,
    /// Central node that it is connected to.
    pub central: Option<String>,
    connected: bool,
    failovers: i64,
    since: Option<Timestamp>,
}

impl Network {
    /// Sorts the resources of a network out of all those of a namespace.
    #[must_use]
    pub fn new(mut central_nodes: Vec<SorchaCentralNode>, mut peers: Vec<SorchaPeer>, network: &str) -> Self {
        central_nodes.retain(|node| node.spec.network == network);
        central_nodes.sort_by_key(|node| (node.spec.priority, node.name_any()));
        peers.retain(|peer| peer.spec.network == network);
        Self { central_nodes, peers }
    }

    /// Reads a network.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us.
    pub async fn read(client: &Client, namespace: &str, network: &str) -> kube::Result<Self> {
        let central_nodes: Api<SorchaCentralNode> = Api::namespaced(client.clone(), namespace);
        let peers: Api<SorchaPeer> = Api::namespaced(client.clone(), namespace);
        let all = ListParams::default();
        let (central_nodes, peers) = (central_nodes.list(&all).await?.items, peers.list(&all).await?.items);
        Ok(Self::new(central_nodes, peers, network))
    }

    /// Central nodes in failover order.
    #[must_use]
    pub fn centrals(&self) -> Vec<String> {
        self.central_nodes.iter().map(|node| node.name_any()).collect()
    }

    /// Why there is nothing to drill.
    #[must_use]
    pub fn lack(&self) -> Option<String> {
        let suspended = |suspend: bool, kind: &str, name: String| {
            suspend.then(|| format!("{kind} {name} is suspended: a drill would wait in vain"))
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
    pub fn census(&self) -> String {
        let peers: Vec<String> =
            self.peers.iter().map(|peer| format!("{} ({})", peer.name_any(), peer.spec.replicas)).collect();
        format!("central nodes {}; peers {}", self.centrals().join(", "), peers.join(", "))
    }

    /// Resources that are not Ready for their newest spec, and why.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
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
    pub fn behind(&self, version: i64) -> Vec<String> {
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
    pub fn replicas(&self) -> Vec<Replica> {
        let of = |peer: &SorchaPeer| {
            let (name, reports) =
                (peer.name_any(), peer.status.as_ref().map_or_else(Vec::new, |status| status.nodes.clone()));
            let replica = move |ordinal: i32| {
                let name = format!("{name}-{ordinal}");
                let report = reports.iter().find(|report| report.name == name).cloned().unwrap_or_default();
                let connected = matches!(report.state.as_deref(), Some("Connected" | "HeartbeatMonitoring"));
                Replica {
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
    pub fn not_connected(&self) -> Vec<String> {
        let replicas = self.replicas().into_iter().filter(|replica| !replica.connected);
        replicas.map(|replica| format!("{} is not connected", replica.name)).collect()
    }

    /// The central node that most peers are connected to, and their number; among equals the first.
    #[must_use]
    pub fn busiest(&self) -> Option<(String, usize)> {
        let replicas = self.replicas();
        let on = |name: &String| replicas.iter().filter(|replica| replica.is_on(name)).count();
        let counted = self.centrals().into_iter().rev().map(|name| (on(&name), name));
        counted
            .filter(|(count, _)| *count > 0)
            .max_by_key(|(count, _)| *count)
            .map(|(count, name)| (name, count))
    }
}

impl Replica {
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
pub fn not_recovered(lost: &str, alone: bool, before: &[Replica], now: &[Replica]) -> Vec<String> {
    let of = |replica: &&Replica| before.iter().find(|before| before.name == replica.name);
    let why = |replica: &Replica| {
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
pub fn replacement(pod: Option<&Pod>, uid: &str) -> Option<String> {
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
pub fn passing<T>(answer: kube::Result<T>) -> anyhow::Result<Result<T, String>> {
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
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn replica(name: &str, central: &str, connected: bool, failovers: i64) -> Replica {
        Replica { name: name.into(), central: Some(central.into()), connected, failovers, since: None }
    }

    fn peer(generation: i64, status: &Value) -> SorchaPeer {
        let peer = json!({
            "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaPeer",
            "metadata": {"name": "edge", "generation": generation}, "spec": {"replicas": 2}, "status": status,
        });
        serde_json::from_value(peer).unwrap()
    }

    fn network(status: &Value) -> Network {
        Network::new(Vec::new(), vec![peer(2, status)], "sorcha.dev")
    }

    #[test]
    fn those_of_the_lost_node_need_a_newer_session_the_others_one_at_all() {
        let before = [replica("a", "n0", true, 1), replica("b", "n1", true, 0), replica("c", "n0", true, 0)];
        let now = |a, b, c| not_recovered("n0", false, &before, &[a, b, c]);
        let (moved, stayed) = (replica("a", "n1", true, 2), replica("b", "n1", true, 0));
        let back = replica("c", "n0", true, 1);
        assert_eq!(now(moved.clone(), stayed.clone(), back.clone()), Vec::<String>::new());
        let stale = replica("c", "n0", true, 0);
        assert_eq!(now(moved.clone(), stayed, stale), ["c still reports n0"]);
        let cut_off = replica("b", "n1", false, 0);
        assert_eq!(now(moved, cut_off, back), ["b is not connected"]);
    }

    #[test]
    fn with_one_central_node_a_newer_session_at_the_same_one_counts() {
        let at = |second: i64| Replica {
            since: Some(Timestamp::from_second(second).unwrap()),
            ..replica("a", "n0", true, 0)
        };
        assert_eq!(not_recovered("n0", true, &[at(1)], &[at(2)]), Vec::<String>::new());
        assert_eq!(not_recovered("n0", true, &[at(1)], &[at(1)]), ["a still reports n0"]);
        assert_eq!(not_recovered("n0", false, &[at(1)], &[at(2)]), ["a still reports n0"]);
    }

    #[test]
    fn a_condition_of_an_older_spec_does_not_count() {
        let condition = json!([{"type": "Ready", "status": "True", "reason": "Serving", "message": "",
            "lastTransitionTime": "2026-11-22T10:00:00Z"}]);
        assert_eq!(
            network(&json!({"observedGeneration": 2, "conditions": condition})).not_ready(),
            Vec::<String>::new()
        );
        let old = network(&json!({"observedGeneration": 1, "conditions": condition})).not_ready();
        assert_eq!(old, ["edge was not looked at since its spec changed: does the controller run?"]);
        let not = json!([{"type": "Ready", "status": "False", "reason": "PodMissing", "message": "0 of 2",
            "lastTransitionTime": "2026-11-22T10:00:00Z"}]);
        let not = network(&json!({"observedGeneration": 2, "conditions": not})).not_ready();
        assert_eq!(not, ["edge is not Ready (PodMissing: 0 of 2)"]);
    }

    #[test]
    fn a_version_that_is_not_known_is_not_held() {
        assert_eq!(network(&json!({})).behind(1), ["edge reports no version of all its replicas"]);
        assert_eq!(network(&json!({"minVersion": 4})).behind(5), ["edge reports version 4"]);
        assert_eq!(network(&json!({"minVersion": 5})).behind(5), Vec::<String>::new());
    }

    #[test]
    fn a_replica_without_report_is_not_connected() {
        let nodes = json!([{"name": "edge-0", "state": "Connected", "centralNode": "n0"}]);
        assert_eq!(network(&json!({"nodes": nodes})).not_connected(), ["edge-1 is not connected"]);
    }

    #[test]
    fn a_pod_is_replaced_when_another_one_is_ready() {
        let pod = |uid: &str, ready: &str| -> Pod {
            let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
            serde_json::from_value(json!({"metadata": {"uid": uid}, "status": status})).unwrap()
        };
        assert_eq!(replacement(None, "1").as_deref(), Some("does not exist"));
        assert_eq!(replacement(Some(&pod("1", "True")), "1").as_deref(), Some("is still the old one"));
        assert_eq!(replacement(Some(&pod("2", "False")), "1").as_deref(), Some("is not ready"));
        assert_eq!(replacement(Some(&pod("2", "True")), "1"), None);
    }

    #[test]
    fn waiting_helps_against_outages_only() {
        let refused = |code: u16| {
            let status = json!({"status": "Failure", "code": code, "message": "so"});
            passing::<()>(Err(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))))
        };
        assert_eq!(refused(403).unwrap_err().to_string(), "the API server refuses: so");
        assert_eq!(refused(503).unwrap().unwrap_err(), "the API server says: so");
        assert_eq!(refused(429).unwrap().unwrap_err(), "the API server says: so");
    }
}
