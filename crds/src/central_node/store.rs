//! Store of a central node's register.

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{DEFAULT_MONGODB_IMAGE, EmbeddedStore, SecretKeyRef, Storage};

/// Store of the register: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.mongodb) != has(self.embedded)").message("store needs exactly one of mongodb and embedded"))]
#[x_kube(validation = Rule::new("has(self.mongodb) == has(oldSelf.mongodb)").message("the kind of store is immutable: another one would start an empty register; make a new resource"))]
pub struct CentralStore {
    /// In MongoDB 4.4 or newer; the central nodes of a network share one database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mongodb: Option<MongoDbStore>,
    /// In one file on a volume, for trials: such a network has one central node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedStore>,
}

/// MongoDB by reference, or a one-member server for trials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.uriSecretRef) != has(self.managed)").message("store.mongodb needs exactly one of uriSecretRef and managed"))]
pub struct MongoDbStore {
    /// Secret key that holds the connection string, such as the one a MongoDB operator makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri_secret_ref: Option<SecretKeyRef>,
    /// A one-member server for trials, made by the controller, one per network and namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedMongoDb>,
    /// Database of the register. Immutable.
    #[serde(default = "database")]
    #[schemars(extend("pattern" = "^[A-Za-z0-9_-]{1,60}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("store.mongodb.database is immutable: another one would start an empty register"))]
    pub database: String,
}

fn database() -> String {
    "sorcha".to_owned()
}

/// A one-member MongoDB server for trials. Central nodes of a network and namespace that ask for one share it, and must
/// ask for the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedMongoDb {
    /// Image of the server.
    #[serde(default = "mongodb_image")]
    #[schemars(length(min = 1, max = 500))]
    pub image: String,
    /// Its volume.
    #[serde(default)]
    pub storage: Storage,
    /// Whether the server asks for a password (the controller makes one). Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("store.mongodb.managed.authentication is immutable: the server and its clients got their password, or none, when they were made"))]
    pub authentication: MongoDbAuthentication,
    /// Requests and limits of the server's container; unset: 100m CPU, 256Mi memory, at most 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

fn mongodb_image() -> String {
    DEFAULT_MONGODB_IMAGE.to_owned()
}

/// Whether a managed server asks for a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MongoDbAuthentication {
    /// A user and a random password in a Secret.
    #[default]
    Password,
    /// None; only the NetworkPolicy restricts access, where the cluster enforces it.
    Disabled,
}
