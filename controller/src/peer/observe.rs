//! What is known of a peer resource's pods; reads caches only.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaCentralNode, SorchaPeer};

use crate::{cache::Caches, context::Ctx, names, workload::is_ready};

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
            .chain(reported)
            .filter_map(|pod| Some((pod.clone(), ctx.caches.get::<Pod>(&namespace, &pod)?)))
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

/// Pods that reported, are not asked for any more, and do not exist.
pub(super) fn gone(peer: &SorchaPeer, observed: &Observed) -> Vec<String> {
    let wanted = |pod: &str| names::ordinal(&peer.name_any(), pod).is_some_and(|o| o < peer.spec.replicas);
    let reports = peer.status.iter().flat_map(|status| &status.nodes);
    reports
        .map(|report| report.name.clone())
        .filter(|pod| !wanted(pod) && !observed.pods.contains_key(pod))
        .collect()
}
