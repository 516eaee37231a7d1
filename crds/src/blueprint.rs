//! `SorchaBlueprint`: a blueprint that is published by applying a resource.
//!
//! Of a document the rules of the schema compare values only: the API server's equality of objects without declared
//! fields passes over a key that only one of the two has (`unstructuredMap.Equal`, apiserver 0.34). A document whose keys
//! were renamed gets that far; the controller, which compares checksums, then refuses it in the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{central_node::DNS_NAME, shared::default_network};

/// A blueprint in a network's register: published once, deprecated and reactivated as `active` says.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "sorcha.dev",
    version = "v1alpha1",
    kind = "SorchaBlueprint",
    plural = "sorchablueprints",
    shortname = "sbp",
    category = "sorcha",
    namespaced,
    status = "SorchaBlueprintStatus",
    doc = "A blueprint in a network's register: published once, deprecated and reactivated as `active` says.",
    validation = Rule::new("has(self.spec.id) || self.metadata.name.matches('^[a-z0-9-]+$')").message("metadata.name has a dot, which no blueprint id has: set spec.id, or choose a name of a-z, 0-9 and -"),
    printcolumn(name = "Published", type_ = "string", json_path = ".status.conditions[?(@.type==\"Published\")].status", description = "Whether the register holds this document under this id"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.version", description = "Register-wide version of the blueprint's newest state"),
    printcolumn(name = "Active", type_ = "boolean", json_path = ".status.active", description = "Whether it is active in the register"),
    printcolumn(name = "Peers", type_ = "string", json_path = ".status.peers", description = "Connected peers known to hold the version, of all connected ones"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1, description = "Why it is ready or not"),
    printcolumn(name = "Checksum", type_ = "string", json_path = ".status.checksum", priority = 1, description = "Checksum of the document in canonical form"),
    printcolumn(name = "Central", type_ = "string", json_path = ".status.centralNode", priority = 1, description = "Central node where the register was last seen to hold it")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.document) != has(self.configMapRef)").message("spec needs exactly one of document and configMapRef"))]
#[x_kube(validation = Rule::new("has(self.document) == has(oldSelf.document)").message("a document can't move between document and configMapRef: publish it under a new id, as a new resource"))]
#[x_kube(validation = Rule::new("has(self.id) == has(oldSelf.id) && (!has(self.id) || self.id == oldSelf.id)").message("id is immutable: make a new resource"))]
pub struct SorchaBlueprintSpec {
    /// Network whose register it belongs to; a central node of it in this namespace publishes it. Immutable.
    #[serde(default = "default_network")]
    #[schemars(length(min = 1, max = 63), extend("pattern" = DNS_NAME))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("network is immutable: make a new resource"))]
    pub network: String,
    /// Id to publish under, 1 to 255 of a-z, A-Z, 0-9, - and _. Default: the resource's name. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), extend("pattern" = "^[a-zA-Z0-9_-]+$"))]
    pub id: Option<String>,
    /// The document, a JSON object (JSON-LD) of at most 127 levels, without numbers of 2^53 or more. Immutable. The API server takes resources of 1.5 MB, from a
    /// client-side `kubectl apply` of 256 KB; larger documents are published over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("document is immutable, as what is published is: publish the new one under a new id, as a new resource"))]
    pub document: Option<Value>,
    /// Key of a ConfigMap in this namespace that holds the document. The ConfigMap must have the label
    /// `sorcha.dev/publish: "true"`, which is its owner's consent. Immutable; so is the document once it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("configMapRef is immutable: publish the new document under a new id, as a new resource"))]
    pub config_map_ref: Option<ConfigMapKeyRef>,
    /// False deprecates the blueprint, true again reactivates it; each takes a new version. Changes by others are undone.
    #[serde(default = "yes")]
    pub active: bool,
    /// What happens to the blueprint when the resource is deleted.
    #[serde(default)]
    pub deletion_policy: BlueprintDeletionPolicy,
}

impl SorchaBlueprint {
    /// The id to publish under.
    #[must_use]
    pub fn blueprint_id(&self) -> &str {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        self.spec.id.as_deref().unwrap_or(name)
    }
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

const fn yes() -> bool {
    true
}

/// A key of a ConfigMap in the resource's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its `data`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What happens to a blueprint when its resource is deleted. Registers delete nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BlueprintDeletionPolicy {
    /// It is deprecated first: it stays readable, inactive.
    #[default]
    Deprecate,
    /// It stays as it is.
    Retain,
}

/// Observed state of a blueprint, written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SorchaBlueprintStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Register-wide version of the blueprint's newest state, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Checksum of the published document, `sha256:` and the hex SHA-256 of its canonical form. From then on a document
    /// with another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub checksum: Option<String>,
    /// When it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Time>,
    /// Who published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub published_by: Option<String>,
    /// Whether it is active in the register, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Central node where the register was last seen to hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub central_node: Option<String>,
    /// Connected peers known to hold the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers_up_to_date: Option<i64>,
    /// Peers connected to the network's central nodes in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers_total: Option<i64>,
    /// Both counts, such as `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub peers: Option<String>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
