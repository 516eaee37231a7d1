//! Metadata of owned objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt as _;

use crate::names::{self, Component};

/// The resource, or the network, that objects belong to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owner {
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
    /// The owner of a resource's own objects.
    pub(crate) fn of<K>(component: Component, resource: &K, network: &str) -> Self
    where
        K: kube::Resource<DynamicType = ()>,
    {
        Self {
            component,
            name: resource.name_any(),
            namespace: resource.namespace().unwrap_or_default(),
            network: network.to_owned(),
            references: vec![controller_reference(resource)],
        }
    }

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

/// The owner reference of a resource's own objects.
#[must_use]
pub(crate) fn controller_reference<K: kube::Resource<DynamicType = ()>>(subject: &K) -> OwnerReference {
    OwnerReference { controller: Some(true), block_owner_deletion: Some(true), ..shared_reference(subject) }
}

/// The owner reference of objects that several resources share: gone with the last of them.
#[must_use]
pub(crate) fn shared_reference<K: kube::Resource<DynamicType = ()>>(subject: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: subject.name_any(),
        uid: subject.uid().unwrap_or_default(),
        controller: None,
        block_owner_deletion: None,
    }
}
