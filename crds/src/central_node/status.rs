//! Status of a central node: what the controller observes and the node reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tls::CertificateStatus;

/// Status of scheduled backups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// Due time of the newest backup that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// End of the newest backup that was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,
    /// Whether a backup is running.
    #[serde(default)]
    pub running: bool,
}

/// Observed state of a central node. The node writes `node`, the controller everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SorchaCentralNodeStatus {
    /// Generation of the spec that this status describes.
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
    /// Certificate of the node.
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
    /// Reason of the state, unless it is obvious.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Start of the process.
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
    /// Why the store is not used; absent while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub store_message: Option<String>,
    /// Integrity findings; absent until the register was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub findings: Option<i64>,
    /// Why entries of the store are not served: they contradict the register served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub refusal: Option<String>,
    /// `RegisterLost`, `RegisterExchanged` or `RegisterRolledBack` while the database does not hold the register served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub register_fault: Option<String>,
    /// End of the node's TLS certificate; absent where gRPC is plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Time>,
}
