//! From the spec of a peer resource to its objects; pure.

use sorcha_crds::{SorchaPeer, tls::CaKeyRef};

use crate::{
    config::Settings,
    desired::{
        self, Desired, Mount, Owner, Workload, headless_service, peer_budget, peer_config,
        peer_network_policy, peer_service, stateful_set,
    },
    names::Component,
    pki::holder::peer_mount,
};

/// Seconds between SIGTERM and SIGKILL: a peer only has to flush its replica.
const GRACE: i64 = 15;

/// The objects of one peer resource.
pub(super) fn peer(settings: &Settings, peer: &SorchaPeer) -> Desired {
    let desired = desired(peer, &settings.node_image, &settings.node_image_pull_policy);
    let budget = desired.budget.filter(|_| settings.disruption_budgets);
    Desired { budget, ..desired }
}

/// The authorities of the listed central nodes that have one of their own.
fn authorities(peer: &SorchaPeer) -> Vec<(usize, CaKeyRef)> {
    let listed = peer.spec.central_nodes.iter().enumerate();
    listed.filter_map(|(place, node)| Some((place, node.ca_secret_ref.clone()?))).collect()
}

/// The objects of one peer resource, with the image for a spec that names none.
pub(super) fn desired(peer: &SorchaPeer, image: &str, image_pull_policy: &str) -> Desired {
    let spec = &peer.spec;
    let owner = Owner::of(Component::Peer, peer, &spec.network);
    let tls = peer_mount(peer);
    let config = peer_config(&owner, spec, tls.is_some());
    let image = spec.image.as_deref().unwrap_or(image);
    let policy = spec.image_pull_policy.map_or(image_pull_policy, |policy| policy.as_str());
    let (service_account, role, role_binding) = desired::identity(&owner, false);
    Desired {
        backup: None,
        stateful_set: stateful_set(&owner, &workload(peer, [image, policy], &config, tls.as_ref())),
        config_map: desired::node_config_map(&owner, config.clone(), spec.force_resync.clone()),
        headless: headless_service(&owner, tls.is_some()),
        service: peer_service(&owner, tls.is_some()),
        network_policy: peer_network_policy(&owner, tls.is_some(), &spec.http_from),
        budget: Some(peer_budget(&owner)),
        service_account,
        role,
        role_binding,
    }
}

fn workload<'a>(
    peer: &'a SorchaPeer,
    [image, image_pull_policy]: [&'a str; 2],
    config: &'a str,
    tls: Option<&'a Mount>,
) -> Workload<'a> {
    let spec = &peer.spec;
    let mongodb = spec.store.mongodb.as_ref();
    Workload {
        replicas: spec.replicas,
        image,
        image_pull_policy,
        resources: spec.resources.as_ref(),
        overrides: &spec.pod,
        config,
        storage: spec.store.embedded.as_ref().map(|embedded| &embedded.storage),
        deletion_policy: spec.deletion_policy,
        mongodb_uri: mongodb.map(|mongodb| mongodb.uri_secret_ref.clone()),
        tls,
        authorities: authorities(peer),
        publishers: None,
        env: Workload::peer_env(mongodb.map(|mongodb| mongodb.database_prefix.as_str())),
        grace_seconds: GRACE,
    }
}
