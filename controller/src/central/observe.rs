//! What is known of a central node and of its network; reads caches only.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    batch::v1::CronJob,
    core::v1::{ConfigMap, Pod, Service},
};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaCentralNode, SorchaPeer, central_node::CentralNodeReport};

use crate::{
    apply::HASH_ANNOTATION,
    cache::Caches,
    config::Settings,
    context::Ctx,
    desired::LINEAGE_ANNOTATION,
    names::{self, Component},
    network::Network,
    pki::{holder::Holder, world::TlsWorld},
    reviews::State,
    workload::{is_of, is_ready, is_running},
};

/// A central node and its surroundings, as the caches show them.
pub(crate) struct CentralWorld {
    pub(super) settings: Arc<Settings>,
    /// A resource of the other kind that has its name.
    pub(super) namesake: Option<Arc<SorchaPeer>>,
    pub(super) stateful_set: Option<Arc<StatefulSet>>,
    pub(super) pod: Option<Arc<Pod>>,
    pub(super) backup: Option<Arc<CronJob>>,
    pub(super) network: Network,
    /// Those of the network whose last report is of a process that runs.
    pub(super) live: BTreeSet<String>,
    /// Services of all of them by name.
    pub(super) services: HashMap<String, Arc<Service>>,
    /// The network's own database server is there.
    pub(super) has_database: bool,
    pub(super) reviews: State,
    pub(super) tls: TlsWorld,
    /// When it is looked at again if nothing happens.
    pub(super) usual: Duration,
}

impl CentralWorld {
    pub(super) fn of(ctx: &Ctx, node: &SorchaCentralNode) -> Self {
        let (caches, name) = (&ctx.caches, node.name_any());
        let network = network(caches, node);
        let namespace = network.namespace.as_str();
        let names = network.nodes.iter().map(|node| node.name_any()).chain([name.clone()]);
        let services: HashMap<_, _> =
            names.filter_map(|name| Some((name.clone(), caches.get::<Service>(namespace, &name)?))).collect();
        let holder = Holder::central(node, services.get(&name).map(|service| &**service));
        let database = caches.get::<StatefulSet>(namespace, &names::managed_mongodb(&network.name));
        let live = network.nodes.iter().filter(|node| live(caches, node).is_some());
        Self {
            settings: Arc::clone(&ctx.settings),
            namesake: caches.get(namespace, &name),
            stateful_set: caches.get(namespace, &name),
            pod: pod(caches, node),
            backup: caches.get(namespace, &names::backup(&name)),
            live: live.map(|node| node.name_any()).collect(),
            has_database: database.is_some(),
            reviews: ctx.reviews.state_of(namespace, &name),
            tls: TlsWorld::of_central(ctx, holder),
            usual: ctx.usual(namespace),
            services,
            network,
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
fn live<'a>(caches: &Caches, node: &'a SorchaCentralNode) -> Option<&'a CentralNodeReport> {
    let report = node.status.as_ref()?.node.as_ref()?;
    is_live(node, report, pod(caches, node).as_deref()).then_some(report)
}

/// The central nodes of the network that a central node belongs to.
fn network(caches: &Caches, node: &SorchaCentralNode) -> Network {
    network_named(caches, &node.namespace().unwrap_or_default(), &node.spec.network)
}

/// The SorchaCentralNode resources of a network in one namespace.
pub(crate) fn nodes_of(caches: &Caches, namespace: &str, network: &str) -> Vec<Arc<SorchaCentralNode>> {
    caches.central_nodes.state_filter(|node| {
        node.metadata.namespace.as_deref() == Some(namespace) && node.spec.network == network
    })
}

/// The central nodes of a network in one namespace, taken together.
pub(crate) fn network_named(caches: &Caches, namespace: &str, name: &str) -> Network {
    let map = caches.get::<ConfigMap>(namespace, &names::network_config_map(name));
    let recorded = map.as_ref().and_then(|map| map.annotations().get(LINEAGE_ANNOTATION));
    Network::new(name, namespace, nodes_of(caches, namespace, name))
        .with_lineage(recorded.map(String::as_str), |node| live(caches, node).is_some())
}
