//! What a running peer does with files that appear and change, beside central nodes on real sockets.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::json;
use sorcha_central::publish::Submission;
use sorcha_config::Config;
use sorcha_peer::{dial::PlainText, machine::state::PeerState, resync::DONE_FILE, status::SyncRecord};
use sorcha_runtime::{
    env::Env,
    metrics::{Metrics, SyncType},
};
use sorcha_store::{
    Store, StoreError,
    journal::{JournalStore, Options},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{local::LocalCentral, *};

/// Within this time a peer has looked at its files.
const FILE_CHECK: Duration = Duration::from_secs(2);

fn env() -> Env {
    Env::system(Metrics::disabled())
}

async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "not so: {what}");
}

/// A central node over a register; `full_syncs` at once.
async fn central(id: &str, folder: &Path, store: &Arc<dyn Store>, full_syncs: usize) -> LocalCentral {
    let mut config = Config::default().with_identity(id);
    config.store.data_dir = folder.join(id);
    config.listen.grpc = SocketAddr::from(([127, 0, 0, 1], 0));
    config.limits.connects.burst = 1000;
    config.limits.full_syncs.burst = 1000;
    config.limits.max_concurrent_full_syncs = full_syncs;
    config.limits.full_sync_wait = Duration::from_millis(50);
    LocalCentral::start(config, env(), Arc::clone(store)).await.unwrap()
}

async fn register(folder: &Path) -> (Arc<dyn Store>, LocalCentral) {
    let store: Arc<dyn Store> = Arc::new(JournalStore::in_memory(Options::default()).unwrap());
    let central = central("n1", folder, &store, 3).await;
    let document = br#"{"id":"invoice"}"#.as_slice().into();
    let (blueprint_id, published_by) = ("invoice".into(), "tester".into());
    let submission = Submission { blueprint_id, document, published_by, metadata: [].into() };
    central.node.publish(submission).await.unwrap();
    (store, central)
}

/// Opens a peer's store, once the tasks of the run before have let go of it.
async fn opened(config: &Config) -> Arc<dyn Store> {
    loop {
        match open_embedded(config, &env(), true).await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            opened => return opened.unwrap(),
        }
    }
}

struct Peer {
    node: Arc<PeerNode>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Peer {
    /// A peer with its data, its list of central nodes and its token in a folder.
    async fn start(folder: &Path) -> Self {
        let mut config = Config::default().with_identity("edge-0");
        config.store.data_dir = folder.join("edge-0");
        config.connect.initial_delay = Duration::from_millis(100);
        config.connect.max_delay = Duration::from_millis(500);
        config.central_nodes_file = Some(folder.join("central-nodes.json"));
        config.sync.force_resync_file = Some(folder.join("token"));
        let store = opened(&config).await;
        let node = prepare_peer(Arc::new(config), env(), store, Arc::new(PlainText)).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.run(async { drop(stopped.await) }).await.unwrap() })
        };
        Self { node, stop, running }
    }

    async fn until(&self, state: PeerState) {
        eventually(state.as_str(), || self.node.status().state == state).await;
    }

    async fn until_done(&self, token: &str) {
        eventually(token, || self.node.status().force_resync.as_deref() == Some(token)).await;
    }

    fn full_syncs(&self) -> usize {
        let is_full = |sync: &&SyncRecord| sync.sync_type == SyncType::Full && sync.error.is_none();
        self.node.status().syncs.iter().filter(is_full).count()
    }

    fn central_nodes_fault(&self) -> String {
        self.node.status().central_nodes_fault.unwrap_or_default()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap();
    }
}

fn list(folder: &TempDir, centrals: &[&LocalCentral]) {
    let address = |(priority, central): (u16, &&LocalCentral)| central.address(priority);
    let addresses: Vec<_> = (0..).zip(centrals).map(address).collect();
    let text = json!({ "central_nodes": addresses }).to_string();
    std::fs::write(folder.path().join("central-nodes.json"), text).unwrap();
}

fn ask(folder: &TempDir, token: &str) {
    std::fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_waits_for_its_file_of_central_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, central) = register(folder.path()).await;
    let peer = Peer::start(folder.path()).await;
    peer.until(PeerState::Isolated).await;
    assert!(peer.central_nodes_fault().contains("does not exist"), "{}", peer.central_nodes_fault());
    list(&folder, &[]);
    eventually("an empty list is read", || peer.central_nodes_fault().contains("lists none")).await;
    assert_eq!(peer.node.status().state, PeerState::Isolated);
    list(&folder, &[&central]);
    peer.until(PeerState::HeartbeatMonitoring).await;
    assert_eq!(peer.central_nodes_fault(), "");
    std::fs::remove_file(folder.path().join("central-nodes.json")).unwrap();
    eventually("the loss is seen", || peer.central_nodes_fault().contains("does not exist")).await;
    assert_eq!(peer.node.status().state, PeerState::HeartbeatMonitoring, "the list known is kept");
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_asks_for_one_full_sync_and_a_restart_does_not_repeat_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, central) = register(folder.path()).await;
    list(&folder, &[&central]);
    let peer = Peer::start(folder.path()).await;
    eventually("the first sync is done", || peer.full_syncs() == 1).await;
    ask(&folder, "2026-11-22");
    peer.until_done("2026-11-22").await;
    assert_eq!(peer.full_syncs(), 2);
    peer.stop().await;
    let done = std::fs::read_to_string(folder.path().join("edge-0").join(DONE_FILE)).unwrap();
    assert_eq!(done, "2026-11-22\ndf8e31284b7270530f6b0c4ef892509a2228c765cf5c609e4198670a7ed787e0\n");

    let peer = Peer::start(folder.path()).await;
    assert_eq!(peer.node.status().force_resync.as_deref(), Some("2026-11-22"));
    peer.until(PeerState::HeartbeatMonitoring).await;
    tokio::time::sleep(FILE_CHECK + Duration::from_millis(500)).await;
    assert_eq!(peer.full_syncs(), 0);
    ask(&folder, "again");
    peer.until_done("again").await;
    assert_eq!(peer.full_syncs(), 1);
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_outlives_a_restart_and_a_failover_until_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (store, central_1) = register(folder.path()).await;
    list(&folder, &[&central_1]);
    let peer = Peer::start(folder.path()).await;
    eventually("the first sync is done", || peer.full_syncs() == 1).await;
    peer.stop().await;

    // The first central node has no slot for a full sync.
    let central_0 = central("n0", folder.path(), &store, 0).await;
    list(&folder, &[&central_0, &central_1]);
    ask(&folder, "a");
    let peer = Peer::start(folder.path()).await;
    eventually("a full sync was refused", || peer.node.status().last_sync_error.is_some()).await;
    assert_eq!(peer.node.status().central_node_id.as_deref(), Some("n0"));
    assert_eq!(peer.node.status().force_resync, None);
    central_0.kill();
    peer.until_done("a").await;
    assert_eq!((peer.full_syncs(), peer.node.status().central_node_id.as_deref()), (1, Some("n1")));
    peer.stop().await;
}
