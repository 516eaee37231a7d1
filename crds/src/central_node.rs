//! `SorchaCentralNode`: a node that holds the register and accepts peers and publications.

mod service;
mod status;
mod store;

use k8s_openapi::api::{core::v1::ResourceRequirements, networking::v1::NetworkPolicyPeer};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    service::{Advertise, CentralService, ServiceType},
    status::{BackupStatus, CentralNodeReport, PeerCounts, SorchaCentralNodeStatus},
    store::{CentralStore, ManagedMongoDb, MongoDbAuthentication, MongoDbStore},
};
use crate::{
    shared::{
        DURATION, DeletionPolicy, Heartbeat, ImagePullPolicy, Log, PodOverrides, SecretKeyRef, Telemetry,
        default_network,
    },
    tls::Tls,
};

/// A central node: holds the register in MongoDB (or, for one-node trials, in a file) and accepts publications and peers.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "sorcha.dev",
    version = "v1alpha1",
    kind = "SorchaCentralNode",
    plural = "sorchacentralnodes",
    shortname = "scn",
    category = "sorcha",
    namespaced,
    status = "SorchaCentralNodeStatus",
    doc = "A central node: holds the register of a network and accepts publications and peers.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name must be at most 40 of a-z, 0-9 and -, and start with a letter: it names Services and pods"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the node does what its spec asks for"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority", description = "Failover order: peers try the lowest first"),
    printcolumn(name = "Peers", type_ = "integer", json_path = ".status.peers.connected", description = "Connected peers"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.version", description = "Newest version of the register"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", description = "Address for peers outside this namespace"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1, description = "Why it is ready or not"),
    printcolumn(name = "Converged", type_ = "integer", json_path = ".status.convergedVersion", priority = 1, description = "Highest version that all peers connected at the time had said they hold"),
    printcolumn(name = "Lineage", type_ = "string", json_path = ".status.lineage", priority = 1, description = "Lineage of the register"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = 1, description = "Digest of the register's content"),
    printcolumn(name = "Certificate", type_ = "string", json_path = ".status.certificate.notAfter", priority = 1, description = "End of the certificate's validity")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.hostname) || (self.hostname.endsWith('.' + self.network) && !self.hostname.substring(0, size(self.hostname) - size(self.network) - 1).contains('.'))").message("hostname must be one label under the network, such as n0.sorcha.dev"))]
pub struct SorchaCentralNodeSpec {
    /// Network of this node; peers of the same network and namespace find it. Immutable.
    #[serde(default = "default_network")]
    #[schemars(length(min = 1, max = 63), extend("pattern" = DNS_NAME))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("network is immutable: make a new resource"))]
    pub network: String,
    /// Host name, one label under the network: `n0.sorcha.dev`. Default: the resource's name under the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("pattern" = DNS_NAME))]
    pub hostname: Option<String>,
    /// Failover order: peers try the lowest first.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65535))]
    pub priority: i32,
    /// Store of the register.
    pub store: CentralStore,
    /// Certificate of the node, and the authorities that it trusts.
    #[serde(default)]
    pub tls: Tls,
    /// How peers reach the node.
    #[serde(default)]
    pub service: CentralService,
    /// Limits for peers.
    #[serde(default)]
    pub limits: CentralLimits,
    /// Heartbeats that the node expects.
    #[serde(default)]
    pub heartbeat: Heartbeat,
    /// How the node drains: at a restart, peers move first.
    #[serde(default)]
    pub drain: Drain,
    /// Who may publish over HTTP.
    #[serde(default)]
    pub publishers: Publishers,
    /// Sources that may connect over HTTP and HTTPS, beside the controller and the resource's own backups; empty: all. The port
    /// of the probes is open. The cluster's network plugin enforces it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub http_from: Vec<NetworkPolicyPeer>,
    /// Scheduled backups; none unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// OpenTelemetry export.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// Image of the node; unset: the controller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// When the image is pulled; unset: the controller's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Requests and limits of the node's container; unset: 50m CPU, 128Mi memory, at most 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Where and how the pod runs.
    #[serde(default)]
    pub pod: PodOverrides,
    /// Pauses reconciliation of the node's own objects, its certificate too, until this is false again. Objects that the
    /// network's central nodes share follow the specs of all of them.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to volumes when the resource is deleted. The policy of the network's last central node decides for the volume
    /// of a managed MongoDB.
    #[serde(default = "retain")]
    pub deletion_policy: DeletionPolicy,
}

const fn retain() -> DeletionPolicy {
    DeletionPolicy::Retain
}

/// DNS names in lower case.
pub(crate) const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Limits of a central node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CentralLimits {
    /// Peers connected at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_peers: i32,
    /// Full syncs at once.
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_full_syncs: i32,
    /// Pushed entries that a peer may leave unacknowledged.
    #[schemars(range(min = 1, max = 100_000))]
    pub push_window: i32,
}

impl Default for CentralLimits {
    fn default() -> Self {
        Self { max_peers: 10_000, max_concurrent_full_syncs: 3, push_window: 1024 }
    }
}

/// Scheduled backups: verified bundles of the register on a volume, as `sorcha-node register backup` makes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.schedule.startsWith('@') || self.schedule.trim().split(' ').filter(f, size(f) > 0).size() == 5").message("backup.schedule must have five fields, such as 17 3 * * *, or be @daily or the like; backup.timeZone names the time zone"))]
pub struct Backup {
    /// Schedule in the syntax of cron: `17 3 * * *`.
    #[schemars(length(min = 1, max = 100))]
    pub schedule: String,
    /// Time zone of the schedule, such as `Europe/Vienna`; unset: that of the cluster's controllers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub time_zone: Option<String>,
    /// Least number of bundles of this register that are kept; those of the lowest versions are removed once a new one is verified.
    #[serde(default = "backups_kept")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: i32,
    /// PersistentVolumeClaim for the bundles. The controller neither makes nor deletes it.
    #[schemars(length(min = 1, max = 253), extend("pattern" = DNS_NAME))]
    pub claim_name: String,
}

const fn backups_kept() -> i32 {
    14
}

/// How a central node drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("duration(self.spread) < duration(self.timeout)").message("drain.spread must be shorter than drain.timeout"))]
pub struct Drain {
    /// Time over which peers are advised to move, at most 5m.
    #[serde(default = "drain_spread")]
    #[schemars(extend("pattern" = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('5m')").message("drain.spread must be at most 5m"))]
    pub spread: String,
    /// After this time the node closes the sessions that are left, 1s to 10m. The pod's grace period is 15 s longer.
    #[serde(default = "drain_timeout")]
    #[schemars(extend("pattern" = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('10m')").message("drain.timeout must be 1s to 10m"))]
    pub timeout: String,
}

fn drain_spread() -> String {
    "3s".to_owned()
}

fn drain_timeout() -> String {
    "15s".to_owned()
}

impl Default for Drain {
    fn default() -> Self {
        Self { spread: drain_spread(), timeout: drain_timeout() }
    }
}

/// Who may publish over HTTP: bearers of tokens of a Secret, and Kubernetes identities that RBAC allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publishers {
    /// Secret key with one bearer token a line, `name: token`; unset: no such tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_secret_ref: Option<SecretKeyRef>,
    /// ServiceAccounts and other users of the cluster.
    #[serde(default)]
    pub kubernetes: KubernetesPublishers,
}

/// Users of the cluster who may publish: those with the verb `publish` on this resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesPublishers {
    /// Whether the API server reviews tokens that are not in the Secret. The condition PublishersConfigured shows whether the
    /// controller may grant that.
    pub enabled: bool,
}

impl Default for KubernetesPublishers {
    fn default() -> Self {
        Self { enabled: true }
    }
}
