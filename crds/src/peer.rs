//! `SorchaPeer`: replicas that each keep a verified copy of the register.

use k8s_openapi::{
    api::{core::v1::ResourceRequirements, networking::v1::NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    central_node::DNS_NAME,
    shared::{
        DURATION, DeletionPolicy, EmbeddedStore, Heartbeat, ImagePullPolicy, Log, PodOverrides, SecretKeyRef,
        Telemetry, default_network,
    },
    tls::{CaKeyRef, CertificateStatus, Tls},
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
    /// Certificate of the peers, and whom they trust.
    #[serde(default)]
    pub tls: Tls,
    /// Who may connect over HTTP and HTTPS; empty: everybody. The port of the probes is open. The cluster's network plugin enforces it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub http_from: Vec<NetworkPolicyPeer>,
    /// Where the replicas lie.
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
    /// A new value makes every replica fetch the register anew, with `store.embedded` once; `status.forceResync` tells the
    /// last one done.
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
    /// Leave everything as it is, certificates too, until this is false again.
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
    /// Its identity; unset: the host, of at most 64 characters then.
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

/// Where replicas lie: exactly one of the fields.
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
    /// The age in question, at least 1m.
    #[serde(default = "one_hour")]
    #[schemars(extend("pattern" = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("sync.maxStaleness.after must be at least 1m"))]
    pub after: String,
    /// Beyond it: answer reads with a warning, or refuse them (503).
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

/// What is done beyond the age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StalenessPolicy {
    /// Answer, and say how old the replica is.
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

/// What is observed of the peers. Each pod writes its own element of `nodes`, the controller everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SorchaPeerStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Ready pods of those asked for, such as `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub ready: Option<String>,
    /// Peers with a session at a central node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<i32>,
    /// Peers that reach no central node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<i32>,
    /// State of all peers' connections, or the worst one with its count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub state: Option<String>,
    /// Central node of all connected peers, or `mixed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub central: Option<String>,
    /// Version that every peer holds; absent while that of one is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<i64>,
    /// Versions behind, of the peer that is furthest behind; absent while that of one is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag: Option<i64>,
    /// Every peer was known to equal its central node's head at this instant or later; absent while one never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_as_of: Option<Time>,
    /// Moves to another central node since the peers' processes started, all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failovers: Option<i64>,
    /// Longest mean round trip of heartbeats, such as `1.8ms`, as of the last change of anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub rtt: Option<String>,
    /// Digest of the content of all peers that have reported one, its first 12 digits, or `differs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,
    /// Newest value of `spec.forceResync` that every peer has done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub force_resync: Option<String>,
    /// Certificate that the peers are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// Selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// What each peer reported last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2048))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub nodes: Vec<PeerReport>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What a peer reports of itself, on change and at a bounded rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// Pod, which is also the `peer_id`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `Disconnected`, `Connecting`, `Connected`, `HeartbeatMonitoring` or `Isolated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub state: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Central node connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub central_node: Option<String>,
    /// Version of the replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub version: Option<i64>,
    /// Versions behind the central node; absent while it is not known, and while the replica is ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub lag: Option<i64>,
    /// Versions that the central node's register has lost and the replica still holds; absent while there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ahead: Option<i64>,
    /// The replica was last known to equal its central node's head at this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_as_of: Option<Time>,
    /// Heartbeats missed in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub missed_heartbeats: Option<i32>,
    /// Moves to another central node since the process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failovers: Option<i64>,
    /// Mean round trip of the last heartbeats, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub rtt_ms: Option<f64>,
    /// Digest of the replica's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,
    /// Lineage of the replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub lineage: Option<String>,
    /// Central node with a register of another lineage, when one was met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub split_brain: Option<String>,
    /// Central node whose register contradicts the replica, which keeps what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub refused: Option<String>,
    /// What that register contradicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub refusal: Option<String>,
    /// Integrity findings that are not repaired yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub findings: Option<i64>,
    /// Why the replica does not follow its central node, though they are connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replication_fault: Option<String>,
    /// Last value of `spec.forceResync` that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub force_resync: Option<String>,
    /// End of the node's TLS certificate; absent where gRPC is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Time>,
    /// What went wrong last, while it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}
