//! The central nodes of one network in one namespace, taken together; pure.
//!
//! What concerns several resources at once is decided here: the endpoints that peers are given, and which of several
//! resources are right that contradict each other.

mod contradiction;
mod lineage;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use serde::Serialize;
use sorcha_crds::{
    SorchaCentralNode,
    central_node::{ManagedMongoDb, ServiceType},
    conditions::{READY, is_true},
};

use self::contradiction::Older;
pub(crate) use self::{
    contradiction::{Contradiction, age, check_name},
    lineage::Lineage,
};
use crate::names::{self, GRPC_PORT};

/// A central node as `central_nodes_file` of the node wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Endpoint {
    /// Identity.
    pub id: String,
    /// Host name or IP address.
    pub host: String,
    /// gRPC port.
    pub port: i32,
    /// Failover order.
    pub priority: i32,
}

impl Endpoint {
    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Central nodes of one network and namespace, in failover order.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Its central nodes by priority, then name. Those that are being deleted are not among them, nor those that contradict
    /// an older one.
    pub nodes: Vec<Arc<SorchaCentralNode>>,
    /// Whose register is the network's, if that was looked at and is known.
    pub lineage: Option<Lineage>,
}

impl Network {
    /// Sorts central nodes, and leaves out those that contradict an older one.
    #[must_use]
    pub(crate) fn new(name: &str, namespace: &str, mut nodes: Vec<Arc<SorchaCentralNode>>) -> Self {
        nodes.retain(|node| node.metadata.deletion_timestamp.is_none());
        nodes.sort_by_cached_key(|node| age(&**node));
        let mut older = Older::default();
        let mut taken = Vec::new();
        for node in &nodes {
            if older.against(name, node).is_none() {
                older.add(node);
                taken.push(Arc::clone(node));
            }
        }
        taken.sort_by_cached_key(|node| (node.spec.priority, node.name_any()));
        Self { name: name.to_owned(), namespace: namespace.to_owned(), nodes: taken, lineage: None }
    }

    /// The same with the lineage of its register. `recorded`: what it was; `lives`: whether what a central node reported last
    /// is of a process that runs.
    #[must_use]
    pub(crate) fn with_lineage(
        mut self,
        recorded: Option<&str>,
        lives: impl Fn(&SorchaCentralNode) -> bool,
    ) -> Self {
        self.lineage = lineage::of(&self.nodes, recorded, lives);
        self
    }

    /// Its central nodes that hold the network's register; one with a register of another lineage is not published.
    fn published(&self) -> impl Iterator<Item = &Arc<SorchaCentralNode>> {
        self.nodes.iter().filter(|node| self.check_lineage(node).is_ok())
    }

    /// The highest version of the register that its ready central nodes have, as far as that was believed. It bounds what peers
    /// may say; `than` a central node, what older ones have, which bounds what that one may say.
    #[must_use]
    pub(crate) fn head(&self, than: Option<&SorchaCentralNode>) -> Option<i64> {
        let mine = than.map(age);
        let older = self.nodes.iter().filter(|node| mine.as_ref().is_none_or(|mine| age(&***node) < *mine));
        let ready =
            older.filter_map(|node| node.status.as_ref()).filter(|status| is_true(&status.conditions, READY));
        ready.filter_map(|status| status.version).max()
    }

    /// Endpoints for peers in this cluster: the Services' names, which never change.
    #[must_use]
    pub(crate) fn internal(&self) -> Vec<Endpoint> {
        self.published()
            .map(|node| Endpoint {
                id: node.name_any(),
                host: names::service_host(&node.name_any(), &self.namespace),
                port: GRPC_PORT,
                priority: node.spec.priority,
            })
            .collect()
    }

    /// Endpoints for peers elsewhere, as advertised or as the Services got them; without those that have none yet.
    #[must_use]
    pub(crate) fn external(&self, service: impl Fn(&str) -> Option<Arc<Service>>) -> Vec<Endpoint> {
        self.published()
            .filter_map(|node| external(node, &self.namespace, service(&node.name_any()).as_deref()))
            .collect()
    }

    /// The settings of the shared MongoDB server: those of the first central node that asks for one.
    #[must_use]
    pub(crate) fn managed(&self) -> Option<(&Arc<SorchaCentralNode>, &ManagedMongoDb)> {
        self.nodes.iter().find_map(|node| Some((node, managed(node)?)))
    }

    /// Checks one central node against the others: of two that contradict each other, the older one is right.
    ///
    /// # Errors
    /// [`Contradiction`], which names the older one and the remedy.
    pub(crate) fn check(&self, node: &SorchaCentralNode) -> Result<(), Contradiction> {
        let (me, mine) = (node.name_any(), age(node));
        let mut sorted: Vec<_> = self.nodes.iter().map(|other| (age(&**other), other)).collect();
        sorted.retain(|(age, other)| other.name_any() != me && *age < mine);
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut older = Older::default();
        sorted.iter().for_each(|(_, other)| older.add(other));
        older.against(&self.name, node).map_or(Ok(()), Err)
    }

    /// Checks that a central node holds the network's register, as it reports it.
    ///
    /// # Errors
    /// [`Contradiction::Lineage`].
    pub(crate) fn check_lineage(&self, node: &SorchaCentralNode) -> Result<(), Contradiction> {
        self.lineage.as_ref().and_then(|lineage| lineage.against(node)).map_or(Ok(()), Err)
    }
}

/// Host name of a central node (protocol section 1).
#[must_use]
pub(crate) fn hostname(node: &SorchaCentralNode) -> String {
    let spec = &node.spec;
    spec.hostname.clone().unwrap_or_else(|| format!("{}.{}", node.name_any(), spec.network))
}

fn managed(node: &SorchaCentralNode) -> Option<&ManagedMongoDb> {
    node.spec.store.mongodb.as_ref()?.managed.as_ref()
}

/// Address of a central node for peers outside the cluster. `None` while its Service has none.
#[must_use]
pub(crate) fn external(
    node: &SorchaCentralNode,
    namespace: &str,
    service: Option<&Service>,
) -> Option<Endpoint> {
    let name = node.name_any();
    let advertise = node.spec.service.advertise.clone().unwrap_or_default();
    let (host, port) = match node.spec.service.type_ {
        ServiceType::ClusterIP => (Some(names::service_host(&name, namespace)), Some(GRPC_PORT)),
        ServiceType::NodePort => (None, service.and_then(node_port)),
        ServiceType::LoadBalancer => (service.and_then(ingress), Some(GRPC_PORT)),
    };
    Some(Endpoint {
        id: name,
        host: advertise.host.or(host)?,
        port: advertise.port.or(port)?,
        priority: node.spec.priority,
    })
}

fn node_port(service: &Service) -> Option<i32> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    ports.iter().find(|port| port.name.as_deref() == Some("grpc"))?.node_port
}

fn ingress(service: &Service) -> Option<String> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
    ingress.hostname.clone().or_else(|| ingress.ip.clone())
}
