//! Who may connect to a node's pods, as the topology says.

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::meta::Owner;
use crate::names::{Component, label};

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

/// Applications read over HTTP, and publishers publish.
fn api(tls: bool) -> NetworkPolicyIngressRule {
    rule(if tls { &["http", "https"] } else { &["http"] }, None)
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
pub fn peer_network_policy(owner: &Owner, tls: bool) -> NetworkPolicy {
    policy(owner, vec![api(tls), probes()])
}

/// Peers of the network connect over gRPC; from anywhere when the Service is open to the outside.
#[must_use]
pub fn central_network_policy(owner: &Owner, open: bool, tls: bool) -> NetworkPolicy {
    let peers = pods(&[(label::NETWORK, &owner.network), (label::COMPONENT, Component::Peer.label())], true);
    let from = (!open).then(|| vec![peers]);
    policy(owner, vec![rule(&["grpc"], from), api(tls), probes()])
}

/// Only the network's central nodes reach their MongoDB server.
pub(super) fn mongodb_network_policy(owner: &Owner) -> NetworkPolicy {
    let central =
        pods(&[(label::NETWORK, &owner.network), (label::COMPONENT, Component::CentralNode.label())], false);
    policy(owner, vec![rule(&["mongodb"], Some(vec![central]))])
}
