//! `SorchaCentralNode`: a node that holds the register and accepts peers and publications.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{core::v1::ResourceRequirements, networking::v1::NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{
    DEFAULT_MONGODB_IMAGE, DURATION, DeletionPolicy, EmbeddedStore, Heartbeat, ImagePullPolicy, Log,
    PodOverrides, SecretKeyRef, Storage, Telemetry, default_network,
};
use crate::tls::{CertificateStatus, Tls};

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
    /// Where the register lies.
    pub store: CentralStore,
    /// Certificate of the node, and whom it trusts.
    #[serde(default)]
    pub tls: Tls,
    /// How peers reach the node.
    #[serde(default)]
    pub service: CentralService,
    /// Limits on what peers may ask for.
    #[serde(default)]
    pub limits: CentralLimits,
    /// Heartbeats that the node expects.
    #[serde(default)]
    pub heartbeat: Heartbeat,
    /// How the node leaves: at a restart, peers move first.
    #[serde(default)]
    pub drain: Drain,
    /// Who may publish over HTTP.
    #[serde(default)]
    pub publishers: Publishers,
    /// Who may connect over HTTP and HTTPS, beside the controller and the resource's own backups; empty: everybody. The port of
    /// the probes is open. The cluster's network plugin enforces it.
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
    /// Leave the node's own objects as they are, its certificate too, until this is false again. What the network's
    /// central nodes share follows the specs of all of them.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to volumes when the resource is deleted. That of a managed MongoDB goes with the network's last central node,
    /// if it says so.
    #[serde(default = "retain")]
    pub deletion_policy: DeletionPolicy,
}

const fn retain() -> DeletionPolicy {
    DeletionPolicy::Retain
}

/// DNS names in lower case.
pub(crate) const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Where the register lies: exactly one of the fields.
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
    /// None; only the NetworkPolicy keeps others out, where the cluster enforces it.
    Disabled,
}

/// How peers reach a central node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.type != 'NodePort' || (has(self.advertise) && has(self.advertise.host))").message("service.type NodePort needs service.advertise.host: the name or address of the machines as peers outside reach them"))]
pub struct CentralService {
    /// Type of the Service.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// Annotations of the Service, such as those of a cloud's load balancer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Class of the load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Address that is published for peers outside the cluster; unset parts follow the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Advertise>,
}

/// Type of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster only.
    #[default]
    ClusterIP,
    /// A port on every machine.
    NodePort,
    /// An address of its own.
    LoadBalancer,
}

impl ServiceType {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// A published address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Advertise {
    /// Host name or IP address; unset: what the Service gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("pattern" = r"^[0-9A-Za-z.:-]+$"))]
    pub host: Option<String>,
    /// gRPC port; unset: the Service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// Limits of a central node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CentralLimits {
    /// Peers connected at once.
    #[serde(default = "max_peers")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_peers: i32,
    /// Full syncs at once.
    #[serde(default = "max_full_syncs")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_full_syncs: i32,
    /// Pushed entries that a peer may leave unacknowledged.
    #[serde(default = "push_window")]
    #[schemars(range(min = 1, max = 100_000))]
    pub push_window: i32,
}

const fn max_peers() -> i32 {
    10_000
}

const fn max_full_syncs() -> i32 {
    3
}

const fn push_window() -> i32 {
    1024
}

impl Default for CentralLimits {
    fn default() -> Self {
        Self {
            max_peers: max_peers(),
            max_concurrent_full_syncs: max_full_syncs(),
            push_window: push_window(),
        }
    }
}

/// Scheduled backups: verified bundles of the register on a volume, as `sorcha-node register backup` makes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.schedule.startsWith('@') || self.schedule.trim().split(' ').filter(f, size(f) > 0).size() == 5").message("backup.schedule must have five fields, such as 17 3 * * *, or be @daily or the like; backup.timeZone names the time zone"))]
pub struct Backup {
    /// When, as cron writes it: `17 3 * * *`.
    #[schemars(length(min = 1, max = 100))]
    pub schedule: String,
    /// Time zone of the schedule, such as `Europe/Vienna`; unset: that of the cluster's controllers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub time_zone: Option<String>,
    /// Bundles of this register that are kept at least; those of the lowest versions are removed once a new one is verified.
    #[serde(default = "backups_kept")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: i32,
    /// PersistentVolumeClaim that they lie on. It is the user's: never made, never deleted.
    #[schemars(length(min = 1, max = 253), extend("pattern" = DNS_NAME))]
    pub claim_name: String,
}

const fn backups_kept() -> i32 {
    14
}

/// How scheduled backups stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// When the newest one that was begun was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// When the newest one was made and verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,
    /// One is being made.
    #[serde(default)]
    pub running: bool,
}

/// How a central node leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("duration(self.spread) < duration(self.timeout)").message("drain.spread must be shorter than drain.timeout"))]
pub struct Drain {
    /// Peers are told to move at moments spread over this time, at most 5m.
    #[serde(default = "drain_spread")]
    #[schemars(extend("pattern" = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('5m')").message("drain.spread must be at most 5m"))]
    pub spread: String,
    /// After this time the node stops whoever is left, 1s to 10m. The pod's grace period is 15 s longer.
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

/// Who may publish over HTTP: bearers of tokens of a Secret, and whom Kubernetes knows and lets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publishers {
    /// Secret key with one bearer token a line, `name: token`; unset: there are no such tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_secret_ref: Option<SecretKeyRef>,
    /// ServiceAccounts and other users of the cluster.
    #[serde(default)]
    pub kubernetes: KubernetesPublishers,
}

/// Users of the cluster who may publish: those with the verb `publish` on this resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesPublishers {
    /// Whether the API server is asked about tokens that are not in the Secret, where the controller may grant that: the
    /// condition PublishersConfigured says so.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

const fn enabled() -> bool {
    true
}

impl Default for KubernetesPublishers {
    fn default() -> Self {
        Self { enabled: enabled() }
    }
}

/// What is observed of a central node. The node writes `node`, the controller everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SorchaCentralNodeStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// gRPC address for peers outside this namespace, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub endpoint: Option<String>,
    /// Connected peers; zero while the node does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<PeerCounts>,
    /// Newest version of the register, as last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Highest version that all peers connected at the time had said they hold; with none connected, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged_version: Option<i64>,
    /// Lineage of the register: hash of its genesis, its first 12 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub lineage: Option<String>,
    /// Digest of the register's content at its version, its first 12 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,
    /// Certificate that the node is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// Scheduled backups, where the spec asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// What the node itself reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<CentralNodeReport>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Peers of a central node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerCounts {
    /// With a live session.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub connected: i64,
    /// Of these, known to hold the newest version.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub up_to_date: i64,
    /// Of these, lacking one version for longer than an hour.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub lagging: i64,
}

/// What a central node reports of itself, on change and at a bounded rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CentralNodeReport {
    /// Pod that reported.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub name: String,
    /// `Starting`, `Healthy`, `Degraded`, `Unhealthy` or `Draining`.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub state: String,
    /// Why, where that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Since when the process runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Newest version of the register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub version: Option<i64>,
    /// Lineage of the register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub lineage: Option<String>,
    /// Digest of the register's content at its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,
    /// Connected peers.
    #[serde(default)]
    pub peers: PeerCounts,
    /// Whether the store answers; absent until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_reachable: Option<bool>,
    /// Why the store is not used, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub store_message: Option<String>,
    /// Integrity findings; absent until the register was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub findings: Option<i64>,
    /// Why entries of the store are not served: they contradict what is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub refusal: Option<String>,
    /// `RegisterLost`, `RegisterExchanged` or `RegisterRolledBack` while the database does not hold the register served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub register_fault: Option<String>,
    /// End of the node's TLS certificate; absent where gRPC is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Time>,
}
