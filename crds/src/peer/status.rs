//! Status of peers: what the controller observes and each pod reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tls::CertificateStatus;

/// Observed state of the peers. Each pod writes its own element of `nodes`, the controller everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SorchaPeerStatus {
    /// Generation of the spec that this status describes.
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
    /// Version that every peer holds; absent while the version of one is not known.
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
    /// Certificate of the peers.
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
    /// Start of the state.
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
    /// Central node that serves another lineage, if the peer met one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub split_brain: Option<String>,
    /// Central node whose register contradicts the replica, which keeps what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub refused: Option<String>,
    /// The contradiction.
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
    /// End of the node's TLS certificate; absent where gRPC is plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Time>,
    /// Current fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}
