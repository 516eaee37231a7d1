//! What is known of a peer resource's pods; reads caches only.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaCentralNode, SorchaPeer, conditions::READY, peer::PeerReport};

use crate::{
    cache::Caches,
    context::Ctx,
    names::{self, Component},
    network::Network,
    workload::{is_of, is_ready},
};

/// One peer resource in the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    pub(super) stateful_set: Option<Arc<StatefulSet>>,
    /// Pods by name.
    pub(super) pods: BTreeMap<String, Arc<Pod>>,
    /// Ready ones of these.
    pub(super) ready: i32,
}

impl Observed {
    pub(super) fn of(ctx: &Ctx, peer: &SorchaPeer) -> Self {
        let (namespace, name) = (peer.namespace().unwrap_or_default(), peer.name_any());
        let stateful_set: Option<Arc<StatefulSet>> = ctx.caches.get(&namespace, &name);
        let held =
            stateful_set.as_ref().and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
        let reported = peer.status.iter().flat_map(|status| &status.nodes).map(|report| report.name.clone());
        let by_ordinal = (0..held.max(peer.spec.replicas)).map(|ordinal| names::pod(&name, ordinal));
        let pods: BTreeMap<_, _> = by_ordinal
            .chain(reported.filter(|pod| names::ordinal(&name, pod).is_some()))
            .filter_map(|pod| Some((pod.clone(), ctx.caches.get::<Pod>(&namespace, &pod)?)))
            .filter(|(_, pod)| is_of(pod, Component::Peer, &name))
            .collect();
        let ready = pods.values().filter(|pod| is_ready(pod)).count();
        Self { stateful_set, pods, ready: i32::try_from(ready).unwrap_or(i32::MAX) }
    }
}

/// The central nodes that are published for these peers.
pub(super) fn central_nodes(caches: &Caches, peer: &SorchaPeer) -> Vec<Arc<SorchaCentralNode>> {
    caches.central_nodes.state_filter(|node| {
        node.metadata.namespace == peer.metadata.namespace && node.spec.network == peer.spec.network
    })
}

/// The highest version that peers may have heard of; `None`: it is not known, since they were given other central nodes, or
/// none of the network is ready.
pub(super) fn head(caches: &Caches, peer: &SorchaPeer) -> Option<i64> {
    if !peer.spec.central_nodes.is_empty() {
        return None;
    }
    let namespace = peer.namespace().unwrap_or_default();
    Network::new(&peer.spec.network, &namespace, central_nodes(caches, peer)).head(None)
}

/// What is wrong with a central node that peers have left, where the controller knows it.
pub(super) fn trouble(caches: &Caches, peer: &SorchaPeer, central: &str) -> Option<String> {
    let node = caches.get::<SorchaCentralNode>(&peer.namespace().unwrap_or_default(), central);
    let Some(node) = node.filter(|node| node.metadata.deletion_timestamp.is_none()) else {
        let listed = !peer.spec.central_nodes.is_empty();
        return (!listed).then(|| format!("{central} is deleted"));
    };
    let status = node.status.as_ref()?;
    if status.node.as_ref().is_some_and(|report| report.state == "Draining") {
        return Some(format!("{central} is draining"));
    }
    let ready = status.conditions.iter().find(|condition| condition.type_ == READY)?;
    (ready.status != "True").then(|| format!("{central} is not ready: {}", ready.reason))
}

/// Whether a report is of a pod that is asked for, or exists.
pub(super) fn is_expected(peer: &SorchaPeer, observed: &Observed, report: &PeerReport) -> bool {
    let ordinal = names::ordinal(&peer.name_any(), &report.name);
    ordinal.is_some_and(|ordinal| ordinal < peer.spec.replicas) || observed.pods.contains_key(&report.name)
}
