//! From the spec of a central node to its objects; pure.

use std::sync::Arc;

use k8s_openapi::api::{core::v1::Service, policy::v1::PodDisruptionBudget};
use sorcha_crds::{
    SorchaCentralNode,
    central_node::ServiceType,
    shared::{DeletionPolicy, SecretKeyRef},
};

use crate::{
    config::Settings,
    desired::{
        self, Desired, Mount, Owner, Shared, Workload, admit_controller, central_config,
        central_network_policy, central_service, headless_service, managed_server, network_budget,
        network_config_map, shared_reference, stateful_set,
    },
    names::{self, Component},
    network::{self, Network},
    pki::holder::central_mount,
};

/// Seconds that a node has beyond its drain.
const GRACE_BEYOND_DRAIN: i64 = 15;

/// The objects of one central node.
pub(super) fn node(settings: &Settings, node: &SorchaCentralNode) -> Desired {
    let may_review = settings.node_reviews_binding.is_some();
    let mut desired = desired(node, &settings.node_image, &settings.node_image_pull_policy, may_review);
    if let Some(namespace) = &settings.publisher_service_account_namespace {
        admit_controller(&mut desired.network_policy, namespace);
    }
    desired
}

/// The objects of one central node, with the image for a spec that names none.
pub(super) fn desired(
    node: &SorchaCentralNode,
    image: &str,
    image_pull_policy: &str,
    may_review: bool,
) -> Desired {
    let spec = &node.spec;
    let owner = Owner::of(Component::CentralNode, node, &spec.network);
    let tls = central_mount(node);
    let config = central_config(&owner, spec, &network::hostname(node), may_review, tls.is_some());
    let reviews = may_review && spec.publishers.kubernetes.enabled;
    let (service_account, role, role_binding) = desired::identity(&owner, reviews);
    let image = spec.image.as_deref().unwrap_or(image);
    let policy = spec.image_pull_policy.map_or(image_pull_policy, |policy| policy.as_str());
    let is_open = spec.service.type_ != ServiceType::ClusterIP;
    Desired {
        backup: spec.backup.as_ref().map(|wanted| desired::backup(&owner, wanted, image, policy)),
        stateful_set: stateful_set(&owner, &workload(node, [image, policy], &config, tls.as_ref())),
        headless: headless_service(&owner, tls.is_some()),
        service: central_service(&owner, &spec.service, tls.is_some()),
        network_policy: central_network_policy(&owner, is_open, tls.is_some(), &spec.http_from),
        config_map: desired::node_config_map(&owner, config, None),
        budget: None,
        service_account,
        role,
        role_binding,
    }
}

fn workload<'a>(
    node: &'a SorchaCentralNode,
    [image, image_pull_policy]: [&'a str; 2],
    config: &'a str,
    tls: Option<&'a Mount>,
) -> Workload<'a> {
    let spec = &node.spec;
    Workload {
        replicas: 1,
        image,
        image_pull_policy,
        resources: spec.resources.as_ref(),
        overrides: &spec.pod,
        config,
        storage: spec.store.embedded.as_ref().map(|embedded| &embedded.storage),
        deletion_policy: spec.deletion_policy,
        mongodb_uri: mongodb_uri(node),
        tls,
        authorities: Vec::new(),
        publishers: spec.publishers.tokens_secret_ref.clone(),
        env: Vec::new(),
        grace_seconds: grace_seconds(&spec.drain.timeout),
    }
}

fn grace_seconds(drain: &str) -> i64 {
    // The schema has checked the duration.
    let drain = humantime::parse_duration(drain).unwrap_or_default();
    i64::try_from(drain.as_secs()).unwrap_or_default() + GRACE_BEYOND_DRAIN
}

/// The Secret key with the connection string: the user's, or the managed server's.
fn mongodb_uri(node: &SorchaCentralNode) -> Option<SecretKeyRef> {
    let mongodb = node.spec.store.mongodb.as_ref()?;
    let managed = || SecretKeyRef { name: names::managed_mongodb(&node.spec.network), key: "uri".to_owned() };
    Some(mongodb.uri_secret_ref.clone().unwrap_or_else(managed))
}

/// The objects that the network's central nodes share.
pub(super) fn shared(
    settings: &Settings,
    network: &Network,
    service: impl Fn(&str) -> Option<Arc<Service>>,
) -> Shared {
    let external = network.external(service);
    Shared {
        config_map: network_config_map(
            &central_owner(network),
            &network.internal(),
            &external,
            network.lineage.as_ref().map(|lineage| lineage.lineage.as_str()),
        ),
        budget: settings.disruption_budgets.then(|| budget(network)),
        mongodb: network.managed().map(|(_, server)| {
            managed_server(&mongodb_owner(network), server, managed_deletion_policy(network))
        }),
    }
}

/// The budget of the network's central nodes, whether it is wanted or not.
pub(super) fn budget(network: &Network) -> PodDisruptionBudget {
    network_budget(&central_owner(network))
}

fn central_owner(network: &Network) -> Owner {
    network_owner(network, Component::CentralNode, network.name.clone())
}

/// The shared database is kept while any central node wants that.
pub(super) fn managed_deletion_policy(network: &Network) -> DeletionPolicy {
    let keeps = |node: &SorchaCentralNode| node.spec.deletion_policy == DeletionPolicy::Retain;
    if network.nodes.iter().any(|node| keeps(node)) { DeletionPolicy::Retain } else { DeletionPolicy::Delete }
}

/// Owner of the managed MongoDB server: all central nodes of the network.
pub(super) fn mongodb_owner(network: &Network) -> Owner {
    network_owner(network, Component::MongoDb, names::managed_mongodb(&network.name))
}

fn network_owner(network: &Network, component: Component, name: String) -> Owner {
    Owner {
        component,
        name,
        namespace: network.namespace.clone(),
        network: network.name.clone(),
        references: network.nodes.iter().map(|node| shared_reference(&**node)).collect(),
    }
}
