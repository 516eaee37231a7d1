//! Names and labels of what the controller makes; pure.

use std::collections::BTreeMap;

/// Which kind of node a resource describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Component {
    /// `SorchaCentralNode`
    CentralNode,
    /// `SorchaPeer`
    Peer,
    /// The one-member MongoDB server of a network
    MongoDb,
}

impl Component {
    /// Value of the label `app.kubernetes.io/component`.
    #[must_use]
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::CentralNode => "central-node",
            Self::Peer => "peer",
            Self::MongoDb => "mongodb",
        }
    }

    /// Plural of the custom resource.
    #[must_use]
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Peer => "sorchapeers",
            Self::CentralNode | Self::MongoDb => "sorchacentralnodes",
        }
    }
}

/// Label keys.
pub(crate) mod label {
    /// Program.
    pub(crate) const NAME: &str = "app.kubernetes.io/name";
    /// Resource that an object belongs to.
    pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
    /// Kind of node.
    pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";
    /// Whole that it belongs to.
    pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of";
    /// Who makes it; the controller watches objects with this label only.
    pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Network.
    pub(crate) const NETWORK: &str = "sorcha.dev/network";
}

/// Keys of a Secret with a certificate.
pub(crate) mod tls_key {
    /// Certificate.
    pub(crate) const CERTIFICATE: &str = "tls.crt";
    /// Its key.
    pub(crate) const KEY: &str = "tls.key";
    /// Authorities that are trusted.
    pub(crate) const TRUST: &str = "ca.crt";
}

/// Value of the label `managed-by`.
pub(crate) const MANAGER: &str = "sorcha-controller";
/// Selector of everything that the controller makes.
pub(crate) const SELECTOR: &str = "app.kubernetes.io/managed-by=sorcha-controller";
/// Port of gRPC (protocol section 1).
pub(crate) const GRPC_PORT: i32 = 5000;
/// Port of HTTP (protocol section 1).
pub(crate) const HTTP_PORT: i32 = 8080;
/// Port of HTTP over TLS.
pub(crate) const HTTPS_PORT: i32 = 8443;
/// Port of the probes, which no load on the others delays.
pub(crate) const PROBES_PORT: i32 = 8081;
/// Port of MongoDB.
pub(crate) const MONGODB_PORT: i32 = 27017;

/// Labels that select the pods of a resource; they never change.
#[must_use]
pub(crate) fn selector(component: Component, instance: &str) -> BTreeMap<String, String> {
    let name = if component == Component::MongoDb { "mongodb" } else { "sorcha-node" };
    [(label::NAME, name), (label::INSTANCE, instance), (label::COMPONENT, component.label())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels of every object of a resource.
#[must_use]
pub(crate) fn labels(component: Component, instance: &str, network: &str) -> BTreeMap<String, String> {
    let mut labels = selector(component, instance);
    for (key, value) in [(label::PART_OF, "sorcha"), (label::MANAGED_BY, MANAGER), (label::NETWORK, network)]
    {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// A selector as `kubectl` writes it.
#[must_use]
pub(crate) fn selector_text(component: Component, instance: &str) -> String {
    let pairs: Vec<String> =
        selector(component, instance).iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// The headless Service that gives pods their names.
#[must_use]
pub(crate) fn headless(instance: &str) -> String {
    format!("{instance}-headless")
}

/// The ConfigMap with a network's central nodes.
#[must_use]
pub(crate) fn network_config_map(network: &str) -> String {
    format!("sorcha-central-nodes.{network}")
}

/// The PodDisruptionBudget over a network's central nodes.
#[must_use]
pub(crate) fn network_budget(network: &str) -> String {
    format!("sorcha-central-nodes.{network}")
}

/// The one-member MongoDB server of a network, its Service and its Secret.
#[must_use]
pub(crate) fn managed_mongodb(network: &str) -> String {
    format!("{}-mongodb", network.replace('.', "-"))
}

/// The authority of a network: the Secret with its key, and the ConfigMap with its certificate.
#[must_use]
pub fn authority(network: &str) -> String {
    format!("sorcha-ca.{network}")
}

/// Value of the label `app.kubernetes.io/component` of a network's authority.
pub(crate) const AUTHORITY: &str = "certificate-authority";

/// Labels of a network's authority.
#[must_use]
pub(crate) fn authority_labels(network: &str) -> BTreeMap<String, String> {
    let mut labels = labels(Component::CentralNode, network, network);
    for (key, value) in [(label::NAME, "sorcha-authority"), (label::COMPONENT, AUTHORITY)] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// The Secret with the certificate that the controller makes.
#[must_use]
pub(crate) fn tls_secret(instance: &str) -> String {
    format!("{instance}-tls")
}

/// The Secret with the certificate that cert-manager makes: another one, so that a change of mode takes nothing over.
#[must_use]
pub(crate) fn cert_manager_secret(instance: &str) -> String {
    format!("{instance}-cert-manager-tls")
}

/// The ConfigMap with the authorities that a resource trusts, where its certificate comes from elsewhere.
#[must_use]
pub(crate) fn trust_config_map(instance: &str) -> String {
    format!("{instance}-trust")
}

/// CronJob of a central node's backups.
#[must_use]
pub(crate) fn backup(instance: &str) -> String {
    format!("{instance}-backup")
}

/// Pod of an ordinal.
#[must_use]
pub fn pod(instance: &str, ordinal: i32) -> String {
    format!("{instance}-{ordinal}")
}

/// Ordinal of a resource's pod, of a name that a StatefulSet gives.
#[must_use]
pub(crate) fn ordinal(instance: &str, name: &str) -> Option<i32> {
    let ordinal = name.strip_prefix(instance)?.strip_prefix('-')?.parse().ok()?;
    (ordinal >= 0 && pod(instance, ordinal) == name).then_some(ordinal)
}

/// Name by which a Service is reached from any namespace of the cluster.
#[must_use]
pub(crate) fn service_host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}
