//! What is known of the cluster: one cache and one watch a kind, shared by all controllers.
//!
//! Everything a reconcile reads comes from here, so that one with nothing to do makes no call. Objects other than the
//! custom resources and pods are watched by the label `managed-by`; field managers' records and documents are not kept.

mod blueprints;
mod budget;
mod networks;
mod strip;
mod tap;

use std::{fmt::Debug, hash::Hash, sync::Arc, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        batch::v1::CronJob,
        core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Client, Resource, ResourceExt as _,
    runtime::reflector::{self, ObjectRef, Store, store::Writer},
};
use serde::{Serialize, de::DeserializeOwned};
use sorcha_crds::{SorchaBlueprint, SorchaCentralNode, SorchaPeer};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};

pub(crate) use self::networks::Networks;
use self::{
    budget::Budget,
    networks::Concerned,
    strip::{keep, strip_config_map, strip_pod, strip_resource, strip_secret},
    tap::Tap,
};
use crate::{
    feed::unreadable::Unreadables,
    metrics::Metrics,
    names::{self, Component, label},
};

/// What every kind that is watched can do.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// A kind with a cache.
pub trait Cached: Watched {
    /// Its cache.
    fn store(caches: &Caches) -> &Store<Self>;
}

macro_rules! caches {
    ($($field:ident: $kind:ty),* $(,)?) => {
        /// The caches.
        #[derive(Clone)]
        pub struct Caches { $(
            #[doc = concat!("Objects of kind `", stringify!($kind), "`.")]
            pub $field: Store<$kind>,
        )*
            /// Objects that can't be read.
            pub(crate) unreadables: Arc<Unreadables>,
            /// What is kept of each namespace.
            budget: Arc<Budget>,
        }

        /// The other ends of the caches, filled by watches or by a test.
        pub(crate) struct Writers { $(
            #[doc = concat!("Objects of kind `", stringify!($kind), "`.")]
            pub $field: Writer<$kind>,
        )* }

        /// Empty caches.
        #[must_use]
        pub(crate) fn caches() -> (Caches, Writers) {
            $( let $field = reflector::store(); )*
            (
                Caches { $($field: $field.0,)* unreadables: Arc::default(), budget: Arc::default() },
                Writers { $($field: $field.1),* },
            )
        }

        $( impl Cached for $kind {
            fn store(caches: &Caches) -> &Store<Self> { &caches.$field }
        } )*
    };
}

caches! {
    central_nodes: SorchaCentralNode,
    peers: SorchaPeer,
    blueprints: SorchaBlueprint,
    service_accounts: ServiceAccount,
    roles: Role,
    role_bindings: RoleBinding,
    config_maps: ConfigMap,
    secrets: Secret,
    services: Service,
    network_policies: NetworkPolicy,
    budgets: PodDisruptionBudget,
    stateful_sets: StatefulSet,
    cron_jobs: CronJob,
    pods: Pod,
}

/// How long is waited for a kind that a reconcile can do without.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for the caches that are named first, and a while for the others.
macro_rules! wait {
    ($caches:ident: $($needed:ident),+; $($useful:ident),+) => {
        // A watch never ends; a cache whose watch is gone is never ready.
        let needed = async { $( $caches.$needed.wait_until_ready().await.is_ok() && )+ true };
        let useful = async { $( $caches.$useful.wait_until_ready().await.is_ok() && )+ true };
        let (needed, useful) = tokio::join!(needed, timeout(PATIENCE, useful));
        if useful.is_err() {
            tracing::warn!("not all kinds can be listed; going on with those that can");
        }
        if !needed {
            std::future::pending::<()>().await;
        }
    };
}

impl Caches {
    /// Waits until nodes can be reconciled: before these are known, pods would restart out of turn, and certificates would
    /// look as if they were missing. Without the others each look applies them again.
    pub(crate) async fn ready_for_nodes(&self) {
        wait!(self: central_nodes, peers, config_maps, secrets, services, stateful_sets, pods;
            service_accounts, roles, role_bindings, network_policies, budgets, cron_jobs);
    }

    /// Waits until blueprints can be reconciled. Services and Secrets tell where central nodes are and what proves it.
    pub(crate) async fn ready_for_blueprints(&self) {
        wait!(self: central_nodes, blueprints; services, secrets);
    }

    /// An object by name.
    #[must_use]
    pub fn get<K: Cached>(&self, namespace: &str, name: &str) -> Option<Arc<K>>
    where
        K::DynamicType: Hash + Eq,
    {
        K::store(self).get(&ObjectRef::new(name).within(namespace))
    }
}

/// Which resources are to be looked at again.
#[derive(Clone, Debug)]
pub(crate) struct Triggers {
    /// Central nodes.
    pub central: mpsc::UnboundedSender<ObjectRef<SorchaCentralNode>>,
    /// Peers.
    pub peer: mpsc::UnboundedSender<ObjectRef<SorchaPeer>>,
    /// Blueprints.
    pub blueprint: mpsc::UnboundedSender<ObjectRef<SorchaBlueprint>>,
    /// Told when a central node, or the ServiceAccount of one, comes, changes or goes.
    pub nodes: Arc<Notify>,
    /// Networks that have changed.
    pub networks: Arc<Networks>,
}

impl Triggers {
    fn touch(&self, component: Component, namespace: &str, name: &str) {
        // A receiver that is gone means that the controller is stopping.
        let _stopping = match component {
            Component::CentralNode => self.central.send(ObjectRef::new(name).within(namespace)).is_err(),
            Component::Peer => self.peer.send(ObjectRef::new(name).within(namespace)).is_err(),
            Component::MongoDb => false,
        };
    }

    /// The resources that own an object.
    fn touch_owners<K: Watched>(&self, object: &K) {
        let Some(namespace) = object.namespace() else { return };
        for owner in object.owner_references() {
            if owner.kind == SorchaCentralNode::kind(&()) {
                self.touch(Component::CentralNode, &namespace, &owner.name);
            } else if owner.kind == SorchaPeer::kind(&()) {
                self.touch(Component::Peer, &namespace, &owner.name);
            }
        }
    }

    /// The resource that an object is for, as its labels say.
    fn touch_resource_of<K: Watched>(&self, object: &K) {
        let labels = object.labels();
        let (Some(namespace), Some(instance)) = (object.namespace(), labels.get(label::INSTANCE)) else {
            return;
        };
        for component in [Component::CentralNode, Component::Peer] {
            if labels.get(label::COMPONENT).is_some_and(|value| value == component.label()) {
                self.touch(component, &namespace, instance);
            }
        }
    }

    /// All central nodes.
    pub(crate) fn touch_central_nodes(&self, caches: &Caches) {
        for node in caches.central_nodes.state() {
            self.touch(Component::CentralNode, &node.namespace().unwrap_or_default(), &node.name_any());
        }
    }

    /// The resource that a Secret is for; all of a network, when it is their authority's. Those that cert-manager fills are
    /// not owned by the resource.
    fn touch_by_secret(&self, secret: &Secret) {
        let labels = secret.labels();
        if labels.get(label::COMPONENT).is_none_or(|component| component != names::AUTHORITY) {
            return self.touch_resource_of(secret);
        }
        let (Some(namespace), Some(network)) = (secret.namespace(), labels.get(label::NETWORK)) else {
            return;
        };
        self.networks.changed(&namespace, network, Concerned::All);
    }

    /// A central node, the others of its network, which share endpoints and take turns, and the blueprints that wait for
    /// one or spread.
    fn touch_network(&self, node: &SorchaCentralNode) {
        let Some(namespace) = node.namespace() else { return };
        self.nodes.notify_one();
        self.touch(Component::CentralNode, &namespace, &node.name_any());
        self.networks.changed(&namespace, &node.spec.network, Concerned::CentralNodes);
    }
}

/// Fills the caches and tells what to look at again, for ever.
pub(crate) async fn run(
    client: Client,
    namespace: Option<String>,
    caches: Caches,
    writers: Writers,
    triggers: Triggers,
    metrics: Metrics,
) {
    let tap = Tap { client: &client, namespace: namespace.as_deref(), caches: &caches, metrics: &metrics };
    macro_rules! owned {
        ($field:ident, $strip:expr) => {
            tap.follow(Some(names::SELECTOR), writers.$field, $strip, |object| triggers.touch_owners(object))
        };
    }
    futures::join!(
        triggers.follow_networks(&caches),
        tap.follow(None, writers.central_nodes, strip_resource, |node| triggers.touch_network(node)),
        tap.follow(None, writers.peers, strip_resource, |peer| {
            triggers.touch(Component::Peer, &peer.namespace().unwrap_or_default(), &peer.name_any());
        }),
        tap.follow(None, writers.blueprints, strip_resource, |blueprint| triggers.touch_blueprint(blueprint)),
        tap.follow(Some(names::SELECTOR), writers.pods, strip_pod, |pod| triggers.touch_resource_of(pod)),
        tap.follow(Some(names::SELECTOR), writers.secrets, strip_secret, |secret| {
            triggers.touch_by_secret(secret);
        }),
        tap.follow(Some(names::SELECTOR), writers.service_accounts, keep, |account| {
            triggers.nodes.notify_one();
            triggers.touch_owners(account);
        }),
        owned!(roles, keep),
        owned!(role_bindings, keep),
        owned!(config_maps, strip_config_map),
        owned!(services, keep),
        owned!(network_policies, keep),
        owned!(budgets, keep),
        owned!(stateful_sets, keep),
        owned!(cron_jobs, keep),
    );
}
