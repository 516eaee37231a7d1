//! `SorchaPeer`: replicas that each keep a verified copy of the register.

mod status;

use k8s_openapi::api::{core::v1::ResourceRequirements, networking::v1::NetworkPolicyPeer};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::status::{PeerReport, SorchaPeerStatus};
use crate::{
    central_node::DNS_NAME,
    shared::{
        DURATION, DeletionPolicy, EmbeddedStore, Heartbeat, ImagePullPolicy, Log, PodOverrides, SecretKeyRef,
        Telemetry, default_network,
    },
    tls::{CaKeyRef, Tls},
};

/// Peers of a network: each replica keeps a verified copy of the register and serves reads from it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "sorcha.dev",
    version = "v1alpha1",
    kind = "SorchaPeer",
    plural = "sorchapeers",
    shortname = "sp",
    category = "sorcha",
    namespaced,
    status = "SorchaPeerStatus",
    doc = "Peers of a network: each replica keeps a verified copy of the register and serves reads from it.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name must be at most 40 of a-z, 0-9 and -, and start with a letter: with the ordinal it is the peer_id"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready", description = "Ready replicas of those asked for"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "State of the connections"),
    printcolumn(name = "Central", type_ = "string", json_path = ".status.central", description = "Central node that the replicas are connected to"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.minVersion", description = "Version that every replica holds"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.maxLag", description = "Versions behind, of the replica that is furthest behind"),
    printcolumn(name = "Fresh", type_ = "date", json_path = ".status.freshAsOf", description = "When the replica that is furthest behind was last known to equal the register"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Failovers", type_ = "integer", json_path = ".status.failovers", priority = 1, description = "Moves to another central node since the peers' processes started"),
    printcolumn(name = "RTT", type_ = "string", json_path = ".status.rtt", priority = 1, description = "Longest mean round trip of heartbeats"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = 1, description = "Digest of the replicas' content, or `differs`"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1, description = "Why it is ready or not"),
    printcolumn(name = "Certificate", type_ = "string", json_path = ".status.certificate.notAfter", priority = 1, description = "End of the certificate's validity")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.tls.mode != 'Disabled' || !has(self.centralNodes) || self.centralNodes.all(c, !has(c.caSecretRef))").message("centralNodes has a caSecretRef, which has no use with tls.mode Disabled: leave it out, or choose another mode"))]
pub struct SorchaPeerSpec {
    /// Network whose register is replicated. Immutable.
    #[serde(default = "default_network")]
    #[schemars(length(min = 1, max = 63), extend("pattern" = DNS_NAME))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("network is immutable: make a new resource"))]
    pub network: String,
    /// How many peers; each has an identity and a replica of its own.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Central nodes to connect to; empty: those of the network in this namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.host == b.host && a.port == b.port))").message("centralNodes names an address twice"))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, (has(a.id) ? a.id : a.host) == (has(b.id) ? b.id : b.host)))").message("centralNodes names an identity twice: give each an id of its own"))]
    #[x_kube(validation = Rule::new("self.all(a, has(a.id) || size(a.host) <= 64)").message("centralNodes has a host of more than 64 characters: give it an id"))]
    pub central_nodes: Vec<CentralNodeAddress>,
    /// Certificate of the peers, and the authorities that they trust.
    #[serde(default)]
    pub tls: Tls,
    /// Sources that may connect over HTTP and HTTPS; empty: all. The port of the probes is open. The cluster's network plugin enforces it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub http_from: Vec<NetworkPolicyPeer>,
    /// Store of the replicas.
    #[serde(default = "embedded")]
    pub store: PeerStore,
    /// Pull and push.
    #[serde(default)]
    pub sync: Sync,
    /// Heartbeats.
    #[serde(default)]
    pub heartbeat: Heartbeat,
    /// Whether a peer returns to a central node of lower priority number once it is back.
    #[serde(default)]
    pub failback: Failback,
    /// A new value makes every replica fetch the register again, with `store.embedded` once; `status.forceResync` shows the last
    /// value that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub force_resync: Option<String>,
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
    /// Requests and limits of the node's container; unset: 25m CPU, 64Mi memory, at most 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Where and how the pods run.
    #[serde(default)]
    pub pod: PodOverrides,
    /// Pauses reconciliation, of certificates too, until this is false again.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to the replicas' volumes when the resource is deleted. They can be fetched again.
    #[serde(default = "delete")]
    pub deletion_policy: DeletionPolicy,
}

const fn one() -> i32 {
    1
}

const fn delete() -> DeletionPolicy {
    DeletionPolicy::Delete
}

fn embedded() -> PeerStore {
    PeerStore { embedded: Some(EmbeddedStore::default()), mongodb: None }
}

/// A central node by its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CentralNodeAddress {
    /// Identity; unset: the host, then of at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub id: Option<String>,
    /// Host name or IP address.
    #[schemars(length(min = 1, max = 253), extend("pattern" = r"^[0-9A-Za-z.:-]+$"))]
    pub host: String,
    /// gRPC port.
    #[serde(default = "grpc_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Failover order: lowest first.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65535))]
    pub priority: i32,
    /// Secret key with the certificate of the authority that signed this central node's, PEM; unset: those of `spec.tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaKeyRef>,
}

const fn grpc_port() -> i32 {
    5000
}

/// Store of replicas: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.mongodb) != has(self.embedded)").message("store needs exactly one of embedded and mongodb"))]
#[x_kube(validation = Rule::new("has(self.mongodb) == has(oldSelf.mongodb)").message("the kind of store is immutable; make a new resource"))]
pub struct PeerStore {
    /// In one file on a volume per replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedStore>,
    /// In MongoDB, one database per replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mongodb: Option<PeerMongoDb>,
}

/// Replicas in MongoDB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerMongoDb {
    /// Secret key that holds the connection string.
    pub uri_secret_ref: SecretKeyRef,
    /// A replica's database is this and the pod's name.
    #[serde(default = "database_prefix")]
    #[schemars(extend("pattern" = "^[A-Za-z0-9_-]{0,15}$"))]
    pub database_prefix: String,
}

fn database_prefix() -> String {
    "sorcha-".to_owned()
}

/// Pull and push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sync {
    /// Period of the pull, 1m to 1h.
    #[serde(default = "five_minutes")]
    #[schemars(extend("pattern" = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('1h')").message("sync.interval must be 1m to 1h"))]
    pub interval: String,
    /// Whether publications are pushed to the peers at once.
    #[serde(default = "yes")]
    pub push: bool,
    /// What happens to reads of an old replica.
    #[serde(default)]
    pub max_staleness: MaxStaleness,
}

fn five_minutes() -> String {
    "5m".to_owned()
}

const fn yes() -> bool {
    true
}

impl Default for Sync {
    fn default() -> Self {
        Self { interval: five_minutes(), push: true, max_staleness: MaxStaleness::default() }
    }
}

/// What happens to reads of an old replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaxStaleness {
    /// Age limit, at least 1m.
    #[serde(default = "one_hour")]
    #[schemars(extend("pattern" = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("sync.maxStaleness.after must be at least 1m"))]
    pub after: String,
    /// Beyond the limit: answer reads with a warning, or refuse them (503).
    #[serde(default)]
    pub policy: StalenessPolicy,
}

fn one_hour() -> String {
    "1h".to_owned()
}

impl Default for MaxStaleness {
    fn default() -> Self {
        Self { after: one_hour(), policy: StalenessPolicy::default() }
    }
}

/// What happens beyond the age limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StalenessPolicy {
    /// Answer, and state the age of the replica.
    #[default]
    Warn,
    /// Refuse reads.
    RefuseReads,
}

/// Whether a peer returns to a better central node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Failback {
    /// It stays where it is.
    #[default]
    Never,
    /// After ten minutes at another one, once two probes of the better one, 30 s apart, have succeeded.
    AfterStable,
}
