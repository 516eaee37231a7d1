//! A network of nodes in one process, on real sockets, for tests: central nodes that can be killed and started
//! again on the same port, and peers. Not a mock of anything: it starts the nodes as the binary does.
#![allow(clippy::too_many_lines, reason = "a scenario is a list of steps")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test helper fails by panicking")]

pub mod history;
pub mod legacy;
pub mod occupied;
pub mod probing;
pub mod process;
pub mod scripted;
pub mod simulation;
pub mod tally;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use sorcha_central::publish::Submission;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_host::local::LocalCentral;
use sorcha_host::prepare_peer;
use sorcha_peer::{PeerNode, dial::dialer, machine::state::PeerState};
use sorcha_runtime::{env::Env, metrics::Metrics};
use sorcha_store::{
    Publication, Store,
    journal::{JournalStore, Options},
};
use tokio::sync::oneshot;

/// How long anything in a test may take before it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so.
///
/// # Panics
/// When it is not so after [`PATIENCE`].
pub async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not so after {PATIENCE:?}: {what}");
}

/// A configuration with short times.
#[must_use]
pub fn quick(id: &str, data: &Path) -> Config {
    let mut config = Config::default().with_identity(id);
    config.store.data_dir = data.join(id);
    config.heartbeat.interval = Duration::from_secs(1);
    config.connect.initial_delay = Duration::from_millis(100);
    config.connect.max_delay = Duration::from_millis(500);
    config.sync.resubscribe_after = Duration::from_millis(100);
    config.drain.spread = Duration::from_millis(200);
    config.limits.connects.burst = 1000;
    config.limits.full_syncs.burst = 1000;
    config.limits.heartbeat_burst = 1000;
    config
}

/// An embedded store in memory.
///
/// # Panics
/// When it can't be made.
#[must_use]
pub fn memory() -> Arc<dyn Store> {
    Arc::new(JournalStore::in_memory(Options::default()).expect("an empty store"))
}

/// A central node that can be killed and drained.
pub struct Central(LocalCentral);

impl std::ops::Deref for Central {
    type Target = LocalCentral;
    fn deref(&self) -> &LocalCentral {
        &self.0
    }
}

impl Central {
    /// Starts one; port 0 picks a free one.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(mut config: Config, store: Arc<dyn Store>, port: u16) -> Self {
        config.listen.grpc = SocketAddr::from(([127, 0, 0, 1], port));
        let env = Env::system(Metrics::disabled()).secured(&config.tls).expect("TLS files");
        Self(LocalCentral::start(config, env, store).await.expect("a central node"))
    }

    /// Publishes a small document under an id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn publish(&self, id: &str) -> Publication {
        let document = format!(
            r#"{{"@context":"https://sorcha.dev/blueprints/v1","id":"{id}","name":"Blueprint {id}"}}"#
        );
        let submission = Submission {
            blueprint_id: id.into(),
            document: document.into_bytes().into(),
            published_by: "tester".into(),
            metadata: [("category".into(), "test".into())].into(),
        };
        self.node.publish(submission).await.expect("published")
    }

    /// Kills it: every socket closes at once, nothing is said.
    pub fn kill(self) {
        self.0.kill();
    }

    /// Ends it as SIGTERM does, with its peers told to move.
    ///
    /// # Panics
    /// When it does not end well.
    pub async fn drain(self) {
        self.0.drain().await.expect("a clean end");
    }
}

/// A peer in the test's own runtime.
pub struct Peer {
    /// The node.
    pub node: Arc<PeerNode>,
    stop: Option<oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(mut config: Config, store: Arc<dyn Store>, centrals: Vec<CentralNodeAddress>) -> Self {
        config.central_nodes = centrals;
        let env = Env::system(Metrics::disabled()).secured(&config.tls).expect("TLS files");
        let dialer = dialer(&env);
        let node = prepare_peer(Arc::new(config), env, store, dialer).await.expect("a replica");
        let (stop, stopped) = oneshot::channel();
        let running = {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.run(async { drop(stopped.await) }).await.expect("a clean end") })
        };
        Self { node, stop: Some(stop), running }
    }

    /// Waits for a state.
    pub async fn until_state(&self, state: PeerState) {
        eventually(&format!("{} is {state}", self.node.id), || self.node.status().state == state).await;
    }

    /// Waits until it beats at a central node.
    pub async fn until_connected_to(&self, central: &str) {
        eventually(&format!("{} is at {central}", self.node.id), || {
            let status = self.node.status();
            status.state == PeerState::HeartbeatMonitoring
                && status.central_node_id.as_deref() == Some(central)
        })
        .await;
    }

    /// Waits until its replica equals a central node's register.
    pub async fn until_equal(&self, central: &Central) {
        eventually(&format!("{} equals {}", self.node.id, central.node.id()), || {
            let (ours, theirs) = (self.node.replica.view(), central.node.log.view());
            ours.head() == theirs.head() && ours.digest() == theirs.digest()
        })
        .await;
    }

    /// Ends it as SIGTERM does.
    ///
    /// # Panics
    /// When it does not end well.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _unheard = stop.send(());
        }
        (&mut self.running).await.expect("a clean end");
    }

    /// Kills it: its sockets close, nothing is said.
    pub fn kill(self) {
        self.running.abort();
    }
}
