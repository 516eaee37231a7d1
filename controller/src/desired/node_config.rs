//! The node's configuration file, made from a spec: the node's own settings, of which those are written that were stated.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use sorcha_config::{CentralNodeAddress, Config, LogFormat as NodeLogFormat};
use sorcha_crds::{
    SorchaCentralNodeSpec, SorchaPeerSpec,
    central_node::CentralLimits,
    peer::{self, Failback, StalenessPolicy},
    shared::{Heartbeat, Log, LogFormat, Telemetry},
};
use toml::{Table, Value};

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
pub(crate) const FORCE_RESYNC_KEY: &str = "force-resync";
/// How long a better central node must have been up before a peer returns to it.
const FAILBACK_AFTER: Duration = Duration::from_secs(600);

/// Settings that were stated, the node's own defaults among them: a node of another version may have others.
#[derive(Default)]
struct NodeFile {
    config: Config,
    /// Sections and key of each.
    stated: Vec<&'static [&'static str]>,
}

/// States a setting. One that the node does not have does not compile.
macro_rules! state {
    ($file:ident.$($key:ident).+ = $value:expr) => {{
        $file.config.$($key).+ = $value;
        $file.stated.push(&[$(stringify!($key)),+]);
    }};
}

impl NodeFile {
    /// The file's text, sections and keys in alphabetical order.
    fn text(&self) -> String {
        let all = Table::try_from(&self.config).unwrap_or_default();
        let mut file = Table::new();
        self.stated.iter().for_each(|place| copy(&all, &mut file, place));
        file.to_string()
    }
}

fn copy(from: &Table, to: &mut Table, place: &[&str]) {
    let Some((key, inner)) = place.split_first() else { return };
    match from.get(*key) {
        Some(Value::Table(from)) if !inner.is_empty() => {
            if let Value::Table(to) = to.entry(*key).or_insert_with(|| Table::new().into()) {
                copy(from, to, inner);
            }
        }
        value => to.extend(value.map(|value| ((*key).to_owned(), value.clone()))),
    }
}

/// A time of a spec, which its schema has checked.
fn time(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap_or_default()
}

/// A number of a spec, which its schema has checked.
fn number<T: TryFrom<i32> + Default>(number: i32) -> T {
    T::try_from(number).unwrap_or_default()
}

fn everywhere(port: i32) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, number(port)).into()
}

fn common(owner: &Owner, heartbeat: &Heartbeat, log: &Log, telemetry: &Telemetry, tls: bool) -> NodeFile {
    let mut file = NodeFile::default();
    state!(file.node.network = owner.network.clone());
    // Without it probes would wait behind whatever callers do to the HTTP port.
    state!(file.listen.probes = Some(everywhere(PROBES_PORT)));
    state!(file.heartbeat.interval = time(&heartbeat.interval));
    state!(file.heartbeat.timeout = time(&heartbeat.timeout));
    state!(file.heartbeat.max_missed = number(heartbeat.max_missed));
    state!(file.log.filter = log.filter.clone());
    let format = match log.format {
        LogFormat::Json => NodeLogFormat::Json,
        LogFormat::Human => NodeLogFormat::Human,
    };
    state!(file.log.format = format);
    state!(file.store.data_dir = path::DATA.into());
    state!(file.report.resource = Some(format!("{}/{}", owner.component.plural(), owner.name)));
    if telemetry.otlp_endpoint.is_some() {
        state!(file.telemetry.otlp_endpoint = telemetry.otlp_endpoint.clone());
    }
    if tls {
        turn_tls_on(&mut file);
    }
    file
}

/// The one place that turns TLS on in a node: its files are those that [`super::stateful_set`] mounts.
fn turn_tls_on(file: &mut NodeFile) {
    let of_tls = |name: &str| Some(format!("{}/{name}", path::TLS).into());
    state!(file.tls.certificate_file = of_tls("tls.crt"));
    state!(file.tls.key_file = of_tls("tls.key"));
    state!(file.tls.ca_file = of_tls("ca.crt"));
    state!(file.listen.https = everywhere(HTTPS_PORT));
}

fn use_mongodb(file: &mut NodeFile) {
    state!(file.store.mongodb.uri_file = Some(format!("{}/uri", path::MONGODB).into()));
}

/// Configuration of a central node; `may_review`: it may ask the API server about tokens.
#[must_use]
pub(crate) fn central_config(
    owner: &Owner,
    spec: &SorchaCentralNodeSpec,
    hostname: &str,
    may_review: bool,
    tls: bool,
) -> String {
    let mut file = common(owner, &spec.heartbeat, &spec.log, &spec.telemetry, tls);
    state!(file.node.id = owner.name.clone());
    state!(file.node.hostname = hostname.to_owned());
    if let Some(mongodb) = &spec.store.mongodb {
        use_mongodb(&mut file);
        state!(file.store.mongodb.database = mongodb.database.clone());
    }
    limit(&mut file, &spec.limits);
    state!(file.drain.spread = time(&spec.drain.spread));
    state!(file.drain.timeout = time(&spec.drain.timeout));
    let tokens = spec.publishers.tokens_secret_ref.as_ref();
    state!(file.http.token_file = tokens.map(|_| format!("{}/tokens", path::PUBLISHERS).into()));
    if spec.publishers.kubernetes.enabled && may_review {
        // The resource is the one that the node reports into, in the pod's namespace.
        state!(file.http.kubernetes.enabled = true);
    }
    file.text()
}

/// Each peer has a connection, and half as many more come and go: the node's default is made for 10,000.
fn limit(file: &mut NodeFile, limits: &CentralLimits) {
    state!(file.limits.max_peers = number(limits.max_peers));
    state!(file.limits.max_concurrent_full_syncs = number(limits.max_concurrent_full_syncs));
    state!(file.limits.push_window = number(limits.push_window));
    if limits.max_peers > 10_000 {
        state!(file.limits.max_connections = number(limits.max_peers.saturating_add(limits.max_peers / 2)));
    }
}

/// Configuration of a peer; its id is the pod's name and comes from the environment.
#[must_use]
pub(crate) fn peer_config(owner: &Owner, spec: &SorchaPeerSpec, tls: bool) -> String {
    let mut file = common(owner, &spec.heartbeat, &spec.log, &spec.telemetry, tls);
    if spec.store.mongodb.is_some() {
        use_mongodb(&mut file);
    }
    if spec.central_nodes.is_empty() {
        state!(file.central_nodes_file = Some(format!("{}/central-nodes.json", path::NETWORK).into()));
    } else {
        state!(file.central_nodes = spec.central_nodes.iter().enumerate().map(address).collect());
    }
    state!(file.sync.interval = time(&spec.sync.interval));
    state!(file.sync.push = spec.sync.push);
    state!(file.sync.force_resync_file = Some(format!("{}/{FORCE_RESYNC_KEY}", path::CONFIG).into()));
    let staleness = &spec.sync.max_staleness;
    state!(file.http.max_staleness.after = time(&staleness.after));
    state!(file.http.max_staleness.refuse_reads = staleness.policy == StalenessPolicy::RefuseReads);
    if spec.failback == Failback::AfterStable {
        state!(file.connect.failback_after = Some(FAILBACK_AFTER));
    }
    file.text()
}

/// A central node at its place of a peer's list.
fn address((place, node): (usize, &peer::CentralNodeAddress)) -> CentralNodeAddress {
    let authority = || format!("{}/{}", path::AUTHORITIES, authority_file(place)).into();
    CentralNodeAddress {
        id: Some(node.id.as_ref().unwrap_or(&node.host).clone()),
        host: node.host.clone(),
        port: number(node.port),
        priority: number(node.priority),
        ca_file: node.ca_secret_ref.as_ref().map(|_| authority()),
    }
}
