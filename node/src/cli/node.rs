//! The flags of the commands that stay: `central`, `peer` and `demo`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use sorcha_config::CentralNodeAddress;

use super::overrides::Overrides;

/// Flags that are settings.
pub trait NodeSettings {
    /// Adds what was given.
    fn add_to(&self, overrides: &mut Overrides);

    /// Whether only a peer has them.
    fn are_of_a_peer(&self) -> bool {
        false
    }
}

/// A path that a setting can hold: settings are text.
pub(crate) fn utf8_path(path: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(path))
}

/// Flags that both roles take.
#[derive(Clone, Debug, Default, Args)]
pub struct NodeArgs {
    /// Identity of this node [default: the host name]
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// Host name, checked against the role [default: the id, else the machine's name]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// The network, whose central nodes are named `*.NETWORK` [default: sorcha.dev]
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,
    /// Don't check the host name against the role
    #[arg(long)]
    pub no_validate_hostname: bool,
    /// Where HTTP listens [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen_http: Option<SocketAddr>,
    /// Where HTTPS listens, if the configuration names TLS files [default: 0.0.0.0:8443]
    #[arg(long, value_name = "ADDRESS")]
    pub listen_https: Option<SocketAddr>,
    /// Address for probes alone, such as 0.0.0.0:8081, which answers however busy the other ports are [default: HTTP only]
    #[arg(long, value_name = "ADDRESS")]
    pub listen_probes: Option<SocketAddr>,
    /// Directory of the embedded store and of this node's key [default: ./data]
    #[arg(long, value_name = "DIR", value_parser = utf8_path)]
    pub data_dir: Option<PathBuf>,
    /// File with the MongoDB connection string; the register is then stored there, not in the data directory
    #[arg(long, value_name = "FILE", value_parser = utf8_path)]
    pub mongodb_uri_file: Option<PathBuf>,
    /// File with the bearer tokens that may write over HTTP, one `name: token` a line
    #[arg(long, value_name = "FILE", value_parser = utf8_path)]
    pub token_file: Option<PathBuf>,
    /// Let anybody write over HTTP; for trials only
    #[arg(long)]
    pub insecure_writes: bool,
    /// OTLP endpoint for traces and metrics, such as http://collector:4317
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

impl NodeSettings for NodeArgs {
    fn add_to(&self, overrides: &mut Overrides) {
        overrides.set("node.id", self.node_id.as_ref());
        overrides.set("node.hostname", self.hostname.as_ref());
        overrides.set("node.network", self.network.as_ref());
        overrides.set_switch("node.validate_hostname", self.no_validate_hostname, false);
        overrides.set("listen.http", self.listen_http);
        overrides.set("listen.https", self.listen_https);
        overrides.set("listen.probes", self.listen_probes);
        overrides.set_path("store.data_dir", self.data_dir.as_deref());
        if let Some(file) = &self.mongodb_uri_file {
            overrides.clear("store.mongodb.uri");
            overrides.set_path("store.mongodb.uri_file", Some(file));
        }
        overrides.set_path("http.token_file", self.token_file.as_deref());
        overrides.set_switch("http.insecure_writes", self.insecure_writes, true);
        overrides.set("telemetry.otlp_endpoint", self.otlp_endpoint.as_ref());
    }
}

/// Flags of `central`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:\n  \
    sorcha-node central --hostname n0.sorcha.dev --mongodb-uri-file /etc/sorcha/mongodb-uri --token-file tokens\n  \
    sorcha-node central --node-id trial --no-validate-hostname --insecure-writes      for a trial, no MongoDB\n\
    \n\
    SIGTERM drains: peers are told to move to another central node, then the process ends.")]
pub struct CentralArgs {
    /// Flags that both roles take.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where gRPC listens for peers [default: 0.0.0.0:5000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen_grpc: Option<SocketAddr>,
}

impl NodeSettings for CentralArgs {
    fn add_to(&self, overrides: &mut Overrides) {
        self.node.add_to(overrides);
        overrides.set("listen.grpc", self.listen_grpc);
    }
}

/// Flags of `peer`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:\n  \
    sorcha-node peer --node-id edge-0 --central-node n0=10.0.0.5:5000 --central-node n1=10.0.0.6:5000\n  \
    sorcha-node peer --config /etc/sorcha/peer.toml --central-nodes-file /etc/sorcha/central-nodes.json\n\
    \n\
    A peer that reaches no central node goes on serving what it holds, and keeps trying.")]
pub struct PeerArgs {
    /// Flags that both roles take.
    #[command(flatten)]
    pub node: NodeArgs,
    /// A central node, as HOST, HOST:PORT or ID=HOST:PORT; repeat the flag for others, in the order of their priority
    #[arg(long = "central-node", value_name = "ID=HOST:PORT", conflicts_with = "central_nodes_file")]
    pub central_nodes: Vec<CentralNodeAddress>,
    /// TOML or JSON file with the central nodes, read again when it changes
    #[arg(long, value_name = "FILE", value_parser = utf8_path)]
    pub central_nodes_file: Option<PathBuf>,
}

impl NodeSettings for PeerArgs {
    fn add_to(&self, overrides: &mut Overrides) {
        self.node.add_to(overrides);
        if !self.central_nodes.is_empty() {
            let in_order = (0..).zip(&self.central_nodes);
            let with_priority =
                in_order.map(|(priority, node)| CentralNodeAddress { priority, ..node.clone() });
            overrides.set("central_nodes", Some(with_priority.collect::<Vec<_>>()));
            overrides.clear("central_nodes_file");
        }
        if let Some(file) = &self.central_nodes_file {
            overrides.set("central_nodes", Some(Vec::<CentralNodeAddress>::new()));
            overrides.set_path("central_nodes_file", Some(file));
        }
    }

    fn are_of_a_peer(&self) -> bool {
        true
    }
}

/// The machine's name: what the kernel says, else what `uname` says.
#[must_use]
pub(crate) fn machine_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let uname = || {
        let output = std::process::Command::new("uname").arg("-n").output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let name = kernel.or_else(uname).map(|text| text.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "localhost".to_owned())
}
