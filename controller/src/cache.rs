//! What is known of the cluster: one cache and one watch a kind, shared by all controllers.
//!
//! Everything a reconcile reads comes from here, so that one with nothing to do makes no call. Objects other than the
//! custom resources and pods are watched by the label `managed-by`; field managers' records are not kept.

mod blueprints;

use std::{fmt::Debug, hash::Hash, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
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
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, Store, store::Writer},
        utils::Backoff,
        watcher::{self, DefaultBackoff, watcher},
    },
};
use serde::de::DeserializeOwned;
use sorcha_crds::{SorchaBlueprint, SorchaCentralNode, SorchaPeer};
use tokio::sync::{Notify, mpsc};

use crate::names::{self, Component, label};

/// What every kind that is watched can do.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
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
        )* }

        /// The other ends of the caches, filled by watches or by a test.
        pub struct Writers { $(
            #[doc = concat!("Objects of kind `", stringify!($kind), "`.")]
            pub $field: Writer<$kind>,
        )* }

        /// Empty caches.
        #[must_use]
        pub fn caches() -> (Caches, Writers) {
            $( let $field = reflector::store(); )*
            (Caches { $($field: $field.0),* }, Writers { $($field: $field.1),* })
        }

        impl Caches {
            /// Waits until every cache holds what the cluster holds.
            ///
            /// # Errors
            /// When a watch has ended.
            pub async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
                $( self.$field.wait_until_ready().await?; )*
                Ok(())
            }
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

impl Caches {
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
pub struct Triggers {
    /// Central nodes.
    pub central: mpsc::UnboundedSender<ObjectRef<SorchaCentralNode>>,
    /// Peers.
    pub peer: mpsc::UnboundedSender<ObjectRef<SorchaPeer>>,
    /// Blueprints.
    pub blueprint: mpsc::UnboundedSender<ObjectRef<SorchaBlueprint>>,
    /// Told when a central node comes, changes or goes.
    pub nodes: Arc<Notify>,
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
    fn touch_by_secret(&self, caches: &Caches, secret: &Secret) {
        let labels = secret.labels();
        if labels.get(label::COMPONENT).is_none_or(|component| component != names::AUTHORITY) {
            return self.touch_resource_of(secret);
        }
        let (Some(namespace), Some(network)) = (secret.namespace(), labels.get(label::NETWORK)) else {
            return;
        };
        for node in caches.central_nodes.state() {
            if node.namespace().as_ref() == Some(&namespace) && node.spec.network == *network {
                self.touch(Component::CentralNode, &namespace, &node.name_any());
            }
        }
        for peer in caches.peers.state() {
            if peer.namespace().as_ref() == Some(&namespace) && peer.spec.network == *network {
                self.touch(Component::Peer, &namespace, &peer.name_any());
            }
        }
    }

    /// A central node, the others of its network, which share endpoints and take turns, and the blueprints that wait for
    /// one or spread. Settled ones are left alone: central nodes report often, and there may be many blueprints.
    fn touch_network(&self, caches: &Caches, node: &SorchaCentralNode) {
        let Some(namespace) = node.namespace() else { return };
        self.nodes.notify_one();
        self.touch(Component::CentralNode, &namespace, &node.name_any());
        for other in caches.central_nodes.state() {
            if other.namespace().as_ref() == Some(&namespace) && other.spec.network == node.spec.network {
                self.touch(Component::CentralNode, &namespace, &other.name_any());
            }
        }
        self.touch_blueprints(caches, &namespace, &node.spec.network);
    }
}

/// Objects that one page of a list holds: a page is parsed as a whole, and thirteen kinds are listed at once.
const PAGE: u32 = 100;

/// The library's delays before a watch is tried again, but none longer than this: they grow to a minute, and when the API
/// server is back, all statuses would wait for it. One process has thirteen watches, so that the limit is no load.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

struct Retry(DefaultBackoff);

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|delay| delay.min(LONGEST_RETRY))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Watches one kind into its cache; yields what changed, for ever.
fn watch<K: Watched>(
    client: &Client,
    namespace: Option<&str>,
    selector: Option<&str>,
    writer: Writer<K>,
    strip: fn(&mut K),
) -> impl Stream<Item = K> + Send + 'static {
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut config = watcher::Config::default().page_size(PAGE);
    if let Some(selector) = selector {
        config = config.labels(selector);
    }
    watcher(api, config)
        .backoff(Retry(DefaultBackoff::default()))
        .modify(move |object| {
            object.managed_fields_mut().clear();
            strip(object);
        })
        .reflect(writer)
        .touched_objects()
        .filter_map(|event| async {
            event
                .inspect_err(
                    |error| tracing::warn!(%error, kind = %K::kind(&()), "watch failed; trying again"),
                )
                .ok()
        })
}

/// Of a pod only its state is read.
fn strip_pod(pod: &mut Pod) {
    pod.spec = None;
    pod.metadata.annotations = None;
    if let Some(status) = &mut pod.status {
        status.pod_ips = None;
        status.host_ips = None;
    }
}

fn keep<K>(_: &mut K) {}

/// Fills the caches and tells what to look at again, for ever.
pub async fn run(
    client: Client,
    namespace: Option<String>,
    caches: Caches,
    writers: Writers,
    triggers: Triggers,
) {
    let namespace = namespace.as_deref();
    macro_rules! owned {
        ($field:ident) => {{
            let triggers = triggers.clone();
            watch(&client, namespace, Some(names::SELECTOR), writers.$field, keep).for_each(move |object| {
                triggers.touch_owners(&object);
                async {}
            })
        }};
    }
    let central_nodes = watch(&client, namespace, None, writers.central_nodes, keep).for_each(|node| {
        triggers.touch_network(&caches, &node);
        async {}
    });
    let peers = watch(&client, namespace, None, writers.peers, keep).for_each(|peer| {
        triggers.touch(Component::Peer, &peer.namespace().unwrap_or_default(), &peer.name_any());
        async {}
    });
    let blueprints = watch(&client, namespace, None, writers.blueprints, keep).for_each(|blueprint| {
        triggers.touch_blueprint(&blueprint);
        async {}
    });
    let pods = watch(&client, namespace, Some(names::SELECTOR), writers.pods, strip_pod).for_each(|pod| {
        triggers.touch_resource_of(&pod);
        async {}
    });
    let secrets =
        watch(&client, namespace, Some(names::SELECTOR), writers.secrets, keep).for_each(|secret| {
            triggers.touch_by_secret(&caches, &secret);
            async {}
        });
    futures::join!(
        secrets,
        central_nodes,
        peers,
        blueprints,
        pods,
        owned!(service_accounts),
        owned!(roles),
        owned!(role_bindings),
        owned!(config_maps),
        owned!(services),
        owned!(network_policies),
        owned!(budgets),
        owned!(stateful_sets),
        owned!(cron_jobs),
    );
}
