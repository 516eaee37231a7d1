//! The node's configuration file, made from a spec. Its keys are those of docs/configuration.md.

use serde_json::{Map, Value, json};
use sorcha_crds::{
    SorchaCentralNodeSpec, SorchaPeerSpec,
    central_node::{CentralLimits, Publishers},
    peer::{Failback, StalenessPolicy},
    shared::{Heartbeat, Log, LogFormat, Telemetry},
};

use super::meta::Owner;
use crate::names::{HTTPS_PORT, PROBES_PORT};

/// Where volumes are mounted.
pub(super) mod path {
    pub(crate) const CONFIG: &str = "/etc/sorcha/config";
    pub(crate) const NETWORK: &str = "/etc/sorcha/network";
    pub(crate) const MONGODB: &str = "/etc/sorcha/mongodb";
    pub(crate) const PUBLISHERS: &str = "/etc/sorcha/publishers";
    pub(crate) const TLS: &str = "/etc/sorcha/tls";
    pub(crate) const AUTHORITIES: &str = "/etc/sorcha/authorities";
    pub(crate) const DATA: &str = "/var/lib/sorcha";
}

/// File with the authorities of the central node at a place of a peer's list.
#[must_use]
pub(super) fn authority_file(place: usize) -> String {
    format!("{place}.crt")
}

/// Key of the ConfigMap that asks for a resync.
pub const FORCE_RESYNC_KEY: &str = "force-resync";
/// How long a better central node must have been up before a peer returns to it.
const FAILBACK_AFTER: &str = "10m";

fn common(owner: &Owner, heartbeat: &Heartbeat, log: &Log, telemetry: &Telemetry) -> Map<String, Value> {
    let format = match log.format {
        LogFormat::Json => "json",
        LogFormat::Human => "human",
    };
    let mut sections = Map::new();
    sections.insert("node".into(), json!({"network": owner.network}));
    // Without it probes would wait behind whatever callers do to the HTTP port.
    sections.insert("listen".into(), json!({"probes": format!("0.0.0.0:{PROBES_PORT}")}));
    sections.insert(
        "heartbeat".into(),
        json!({"interval": heartbeat.interval, "timeout": heartbeat.timeout, "max_missed": heartbeat.max_missed}),
    );
    sections.insert("log".into(), json!({"format": format, "filter": log.filter}));
    sections.insert("store".into(), json!({"data_dir": path::DATA}));
    sections
        .insert("report".into(), json!({"resource": format!("{}/{}", owner.component.plural(), owner.name)}));
    if let Some(endpoint) = &telemetry.otlp_endpoint {
        sections.insert("telemetry".into(), json!({"otlp_endpoint": endpoint}));
    }
    sections
}

/// The one place that turns TLS on in a node: its files are those that [`super::stateful_set`] mounts.
fn with_tls(sections: &mut Map<String, Value>, tls: bool) {
    if tls {
        let file = |name: &str| format!("{}/{name}", path::TLS);
        let files = json!({
            "certificate_file": file("tls.crt"), "key_file": file("tls.key"), "ca_file": file("ca.crt"),
        });
        sections.insert("tls".into(), files);
        sections["listen"]["https"] = json!(format!("0.0.0.0:{HTTPS_PORT}"));
    }
}

fn text(sections: &Map<String, Value>) -> String {
    toml::to_string(sections).unwrap_or_default()
}

/// Configuration of a central node; `may_review`: it may ask the API server about tokens.
#[must_use]
pub fn central_config(
    owner: &Owner,
    spec: &SorchaCentralNodeSpec,
    hostname: &str,
    may_review: bool,
    tls: bool,
) -> String {
    let mut sections = common(owner, &spec.heartbeat, &spec.log, &spec.telemetry);
    with_tls(&mut sections, tls);
    sections["node"]["id"] = json!(owner.name);
    sections["node"]["hostname"] = json!(hostname);
    if let Some(mongodb) = &spec.store.mongodb {
        sections["store"]["mongodb"] =
            json!({"uri_file": format!("{}/uri", path::MONGODB), "database": mongodb.database});
    }
    sections.insert("limits".into(), node_limits(&spec.limits));
    sections.insert("drain".into(), json!({"spread": spec.drain.spread, "timeout": spec.drain.timeout}));
    sections.insert("http".into(), publishers(&spec.publishers, may_review));
    text(&sections)
}

/// Limits of a node. Each peer has a connection, and half as many more come and go: the node's default is made for 10,000.
fn node_limits(limits: &CentralLimits) -> Value {
    let mut node = json!({
        "max_peers": limits.max_peers,
        "max_concurrent_full_syncs": limits.max_concurrent_full_syncs,
        "push_window": limits.push_window,
    });
    if limits.max_peers > 10_000 {
        node["max_connections"] = json!(limits.max_peers.saturating_add(limits.max_peers / 2));
    }
    node
}

fn publishers(spec: &Publishers, may_review: bool) -> Value {
    let mut http = json!({});
    if spec.tokens_secret_ref.is_some() {
        http["token_file"] = json!(format!("{}/tokens", path::PUBLISHERS));
    }
    if spec.kubernetes.enabled && may_review {
        // The resource is the one that the node reports into, in the pod's namespace.
        http["kubernetes"] = json!({"enabled": true});
    }
    http
}

/// Configuration of a peer; its id is the pod's name and comes from the environment.
#[must_use]
pub fn peer_config(owner: &Owner, spec: &SorchaPeerSpec, tls: bool) -> String {
    let mut sections = common(owner, &spec.heartbeat, &spec.log, &spec.telemetry);
    with_tls(&mut sections, tls);
    if spec.store.mongodb.is_some() {
        sections["store"]["mongodb"] = json!({"uri_file": format!("{}/uri", path::MONGODB)});
    }
    if spec.central_nodes.is_empty() {
        sections.insert("central_nodes_file".into(), json!(format!("{}/central-nodes.json", path::NETWORK)));
    } else {
        let central_nodes: Vec<Value> = spec
            .central_nodes
            .iter()
            .enumerate()
            .map(|(place, node)| {
                let mut central = json!({
                    "id": node.id.as_ref().unwrap_or(&node.host),
                    "host": node.host, "port": node.port, "priority": node.priority,
                });
                if node.ca_secret_ref.is_some() {
                    central["ca_file"] = json!(format!("{}/{}", path::AUTHORITIES, authority_file(place)));
                }
                central
            })
            .collect();
        sections.insert("central_nodes".into(), json!(central_nodes));
    }
    sections.insert(
        "sync".into(),
        json!({
            "interval": spec.sync.interval,
            "push": spec.sync.push,
            "force_resync_file": format!("{}/{FORCE_RESYNC_KEY}", path::CONFIG),
        }),
    );
    let staleness = &spec.sync.max_staleness;
    let refuse = staleness.policy == StalenessPolicy::RefuseReads;
    sections
        .insert("http".into(), json!({"max_staleness": {"after": staleness.after, "refuse_reads": refuse}}));
    if spec.failback == Failback::AfterStable {
        sections.insert("connect".into(), json!({"failback_after": FAILBACK_AFTER}));
    }
    text(&sections)
}
