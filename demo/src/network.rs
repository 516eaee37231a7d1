//! The network of the demo: its nodes, and what they show.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sorcha_central::publish::Submission;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_host::{listen, local::LocalCentral, open_embedded, prepare_peer};
use sorcha_http as http;
use sorcha_peer::{PeerNode, dial::PlainText, machine::state::PeerState};
use sorcha_register::names::BlueprintId;
use sorcha_runtime::{env::Env, metrics::Metrics};
use sorcha_store::{Publication, Store};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    DemoError, Summary,
    blueprints::Blueprint,
    table::{Progress, Row, percentile},
};

pub(super) const CENTRAL_NODES: usize = 3;
/// Heartbeat interval, short so that the demo shows some.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Three central nodes and some peers.
pub(super) struct Network {
    store: Arc<dyn Store>,
    configs: Vec<Config>,
    /// `None` while killed.
    centrals: Vec<Option<LocalCentral>>,
    peers: Vec<Peer>,
    token_file: PathBuf,
}

struct Peer {
    node: Arc<PeerNode>,
    http: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

fn config(id: String, folder: &Path, token_file: &Path) -> Config {
    let mut config = Config::default().with_identity(&id);
    config.store.data_dir = folder.join(id);
    config.listen.grpc = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen.http = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.heartbeat.interval = HEARTBEAT;
    config.http.token_file = Some(token_file.to_owned());
    config
}

fn env() -> Env {
    Env::system(Metrics::disabled())
}

impl Network {
    pub(super) async fn start(folder: &Path, peers: u16) -> Result<Self, DemoError> {
        let token = format!("{:032x}", env().random.bits());
        let token_file = folder.join("tokens");
        std::fs::write(&token_file, format!("demo: {token}\n")).map_err(DemoError::Folder)?;
        let mut configs: Vec<_> =
            (0..CENTRAL_NODES).map(|n| config(format!("n{n}.sorcha.dev"), folder, &token_file)).collect();
        let store = open_embedded(&configs[0], &env(), false).await?;
        let mut centrals = Vec::new();
        for config in &mut configs {
            let central = start_central(config, Arc::clone(&store)).await?;
            // A restarted node listens on the same port.
            config.listen.grpc = central.grpc;
            centrals.push(Some(central));
        }
        let addresses: Vec<_> =
            centrals.iter().flatten().enumerate().map(|(n, central)| central.address(priority(n))).collect();
        let mut network =
            Self { store, configs, centrals, peers: Vec::new(), token_file: token_file.clone() };
        for number in 0..peers {
            let config = config(format!("peer-{number}"), folder, &token_file);
            network.peers.push(Peer::start(config, addresses.clone()).await?);
        }
        Ok(network)
    }

    pub(super) fn kill(&mut self, number: usize) {
        if let Some(central) = self.centrals[number].take() {
            central.kill();
        }
    }

    pub(super) async fn restart(&mut self, number: usize) -> Result<(), DemoError> {
        let central = start_central(&mut self.configs[number], Arc::clone(&self.store)).await?;
        self.centrals[number] = Some(central);
        Ok(())
    }

    pub(super) async fn publish(
        &self,
        number: usize,
        blueprint: &Blueprint,
    ) -> Result<Publication, DemoError> {
        let central = self.centrals[number]
            .as_ref()
            .ok_or(DemoError::Stuck { what: "a central node to publish at" })?;
        let submission = Submission {
            blueprint_id: blueprint.id.clone(),
            document: blueprint.json.clone().into(),
            published_by: "demo".to_owned(),
            metadata: [("category".to_owned(), "demo".to_owned())].into(),
        };
        let failed = |source| DemoError::Publish { id: blueprint.id.clone(), source };
        central.node.publish(submission).await.map_err(failed)
    }

    /// Whether every peer beats and has the register's head and digest.
    pub(super) fn all_in_sync(&self) -> bool {
        let Some(register) = self.register() else { return false };
        self.peers.iter().all(|peer| {
            let view = peer.node.replica.view();
            peer.node.status().state == PeerState::HeartbeatMonitoring
                && view.head() == register.head()
                && view.digest() == register.digest()
        })
    }

    fn register(&self) -> Option<Arc<sorcha_register::view::RegisterView>> {
        self.centrals.iter().flatten().map(|central| central.node.log.view()).max_by_key(|view| view.head())
    }

    pub(super) fn caught_up(&self, number: usize) -> bool {
        let head = self.register().map(|view| view.head());
        self.centrals[number].as_ref().map(|central| central.node.log.view().head()) == head
    }

    /// Peers that are at a central node.
    pub(super) fn peers_at(&self, number: usize) -> usize {
        let id = &self.configs[number].node.id;
        self.peers.iter().filter(|peer| peer.node.status().central_node_id.as_ref() == Some(id)).count()
    }

    /// Every peer beats at a central node that is up.
    pub(super) fn all_beating_elsewhere(&self) -> bool {
        self.peers.iter().all(|peer| {
            let status = peer.node.status();
            let at_live = |id: &String| self.centrals.iter().flatten().any(|central| central.node.id() == id);
            status.state == PeerState::HeartbeatMonitoring
                && status.central_node_id.as_ref().is_some_and(at_live)
        })
    }

    pub(super) fn progress(&self) -> Progress {
        let central = |(config, central): (&Config, &Option<LocalCentral>)| {
            let node = config.node.id.clone();
            let Some(central) = central else {
                return Row { node, state: "killed".to_owned(), ..Row::default() };
            };
            let status = central.node.status(None, false);
            Row {
                node,
                state: format!("{:?}", status.health()),
                central: format!("{} peers", status.active_peer_count),
                version: status.current_system_register_version,
                ..Row::default()
            }
        };
        Progress {
            centrals: self.configs.iter().zip(&self.centrals).map(central).collect(),
            peers: self.peers.iter().map(Peer::row).collect(),
        }
    }

    /// Compares every replica with the register, and looks for every acknowledged publication in it.
    pub(super) fn sum_up(&self, summary: &mut Summary, versions: &[(String, i64)]) {
        let Some(register) = self.register() else { return };
        let views: Vec<_> = self.peers.iter().map(|peer| peer.node.replica.view()).collect();
        let held = |view: &sorcha_register::view::RegisterView, id: &str, version: i64| {
            let entry = BlueprintId::new(id).ok().and_then(|id| view.get(&id).cloned());
            entry.is_some_and(|sealed| sealed.entry().version.get() >= version)
        };
        let missing = |view| versions.iter().filter(|(id, version)| !held(view, id, *version)).count();
        summary.lost = views.iter().map(missing).sum();
        summary.equal_replicas =
            views.iter().filter(|v| v.head() == register.head() && v.digest() == register.digest()).count();
        (summary.version, summary.digest) = (register.head().get(), register.digest().short());
        let mut latencies: Vec<_> =
            self.peers.iter().flat_map(|peer| peer.node.status().push_latencies).collect();
        summary.push_p50_ms = percentile(&mut latencies, 0.5).unwrap_or_default();
        summary.push_p99_ms = percentile(&mut latencies, 0.99).unwrap_or_default();
    }

    /// Addresses of the nodes, and a command that publishes.
    pub(super) fn addresses(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (config, central) in self.configs.iter().zip(&self.centrals) {
            if let Some(central) = central {
                lines.push(format!(
                    "  {:<16} gRPC {}   http://{}/docs",
                    config.node.id, central.grpc, config.listen.http
                ));
            }
        }
        for peer in &self.peers {
            lines.push(format!("  {:<16} http://{}/docs", peer.node.id.as_str(), peer.http));
        }
        lines.push(String::new());
        let url = self.configs.first().map(|config| config.listen.http.to_string()).unwrap_or_default();
        let tokens = self.token_file.display();
        lines.push(format!("  sorcha-node publish --url http://{url} --token-file {tokens} FILE.json"));
        lines
    }

    pub(super) async fn stop(self) {
        for mut peer in self.peers {
            if let Some(stop) = peer.stop.take() {
                // A peer that has ended by itself does not listen.
                let _unheard = stop.send(());
            }
            drop(peer.running.await);
        }
        for central in self.centrals.into_iter().flatten() {
            central.kill();
        }
    }
}

fn priority(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Starts a central node and its HTTP server; `config.listen.http` is the address it got.
async fn start_central(config: &mut Config, store: Arc<dyn Store>) -> Result<LocalCentral, DemoError> {
    let listener = listen("listen.http", config.listen.http).await?;
    config.listen.http = listener.local_addr().map_err(DemoError::Listen)?;
    let central = LocalCentral::start(config.clone(), env(), store).await?;
    let router = http_router(http::NodeHandle::Central(Arc::clone(&central.node)), config)?;
    let listener = listener.into_std().map_err(DemoError::Listen)?;
    let limits = config.http.clone();
    central.spawn(async move {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                drop(http::serve(listener, router, &limits, &env().metrics, std::future::pending()).await)
            }
            Err(error) => tracing::error!(%error, "HTTP is off"),
        }
    });
    Ok(central)
}

fn http_router(node: http::NodeHandle, config: &Config) -> Result<axum::Router, DemoError> {
    let auth = http::Auth::new(&config.http, env().clock, None)?;
    Ok(http::router(node, auth, prometheus::Registry::new()))
}

impl Peer {
    async fn start(mut config: Config, centrals: Vec<CentralNodeAddress>) -> Result<Self, DemoError> {
        config.central_nodes = centrals;
        let store = open_embedded(&config, &env(), true).await?;
        let listener = listen("listen.http", config.listen.http).await?;
        let http = listener.local_addr().map_err(DemoError::Listen)?;
        let node = prepare_peer(Arc::new(config.clone()), env(), store, Arc::new(PlainText)).await?;
        let router = http_router(http::NodeHandle::Peer(Arc::clone(&node)), &config)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let running = {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let served =
                    http::serve(listener, router, &config.http, &node.env.metrics, std::future::pending());
                tokio::select! {
                    ended = node.run(async { drop(stopped.await) }) => {
                        if let Err(error) = ended {
                            tracing::error!(%error, "peer ended with a fault");
                        }
                    }
                    _ = served => {}
                }
            })
        };
        Ok(Self { node, http, stop: Some(stop), running })
    }

    fn row(&self) -> Row {
        let status = self.node.status();
        let version = self.node.replica.head();
        let mut latencies: Vec<_> = status.push_latencies.iter().copied().collect();
        Row {
            node: self.node.id.to_string(),
            state: status.state.to_string(),
            central: status.central_node_id.clone().unwrap_or_else(|| "-".to_owned()),
            version: version.get(),
            lag: status.lag(version),
            push_p50_ms: percentile(&mut latencies, 0.5),
            push_p99_ms: percentile(&mut latencies, 0.99),
            heartbeats: status.heartbeat.acknowledged,
            failovers: status.failovers,
        }
    }
}
