//! What a resource should have in the cluster: pure builders, one kind a file.
//!
//! A builder reads the spec and what was observed, and nothing else; equal input gives equal objects. Deliberately
//! absent: any call, any time, any look at what exists.

mod backup;
mod config_map;
pub(crate) mod confinement;
mod meta;
mod mongodb;
mod network_policy;
mod node_config;
mod pod;
mod pod_disruption_budget;
mod rbac;
mod service;
mod stateful_set;
mod tls_volume;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    batch::v1::CronJob,
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};

pub(crate) use self::{
    backup::backup,
    config_map::{LINEAGE_ANNOTATION, network_config_map, node_config_map},
    meta::{Owner, controller_reference, shared_reference},
    mongodb::{ManagedServer, managed_server, new_secret},
    network_policy::{admit_controller, central_network_policy, peer_network_policy},
    node_config::{central_config, peer_config},
    pod_disruption_budget::{network_budget, peer_budget},
    service::{central_service, headless_service, peer_service},
    stateful_set::{DATA as VOLUME, Workload, stateful_set},
    tls_volume::Mount,
};

/// The objects of one node resource, in the order in which they are applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    /// Identity of the pods.
    pub service_account: ServiceAccount,
    /// What they may do: report into their own resource's status.
    pub role: Role,
    /// Gives them the role.
    pub role_binding: RoleBinding,
    /// Settings.
    pub config_map: ConfigMap,
    /// Names of the pods.
    pub headless: Service,
    /// Where clients connect.
    pub service: Service,
    /// Who may connect.
    pub network_policy: NetworkPolicy,
    /// How many pods may be away on purpose; central nodes have one for the whole network instead.
    pub budget: Option<PodDisruptionBudget>,
    /// Scheduled backups, where they are asked for.
    pub backup: Option<CronJob>,
    /// The pods.
    pub stateful_set: StatefulSet,
}

/// The objects that the central nodes of a network share, in the order in which they are applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shared {
    /// Endpoints.
    pub config_map: ConfigMap,
    /// One central node at a time may be away on purpose, where budgets are wanted.
    pub budget: Option<PodDisruptionBudget>,
    /// The one-member MongoDB server, where one is asked for.
    pub mongodb: Option<ManagedServer>,
}

/// Identity and rights of a node's pods; `reviews`: they ask what publishers may do.
#[must_use]
pub(crate) fn identity(owner: &Owner, reviews: bool) -> (ServiceAccount, Role, RoleBinding) {
    (rbac::service_account(owner), rbac::role(owner, reviews), rbac::role_binding(owner))
}
