//! Who may connect to a node's pods, as the topology says.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{backup::BACKUP, meta::Owner};
use crate::names::{Component, label};

const HTTP: &str = "http";
const HTTPS: &str = "https";
/// Value of the label `app.kubernetes.io/component` of the chart's controller.
const CONTROLLER: &str = "controller";
/// Label that every namespace has: its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

fn policy(owner: &Owner, ingress: Vec<NetworkPolicyIngressRule>) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(LabelSelector {
            match_labels: Some(owner.selector()),
            ..LabelSelector::default()
        }),
        ingress: Some(ingress),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ..NetworkPolicySpec::default()
    };
    NetworkPolicy { metadata: owner.meta(&owner.name), spec: Some(spec) }
}

fn rule(ports: &[&str], from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    let port = |name: &&str| NetworkPolicyPort {
        port: Some(IntOrString::String((*name).to_owned())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicyIngressRule { ports: Some(ports.iter().map(port).collect()), from }
}

/// Applications read over HTTP, and publishers publish: all of them, or those that the spec names and some of our own.
fn api(tls: bool, named: &[NetworkPolicyPeer], own: Option<NetworkPolicyPeer>) -> NetworkPolicyIngressRule {
    let from = (!named.is_empty()).then(|| named.iter().cloned().chain(own).collect());
    rule(if tls { &[HTTP, HTTPS] } else { &[HTTP] }, from)
}

/// Lets the controller, in its namespace, reach the API of a central node that not everybody reaches: it publishes there.
pub(crate) fn admit_controller(policy: &mut NetworkPolicy, namespace: &str) {
    let rules = policy.spec.iter_mut().flat_map(|spec| spec.ingress.iter_mut().flatten());
    for rule in rules.filter(|rule| rule.ports.iter().flatten().any(|port| is_named(port, HTTP))) {
        if let Some(from) = &mut rule.from {
            let labels = BTreeMap::from([(NAMESPACE_NAME.to_owned(), namespace.to_owned())]);
            from.push(NetworkPolicyPeer {
                namespace_selector: Some(LabelSelector {
                    match_labels: Some(labels),
                    ..LabelSelector::default()
                }),
                ..pods(&[(label::COMPONENT, CONTROLLER)], false)
            });
        }
    }
}

fn is_named(port: &NetworkPolicyPort, name: &str) -> bool {
    matches!(&port.port, Some(IntOrString::String(port)) if port == name)
}

fn pods(labels: &[(&str, &str)], everywhere: bool) -> NetworkPolicyPeer {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
        namespace_selector: everywhere.then(LabelSelector::default),
        ..NetworkPolicyPeer::default()
    }
}

/// Kubelets ask from their machine's address, which no selector names. The port tells nothing but whether a node is well, and
/// no caller of it delays another.
fn probes() -> NetworkPolicyIngressRule {
    rule(&["probes"], None)
}

/// Nothing ever dials a peer over gRPC.
#[must_use]
pub(crate) fn peer_network_policy(
    owner: &Owner,
    tls: bool,
    http_from: &[NetworkPolicyPeer],
) -> NetworkPolicy {
    policy(owner, vec![api(tls, http_from, None), probes()])
}

/// Peers of the network connect over gRPC; from anywhere when the Service is open to the outside.
#[must_use]
pub(crate) fn central_network_policy(
    owner: &Owner,
    open: bool,
    tls: bool,
    http_from: &[NetworkPolicyPeer],
) -> NetworkPolicy {
    let peers = pods(&[(label::NETWORK, &owner.network), (label::COMPONENT, Component::Peer.label())], true);
    let from = (!open).then(|| vec![peers]);
    let backups = pods(&[(label::INSTANCE, &owner.name), (label::COMPONENT, BACKUP)], false);
    policy(owner, vec![rule(&["grpc"], from), api(tls, http_from, Some(backups)), probes()])
}

/// Only the network's central nodes reach their MongoDB server.
pub(super) fn mongodb_network_policy(owner: &Owner) -> NetworkPolicy {
    let central =
        pods(&[(label::NETWORK, &owner.network), (label::COMPONENT, Component::CentralNode.label())], false);
    policy(owner, vec![rule(&["mongodb"], Some(vec![central]))])
}
