//! Metadata of owned objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::names::{self, Component};

/// The resource, or the network, that objects belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// Kind of node.
    pub component: Component,
    /// Name of the resource, or of the shared object.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its network.
    pub network: String,
    /// Owner references; garbage collection follows them.
    pub references: Vec<OwnerReference>,
}

impl Owner {
    /// Metadata of an object.
    pub(crate) fn meta(&self, name: impl Into<String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(self.references.clone()),
            ..ObjectMeta::default()
        }
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        names::labels(self.component, &self.name, &self.network)
    }

    pub(super) fn selector(&self) -> BTreeMap<String, String> {
        names::selector(self.component, &self.name)
    }
}
