//! The central nodes of one network in one namespace, taken together; pure.
//!
//! What concerns several resources at once is decided here: the endpoints that peers are given, and specs that are each
//! valid but contradict each other.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use serde::Serialize;
use sorcha_crds::{
    SorchaCentralNode,
    central_node::{ManagedMongoDb, ServiceType},
};

use crate::names::{self, GRPC_PORT};

/// A central node as `central_nodes_file` of the node wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
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
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Why a spec that the schema accepts can't be run. The text tells the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Two central nodes of one name.
    #[error("hostname {hostname} is also that of {other}: give each central node of a network its own")]
    Hostname {
        /// The name.
        hostname: String,
        /// Who else has it.
        other: String,
    },
    /// An embedded store beside other central nodes: two registers.
    #[error(
        "store.embedded holds a register of its own, but {other} is a central node of {network} too, and they must share \
         one register: use store.mongodb for both, or delete one"
    )]
    Embedded {
        /// The network.
        network: String,
        /// Another central node.
        other: String,
    },
    /// Two servers asked for.
    #[error(
        "store.mongodb.managed differs from that of {other}, which comes first: make them equal, they share one server"
    )]
    Managed {
        /// The central node whose settings are used.
        other: String,
    },
    /// Two databases.
    #[error(
        "store.mongodb.database is {mine:?} but that of {other} is {theirs:?}: central nodes of a network share one database"
    )]
    Database {
        /// In this spec.
        mine: String,
        /// In the other one.
        theirs: String,
        /// The other central node.
        other: String,
    },
}

/// Central nodes of one network and namespace, in failover order.
#[derive(Clone, Debug)]
pub struct Network {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Its central nodes by priority, then name; those that are being deleted are not among them.
    pub nodes: Vec<Arc<SorchaCentralNode>>,
}

impl Network {
    /// Sorts central nodes.
    #[must_use]
    pub fn new(name: &str, namespace: &str, mut nodes: Vec<Arc<SorchaCentralNode>>) -> Self {
        nodes.retain(|node| node.metadata.deletion_timestamp.is_none());
        nodes.sort_by_key(|node| (node.spec.priority, node.name_any()));
        Self { name: name.to_owned(), namespace: namespace.to_owned(), nodes }
    }

    /// Endpoints for peers in this cluster: the Services' names, which never change.
    #[must_use]
    pub fn internal(&self) -> Vec<Endpoint> {
        self.nodes
            .iter()
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
    pub fn external(&self, service: impl Fn(&str) -> Option<Arc<Service>>) -> Vec<Endpoint> {
        self.nodes
            .iter()
            .filter_map(|node| external(node, &self.namespace, service(&node.name_any()).as_deref()))
            .collect()
    }

    /// The settings of the shared MongoDB server: those of the first central node that asks for one.
    #[must_use]
    pub fn managed(&self) -> Option<(&Arc<SorchaCentralNode>, &ManagedMongoDb)> {
        self.nodes.iter().find_map(|node| Some((node, managed(node)?)))
    }

    /// Checks one central node against the others.
    ///
    /// # Errors
    /// [`Contradiction`], which tells the remedy.
    pub fn check(&self, node: &SorchaCentralNode) -> Result<(), Contradiction> {
        let me = node.name_any();
        let others = || self.nodes.iter().filter(|other| other.name_any() != me);
        let mine = hostname(node);
        if let Some(other) = others().find(|other| hostname(other) == mine) {
            return Err(Contradiction::Hostname { hostname: mine, other: other.name_any() });
        }
        let embedded = |node: &SorchaCentralNode| node.spec.store.embedded.is_some();
        if let Some(other) = others().find(|other| embedded(node) || embedded(other)) {
            return Err(Contradiction::Embedded { network: self.name.clone(), other: other.name_any() });
        }
        if let (Some((first, wanted)), Some(mine)) = (self.managed(), managed(node))
            && wanted != mine
        {
            return Err(Contradiction::Managed { other: first.name_any() });
        }
        self.check_database(node)
    }

    fn check_database(&self, node: &SorchaCentralNode) -> Result<(), Contradiction> {
        let database =
            |node: &SorchaCentralNode| node.spec.store.mongodb.as_ref().map(|m| m.database.clone());
        let (Some(first), Some(mine)) = (self.nodes.first(), database(node)) else { return Ok(()) };
        match database(first) {
            Some(theirs) if theirs != mine => {
                Err(Contradiction::Database { mine, theirs, other: first.name_any() })
            }
            _ => Ok(()),
        }
    }
}

/// Host name of a central node (contract section 1).
#[must_use]
pub fn hostname(node: &SorchaCentralNode) -> String {
    let spec = &node.spec;
    spec.hostname.clone().unwrap_or_else(|| format!("{}.{}", node.name_any(), spec.network))
}

fn managed(node: &SorchaCentralNode) -> Option<&ManagedMongoDb> {
    node.spec.store.mongodb.as_ref()?.managed.as_ref()
}

/// Address of a central node for peers outside the cluster. `None` while its Service has none.
#[must_use]
pub fn external(node: &SorchaCentralNode, namespace: &str, service: Option<&Service>) -> Option<Endpoint> {
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
