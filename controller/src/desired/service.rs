//! Services: a headless one for the pods' names, and one for clients.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use sorcha_crds::central_node::{CentralService, ServiceType};

use super::meta::Owner;
use crate::names::{self, Component, GRPC_PORT, HTTP_PORT, HTTPS_PORT};

fn port(name: &str, number: i32, tls: bool) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: app_protocol(name, tls).map(str::to_owned),
        ..ServicePort::default()
    }
}

fn app_protocol(port: &str, tls: bool) -> Option<&'static str> {
    match port {
        "grpc" if !tls => Some("kubernetes.io/h2c"),
        "https" => Some("https"),
        _ => None,
    }
}

/// Where a node of a kind listens for others.
pub(super) fn node_ports(component: Component, tls: bool) -> Vec<(&'static str, i32)> {
    let mut ports = match component {
        Component::CentralNode => vec![("grpc", GRPC_PORT), ("http", HTTP_PORT)],
        Component::Peer => vec![("http", HTTP_PORT)],
        Component::MongoDb => return vec![("mongodb", names::MONGODB_PORT)],
    };
    ports.extend(tls.then_some(("https", HTTPS_PORT)));
    ports
}

fn ports(component: Component, tls: bool) -> Vec<ServicePort> {
    node_ports(component, tls).into_iter().map(|(name, number)| port(name, number, tls)).collect()
}

/// Names of the pods.
#[must_use]
pub(crate) fn headless_service(owner: &Owner, tls: bool) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        ports: Some(ports(owner.component, tls)),
        selector: Some(owner.selector()),
        ..ServiceSpec::default()
    };
    Service { metadata: owner.meta(names::headless(&owner.name)), spec: Some(spec), ..Service::default() }
}

fn client_service(owner: &Owner, type_: ServiceType, tls: bool) -> Service {
    let spec = ServiceSpec {
        type_: Some(type_.as_str().to_owned()),
        ports: Some(ports(owner.component, tls)),
        selector: Some(owner.selector()),
        ..ServiceSpec::default()
    };
    Service { metadata: owner.meta(&owner.name), spec: Some(spec), ..Service::default() }
}

/// Where applications read from a peer's replicas.
#[must_use]
pub(crate) fn peer_service(owner: &Owner, tls: bool) -> Service {
    client_service(owner, ServiceType::ClusterIP, tls)
}

/// Where peers connect and publishers publish.
#[must_use]
pub(crate) fn central_service(owner: &Owner, settings: &CentralService, tls: bool) -> Service {
    let mut service = client_service(owner, settings.type_, tls);
    let annotations: BTreeMap<_, _> = settings.annotations.clone();
    if !annotations.is_empty() {
        service.metadata.annotations = Some(annotations);
    }
    if let Some(spec) = &mut service.spec
        && settings.type_ == ServiceType::LoadBalancer
    {
        spec.load_balancer_class.clone_from(&settings.load_balancer_class);
    }
    service
}

/// Where central nodes find their MongoDB server.
pub(super) fn mongodb_service(owner: &Owner) -> Service {
    let mut service = headless_service(owner, false);
    service.metadata.name = Some(owner.name.clone());
    service
}
