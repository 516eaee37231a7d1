//! What is known of a central node and of its network; reads caches only.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    batch::v1::CronJob,
    core::v1::{ConfigMap, Pod, Service},
};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaCentralNode, central_node::CentralNodeReport};

use crate::{
    apply::HASH_ANNOTATION,
    cache::Caches,
    context::{Ctx, Holder},
    desired::LINEAGE_ANNOTATION,
    names::{self, Component},
    network::Network,
    rollout::{self, Member, Turn},
    workload::{is_of, is_ready, is_running, is_settled},
};

/// One central node in the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    pub(super) stateful_set: Option<Arc<StatefulSet>>,
    pub(super) service: Option<Arc<Service>>,
    pub(super) pod: Option<Arc<Pod>>,
    pub(super) backup: Option<Arc<CronJob>>,
}

impl Observed {
    pub(super) fn of(ctx: &Ctx, node: &SorchaCentralNode) -> Self {
        let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
        Self {
            stateful_set: ctx.caches.get(&namespace, &name),
            service: ctx.caches.get(&namespace, &name),
            backup: ctx.caches.get(&namespace, &names::backup(&name)),
            pod: pod(&ctx.caches, node),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.pod.as_deref().is_some_and(is_ready)
    }

    /// Whether applying this would restart the pod: the template that the pods run is another one.
    pub(super) fn pods_would_change(&self, desired: &StatefulSet) -> bool {
        let Some(held) = &self.stateful_set else { return false };
        let hash = |set: &StatefulSet| set.annotations().get(HASH_ANNOTATION).cloned();
        let held_hash = hash(held);
        held_hash.is_some() && held_hash != crate::apply::hash_of(desired).ok()
    }
}

fn pod(caches: &Caches, node: &SorchaCentralNode) -> Option<Arc<Pod>> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let pod = caches.get::<Pod>(&namespace, &names::pod(&name, 0));
    pod.filter(|pod| is_of(pod, Component::CentralNode, &name))
}

/// Whether a report is of the process that runs; what a dead one said last is no state.
pub(super) fn is_live(node: &SorchaCentralNode, report: &CentralNodeReport, pod: Option<&Pod>) -> bool {
    let started = || {
        let container =
            pod.filter(|pod| is_running(pod))?.status.as_ref()?.container_statuses.as_ref()?.first()?;
        Some(container.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0.as_second())
    };
    // A report from before the container started speaks of its predecessor.
    let is_current =
        |started: i64| report.since.as_ref().is_none_or(|since| since.0.as_second() + 1 >= started);
    started().is_some_and(is_current) && report.name == names::pod(&node.name_any(), 0)
}

/// What a central node's process reports, while it runs.
pub(super) fn live<'a>(caches: &Caches, node: &'a SorchaCentralNode) -> Option<&'a CentralNodeReport> {
    let report = node.status.as_ref()?.node.as_ref()?;
    is_live(node, report, pod(caches, node).as_deref()).then_some(report)
}

/// The central nodes of the network that a central node belongs to.
#[must_use]
pub fn network(caches: &Caches, node: &SorchaCentralNode) -> Network {
    network_named(caches, &node.namespace().unwrap_or_default(), &node.spec.network)
}

/// The central nodes of a network in one namespace.
#[must_use]
pub fn network_named(caches: &Caches, namespace: &str, name: &str) -> Network {
    let nodes = caches.central_nodes.state_filter(|node| {
        node.metadata.namespace.as_deref() == Some(namespace) && node.spec.network == name
    });
    let map = caches.get::<ConfigMap>(namespace, &names::network_config_map(name));
    let recorded = map.as_ref().and_then(|map| map.annotations().get(LINEAGE_ANNOTATION));
    Network::new(name, namespace, nodes)
        .with_lineage(recorded.map(String::as_str), |node| live(caches, node).is_some())
}

/// Whether this central node may change its pod now; if so, the turn is its own until its pod is ready again.
pub(super) fn take_turn(ctx: &Ctx, node: &SorchaCentralNode, network: &Network) -> Turn {
    let member = |node: &SorchaCentralNode| {
        let set = ctx.caches.get::<StatefulSet>(&network.namespace, &node.name_any());
        Member { name: node.name_any(), settled: set.as_deref().is_none_or(is_settled) }
    };
    let me = member(node);
    let others: Vec<Member> =
        network.nodes.iter().filter(|other| other.name_any() != me.name).map(|other| member(other)).collect();
    let mut turns = ctx.turns();
    let held = turns.entry((network.namespace.clone(), network.name.clone())).or_default();
    // A holder that is ready again, as the cache shows it, has had its turn.
    let over = held.as_ref().is_some_and(|holder| {
        let settled = std::iter::once(&me).chain(&others).any(|m| m.name == holder.name && m.settled);
        holder.applied && settled && !ctx.applier.is_behind::<StatefulSet>(&network.namespace, &holder.name)
    });
    if over {
        *held = None;
    }
    let turn = rollout::turn(&me, &others, held.as_ref().map(|holder| holder.name.as_str()));
    if turn == Turn::Now {
        *held = Some(Holder { name: me.name, applied: false });
    }
    turn
}

/// The change that the turn was taken for has been applied.
pub(super) fn turn_is_used(ctx: &Ctx, node: &SorchaCentralNode, network: &Network) {
    let mut turns = ctx.turns();
    if let Some(Some(holder)) = turns.get_mut(&(network.namespace.clone(), network.name.clone()))
        && holder.name == node.name_any()
    {
        holder.applied = true;
    }
}
