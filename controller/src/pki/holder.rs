//! The resource that a certificate is for, and the others of its network; reads caches only.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Secret, Service},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{ResourceExt as _, api::ObjectMeta};
use sorcha_crds::{
    ROTATE_CERTIFICATE_ANNOTATION, SorchaCentralNode, SorchaPeer,
    tls::{Tls, TlsMode, TrustSource},
};

use super::{identity, secret, x509::Names};
use crate::{
    cache::{Cached, Caches},
    desired::{Mount, controller_reference, shared_reference},
    names::{self, Component},
    network,
};

/// An authority's Secret names at most this many owners: with thousands of peers, each new one would write it.
const OWNERS: usize = 8;

/// A resource whose nodes need a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    /// Kind of node.
    pub component: Component,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its network.
    pub network: String,
    /// What the spec says.
    pub tls: Tls,
    /// Names that its certificate stands for.
    pub names: Names,
    /// Host that it must stand for, whoever makes it.
    pub host: Option<String>,
    /// Request for renewal.
    pub token: Option<String>,
    /// Owner of its objects.
    pub owner: OwnerReference,
    /// Further authorities that it trusts.
    pub trust: Vec<TrustSource>,
    /// Authorities that it trusts for one central node each. Its pods mount them; here it only matters that they are there.
    pub listed: Vec<TrustSource>,
}

fn token(object: &impl kube::ResourceExt) -> Option<String> {
    let value = object.annotations().get(ROTATE_CERTIFICATE_ANNOTATION)?;
    (!value.is_empty()).then(|| secret::token(value))
}

impl Holder {
    /// A central node. Its Service's address is one of its names as soon as it is known.
    #[must_use]
    pub(crate) fn central(node: &SorchaCentralNode, service: Option<&Service>) -> Self {
        let (name, namespace) = (node.name_any(), node.namespace().unwrap_or_default());
        let mut hosts = identity::cluster_hosts(&name, &namespace);
        hosts.push(network::hostname(node));
        hosts.extend(network::external(node, &namespace, service).map(|endpoint| endpoint.host));
        Self {
            component: Component::CentralNode,
            names: identity::central(&node.spec.network, &namespace, &name, &hosts),
            host: Some(names::service_host(&name, &namespace)),
            network: node.spec.network.clone(),
            tls: node.spec.tls.clone(),
            token: token(node),
            owner: controller_reference(node),
            trust: node.spec.tls.trust.clone(),
            listed: Vec::new(),
            name,
            namespace,
        }
    }

    /// Peers.
    #[must_use]
    pub(crate) fn peer(peer: &SorchaPeer) -> Self {
        let (name, namespace) = (peer.name_any(), peer.namespace().unwrap_or_default());
        Self {
            component: Component::Peer,
            names: identity::peers(&peer.spec.network, &namespace, &name),
            host: None,
            network: peer.spec.network.clone(),
            tls: peer.spec.tls.clone(),
            token: token(peer),
            owner: controller_reference(peer),
            trust: peer.spec.tls.trust.clone(),
            listed: listed(peer),
            name,
            namespace,
        }
    }

    /// The Secret with its certificate; `None` without TLS.
    #[must_use]
    pub(crate) fn secret_name(&self) -> Option<String> {
        secret_name(&self.tls, &self.name)
    }

    /// Metadata of an object of its own.
    #[must_use]
    pub(crate) fn meta(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(names::labels(self.component, &self.name, &self.network)),
            owner_references: Some(vec![self.owner.clone()]),
            ..ObjectMeta::default()
        }
    }
}

/// The authorities of the central nodes that peers are given a list of.
fn listed(peer: &SorchaPeer) -> Vec<TrustSource> {
    let listed = peer.spec.central_nodes.iter().filter_map(|node| node.ca_secret_ref.clone());
    let mut all: Vec<TrustSource> =
        listed.map(|reference| TrustSource { config_map_ref: None, secret_ref: Some(reference) }).collect();
    all.sort();
    all.dedup();
    all
}

/// The Secret with a resource's certificate; `None` without TLS.
#[must_use]
pub(crate) fn secret_name(tls: &Tls, name: &str) -> Option<String> {
    match tls.mode {
        TlsMode::Managed => Some(names::tls_secret(name)),
        TlsMode::CertManager => Some(names::cert_manager_secret(name)),
        TlsMode::Secret => tls.secret_name.clone(),
        TlsMode::Disabled => None,
    }
}

fn mount(tls: &Tls, name: &str, further: bool) -> Option<Mount> {
    let elsewhere = matches!(tls.mode, TlsMode::CertManager | TlsMode::Secret);
    let trust = (elsewhere && further).then(|| names::trust_config_map(name));
    Some(Mount { secret: secret_name(tls, name)?, trust })
}

/// How a central node's pod gets its certificate; `None` without TLS.
#[must_use]
pub(crate) fn central_mount(node: &SorchaCentralNode) -> Option<Mount> {
    mount(&node.spec.tls, &node.name_any(), !node.spec.tls.trust.is_empty())
}

/// The same of peers.
#[must_use]
pub(crate) fn peer_mount(peer: &SorchaPeer) -> Option<Mount> {
    mount(&peer.spec.tls, &peer.name_any(), !peer.spec.tls.trust.is_empty())
}

/// A resource whose certificate the network's authority signs.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its name.
    pub name: String,
    /// Its request for a new authority.
    pub request: Option<String>,
    /// Pods may run that read its Secret.
    pub runs: bool,
    component: Component,
    created: Option<Timestamp>,
    owner: OwnerReference,
}

impl Member {
    fn of<S: Cached>(caches: &Caches, subject: &S, component: Component) -> Self {
        let (namespace, name) = (subject.namespace().unwrap_or_default(), subject.name_any());
        let set = caches.get::<k8s_openapi::api::apps::v1::StatefulSet>(&namespace, &name);
        Self {
            request: secret::request(subject),
            runs: set.is_some(),
            component,
            created: subject.creation_timestamp().map(|time| time.0),
            owner: shared_reference(subject),
            name,
        }
    }

    /// Its Secret.
    #[must_use]
    pub(crate) fn secret(&self, caches: &Caches, namespace: &str) -> Option<Arc<Secret>> {
        caches.get(namespace, &names::tls_secret(&self.name))
    }
}

/// The resources that share a network's authority, central nodes first, the oldest first.
#[must_use]
pub(crate) fn members(caches: &Caches, namespace: &str, network: &str) -> Vec<Member> {
    let here =
        |meta: &ObjectMeta| meta.namespace.as_deref() == Some(namespace) && meta.deletion_timestamp.is_none();
    let managed = |tls: &Tls| tls.mode == TlsMode::Managed;
    let centrals = caches
        .central_nodes
        .state_filter(|node| here(&node.metadata) && node.spec.network == network && managed(&node.spec.tls));
    let peers = caches
        .peers
        .state_filter(|peer| here(&peer.metadata) && peer.spec.network == network && managed(&peer.spec.tls));
    let mut members: Vec<Member> =
        centrals.iter().map(|node| Member::of(caches, &**node, Component::CentralNode)).collect();
    members.extend(peers.iter().map(|peer| Member::of(caches, &**peer, Component::Peer)));
    members.sort_by(|a, b| (a.component, a.created, &a.name).cmp(&(b.component, b.created, &b.name)));
    members
}

/// Owners of what a network's resources share: it goes with the last of them.
#[must_use]
pub(crate) fn owners(members: &[Member]) -> Vec<OwnerReference> {
    members.iter().take(OWNERS).map(|member| member.owner.clone()).collect()
}
