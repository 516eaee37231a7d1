//! What is known of a peer resource; reads caches and memories only.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaCentralNode, SorchaPeer, conditions::READY, peer::PeerReport};

use super::Places;
use crate::{
    cache::Caches,
    central,
    config::Settings,
    context::Ctx,
    names::{self, Component},
    network::Network,
    pki::{holder::Holder, world::TlsWorld},
    workload::{is_of, is_ready},
};

/// Peers and their surroundings, as the caches show them.
pub(crate) struct PeerWorld {
    pub(super) settings: Arc<Settings>,
    /// A resource of the other kind that has its name.
    pub(super) namesake: Option<Arc<SorchaCentralNode>>,
    pub(super) stateful_set: Option<Arc<StatefulSet>>,
    /// Pods by name.
    pub(super) pods: BTreeMap<String, Arc<Pod>>,
    /// Ready ones of these.
    pub(super) ready: i32,
    /// The central nodes that are published for these peers. Those that are listed are anywhere: nothing is known of them.
    pub(super) network: Network,
    /// Where the peers were seen last, if they were.
    pub(super) places: Option<Arc<Places>>,
    /// Central nodes there.
    pub(super) centrals: BTreeMap<String, Arc<SorchaCentralNode>>,
    pub(super) tls: TlsWorld,
    /// When they are looked at again if nothing happens.
    pub(super) usual: Duration,
}

impl PeerWorld {
    pub(super) fn of(ctx: &Ctx, peer: &SorchaPeer) -> Self {
        let (namespace, name) = (peer.namespace().unwrap_or_default(), peer.name_any());
        let stateful_set: Option<Arc<StatefulSet>> = ctx.caches.get(&namespace, &name);
        let pods = pods(&ctx.caches, peer, stateful_set.as_deref());
        let ready = pods.values().filter(|pod| is_ready(pod)).count();
        let network = Network::new(&peer.spec.network, &namespace, central_nodes(&ctx.caches, peer));
        let places = ctx.places.last(&peer.uid().unwrap_or_default());
        let central = |name: &String| Some((name.clone(), ctx.caches.get(&namespace, name)?));
        let known = places.iter().flat_map(|places| places.values());
        Self {
            settings: Arc::clone(&ctx.settings),
            namesake: ctx.caches.get(&namespace, &name),
            stateful_set,
            ready: i32::try_from(ready).unwrap_or(i32::MAX),
            pods,
            centrals: known.filter_map(|place| place.central.as_ref()).filter_map(central).collect(),
            places,
            tls: TlsWorld::of_peers(ctx, Holder::peer(peer), &network),
            network,
            usual: ctx.usual(&namespace),
        }
    }

    /// What is wrong with a central node that peers have left, where the controller knows it.
    pub(super) fn trouble(&self, peer: &SorchaPeer, central: &str) -> Option<String> {
        let node = self.centrals.get(central);
        let Some(node) = node.filter(|node| node.metadata.deletion_timestamp.is_none()) else {
            let is_listed = !peer.spec.central_nodes.is_empty();
            return (!is_listed).then(|| format!("{central} is deleted"));
        };
        let status = node.status.as_ref()?;
        if status.node.as_ref().is_some_and(|report| report.state == "Draining") {
            return Some(format!("{central} is draining"));
        }
        let ready = status.conditions.iter().find(|condition| condition.type_ == READY)?;
        (ready.status != "True").then(|| format!("{central} is not ready: {}", ready.reason))
    }

    /// Whether a report is of a pod that is asked for, or exists.
    pub(super) fn is_expected(&self, peer: &SorchaPeer, report: &PeerReport) -> bool {
        let ordinal = names::ordinal(&peer.name_any(), &report.name);
        ordinal.is_some_and(|ordinal| ordinal < peer.spec.replicas) || self.pods.contains_key(&report.name)
    }
}

fn pods(caches: &Caches, peer: &SorchaPeer, set: Option<&StatefulSet>) -> BTreeMap<String, Arc<Pod>> {
    let (namespace, name) = (peer.namespace().unwrap_or_default(), peer.name_any());
    let held = set.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
    let reported = peer.status.iter().flat_map(|status| &status.nodes).map(|report| report.name.clone());
    let by_ordinal = (0..held.max(peer.spec.replicas)).map(|ordinal| names::pod(&name, ordinal));
    by_ordinal
        .chain(reported.filter(|pod| names::ordinal(&name, pod).is_some()))
        .filter_map(|pod| Some((pod.clone(), caches.get::<Pod>(&namespace, &pod)?)))
        .filter(|(_, pod)| is_of(pod, Component::Peer, &name))
        .collect()
}

fn central_nodes(caches: &Caches, peer: &SorchaPeer) -> Vec<Arc<SorchaCentralNode>> {
    if !peer.spec.central_nodes.is_empty() {
        return Vec::new();
    }
    central::nodes_of(caches, &peer.namespace().unwrap_or_default(), &peer.spec.network)
}
