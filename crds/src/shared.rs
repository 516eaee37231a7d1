//! Types that both kinds of nodes share.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Network that a resource belongs to when none is named.
pub const DEFAULT_NETWORK: &str = "sorcha.dev";
/// Image of a managed MongoDB server when none is named.
pub const DEFAULT_MONGODB_IMAGE: &str = "mongo:8";

pub(crate) fn default_network() -> String {
    DEFAULT_NETWORK.to_owned()
}

/// A key of a Secret in the resource's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A persistent volume for each pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self == oldSelf").message("storage is immutable: volumes of a StatefulSet can't be changed in place; make a new resource and let it replicate"))]
pub struct Storage {
    /// Size of the volume.
    #[serde(default = "default_size")]
    pub size: Quantity,
    /// StorageClass; unset: the cluster's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
}

fn default_size() -> Quantity {
    Quantity("1Gi".to_owned())
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: default_size(), class_name: None }
    }
}

/// The register in one file on a persistent volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddedStore {
    /// The volume.
    #[serde(default)]
    pub storage: Storage,
}

/// What happens to volumes when the resource is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Volumes stay; a resource of the same name uses them again.
    Retain,
    /// Volumes are deleted with the resource.
    Delete,
}

/// Heartbeats. A central node sends its interval and timeout to its peers; a peer uses its own at a central node that sends none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Heartbeat {
    /// Period, 10s to 2m. The central node's takes precedence.
    #[serde(default = "thirty_seconds")]
    #[schemars(extend("pattern" = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('2m')").message("heartbeat.interval must be 10s to 2m"))]
    pub interval: String,
    /// Wait for one acknowledgement, 10s to 2m.
    #[serde(default = "thirty_seconds")]
    #[schemars(extend("pattern" = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('2m')").message("heartbeat.timeout must be 10s to 2m"))]
    pub timeout: String,
    /// Misses in a row, 1 to 10: of a peer, so many lead to failover; of a central node, one more ends the peer's session.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 10))]
    pub max_missed: i32,
}

/// Durations as Kubernetes and Go write them: `30s`, `5m`, `1h30m`.
pub(crate) const DURATION: &str = "^([0-9]+(ms|s|m|h))+$";

fn thirty_seconds() -> String {
    "30s".to_owned()
}

const fn two() -> i32 {
    2
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: thirty_seconds(), timeout: thirty_seconds(), max_missed: 2 }
    }
}

/// Logs of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Log {
    /// Form of the lines.
    pub format: LogFormat,
    /// Filter in the syntax of `RUST_LOG`, such as `info,sorcha_peer=debug`.
    #[schemars(length(min = 1, max = 1000))]
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".to_owned() }
    }
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Human,
}

/// OpenTelemetry export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Telemetry {
    /// OTLP/gRPC endpoint such as `http://collector.observability:4317`; unset: no export. `/metrics` is always there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^https?://.+"))]
    pub otlp_endpoint: Option<String>,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start of a container.
    Always,
    /// When the machine has none of that name.
    IfNotPresent,
    /// The machine must have it.
    Never,
}

impl ImagePullPolicy {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Where and how the pods run; labels and annotations of the controller win over these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodOverrides {
    /// Labels added to the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations added to the pods. Those that change a container's confinement (AppArmor, seccomp, CRI-O) are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a machine must have to run the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Affinity of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the pods spread; unset: over machines and zones, where that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Secrets for pulling images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}
