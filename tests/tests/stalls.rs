//! Central nodes that let their peers wait, and replicas whose store panics: replication goes on in the other way, at another
//! central node, or after a while; and it is told.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_peer::machine::state::PeerState;
use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version};
use sorcha_store::{Checkpoint, Draft, Loaded, Publication, StateChange, Store, StoreError};
use sorcha_tests::{
    Central, Peer, eventually, memory, quick,
    scripted::{ScriptedCentral, Silence},
};

/// Far above what a central node on this machine needs.
const STALL: Duration = Duration::from_secs(2);

fn settings(id: &str, data: &Path) -> Config {
    let mut config = quick(id, data);
    config.sync.stall_timeout = STALL;
    config
}

fn address(id: &str, at: SocketAddr, priority: u16) -> CentralNodeAddress {
    CentralNodeAddress {
        id: Some(id.into()),
        host: at.ip().to_string(),
        port: at.port(),
        priority,
        ca_file: None,
    }
}

async fn central(data: &Path) -> Central {
    let central = Central::start(quick("n0.sorcha.dev", data), memory(), 0).await;
    for id in ["a", "b", "c"] {
        central.publish(id).await;
    }
    central
}

/// Two central nodes over one register.
async fn two(data: &Path) -> [Central; 2] {
    let store = memory();
    let start = |id| Central::start(quick(id, data), Arc::clone(&store), 0);
    let centrals = [start("n0").await, start("n1").await];
    for id in ["a", "b", "c"] {
        centrals[0].publish(id).await;
    }
    centrals
}

async fn publish_more(central: &Central) {
    for id in ["d", "e", "f"] {
        central.publish(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_stream_that_is_never_answered_does_not_keep_pulls_from_running() {
    let data = tempfile::tempdir().unwrap();
    let central = central(data.path()).await;
    let at = ScriptedCentral::silent(central.grpc, Silence { push: true, ..Silence::default() }).await;
    let centrals = vec![address("n0.sorcha.dev", at, 0)];
    let peer = Peer::start(settings("edge-0", data.path()), memory(), centrals).await;
    peer.until_equal(&central).await;
    publish_more(&central).await;
    peer.until_equal(&central).await;
    eventually("the stall is told", || {
        peer.node.status().push_fault.is_some_and(|why| why.contains("sync.stall_timeout"))
    })
    .await;
    let status = peer.node.status();
    assert_eq!((status.state, status.subscribed_at), (PeerState::HeartbeatMonitoring, None));
    assert_eq!(status.replication_trouble(), None, "pulls bring what is new");
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_tries_another_central_node_once_where_no_push_stream_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let [n0, n1] = two(data.path()).await;
    let silent = |at| ScriptedCentral::silent(at, Silence { push: true, ..Silence::default() });
    let mut config = settings("edge-0", data.path());
    config.sync.max_failures = 2;
    let centrals = vec![address("n0", silent(n0.grpc).await, 0), address("n1", n1.grpc, 1)];
    let peer = Peer::start(config.clone(), memory(), centrals).await;
    peer.until_connected_to("n1").await;
    eventually("entries are pushed", || peer.node.status().subscribed_at.is_some()).await;
    assert_eq!(peer.node.status().push_fault, None);
    peer.stop().await;

    let centrals = vec![address("n0", silent(n0.grpc).await, 0), address("n1", silent(n1.grpc).await, 1)];
    let config = Config { node: settings("edge-1", data.path()).node, ..config };
    let peer = Peer::start(config, memory(), centrals).await;
    peer.until_connected_to("n1").await;
    tokio::time::sleep(5 * STALL).await;
    assert_eq!(peer.node.status().failovers, 1, "it stays where pulls work");
    peer.until_equal(&n1).await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_silent_is_given_up_and_pushes_go_on() {
    for silence in [
        Silence { pull: true, ..Silence::default() },
        Silence { pull_after: Some(1), ..Silence::default() },
        Silence { pull_pause: Some(STALL * 3 / 4), ..Silence::default() },
    ] {
        let data = tempfile::tempdir().unwrap();
        let central = central(data.path()).await;
        for number in 0..20 {
            central.publish(&format!("more-{number}")).await;
        }
        let at = ScriptedCentral::silent(central.grpc, silence).await;
        let mut config = settings("edge-0", data.path());
        // It stays with this one.
        config.sync.max_failures = 1000;
        let peer = Peer::start(config, memory(), vec![address("n0.sorcha.dev", at, 0)]).await;
        peer.until_equal(&central).await;
        publish_more(&central).await;
        peer.until_equal(&central).await;
        let status = peer.node.status();
        let trouble = status.replication_trouble().unwrap_or_default();
        assert!(trouble.contains("sync.stall_timeout"), "{silence:?}: {trouble}");
        assert_eq!(status.state, PeerState::HeartbeatMonitoring);
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_leaves_a_central_node_whose_pulls_stall() {
    let data = tempfile::tempdir().unwrap();
    let [n0, n1] = two(data.path()).await;
    let silence = Silence { pull: true, push: true, ..Silence::default() };
    let silent = ScriptedCentral::silent(n0.grpc, silence).await;
    let centrals = vec![address("n0", silent, 0), address("n1", n1.grpc, 1)];
    let mut config = settings("edge-0", data.path());
    (config.sync.max_failures, config.sync.stall_timeout) = (2, STALL / 2);
    let peer = Peer::start(config, memory(), centrals).await;
    peer.until_connected_to("n1").await;
    peer.until_equal(&n1).await;
    eventually("all is well", || peer.node.status().replication_trouble().is_none()).await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_node_that_reads_no_acknowledgements_does_not_stop_a_peer() {
    const ENTRIES: usize = 3000;
    let data = tempfile::tempdir().unwrap();
    let mut config = quick("n0.sorcha.dev", data.path());
    config.limits.push_window = 1_000_000;
    let central = Central::start(config, memory(), 0).await;
    let silence = Silence { pull: true, acknowledgements: true, ..Silence::default() };
    let at = ScriptedCentral::silent(central.grpc, silence).await;
    let mut config = settings("edge-0", data.path());
    // An acknowledgement each.
    (config.sync.batch, config.sync.max_failures) = (1, 1000);
    let peer = Peer::start(config, memory(), vec![address("n0.sorcha.dev", at, 0)]).await;
    eventually("the push stream is open", || peer.node.status().subscribed_at.is_some()).await;
    for number in 0..ENTRIES {
        central.publish(&format!("b{number}")).await;
    }
    peer.until_equal(&central).await;
    peer.stop().await;
}

/// A store in which the first writes, or the first reads, panic.
struct Panicking {
    inner: Arc<dyn Store>,
    writes: AtomicU32,
    reads: AtomicU32,
}

impl Panicking {
    fn times(writes: u32, reads: u32) -> Arc<Self> {
        Arc::new(Self { inner: memory(), writes: writes.into(), reads: reads.into() })
    }

    fn panic_if_due(panics: &AtomicU32) {
        let left = panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "a fault of the store");
    }
}

#[async_trait]
impl Store for Panicking {
    fn kind(&self) -> &'static str {
        "panicking"
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.load().await
    }

    async fn init_genesis(&self, genesis: Genesis) -> Result<Genesis, StoreError> {
        self.inner.init_genesis(genesis).await
    }

    async fn publish(&self, draft: Draft) -> Result<Publication, StoreError> {
        self.inner.publish(draft).await
    }

    async fn set_active(&self, change: StateChange) -> Result<Publication, StoreError> {
        self.inner.set_active(change).await
    }

    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        Self::panic_if_due(&self.reads);
        self.inner.read_after(after, limit).await
    }

    async fn changed(&self, after: Version) {
        self.inner.changed(after).await;
    }

    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError> {
        Self::panic_if_due(&self.writes);
        self.inner.apply(entries, checkpoint).await
    }

    async fn replace(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        Self::panic_if_due(&self.writes);
        self.inner.replace(genesis, entries, checkpoint).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_task_that_panics_is_told_about_and_runs_again() {
    let data = tempfile::tempdir().unwrap();
    let central = central(data.path()).await;
    let mut config = settings("edge-0", data.path());
    (config.sync.push, config.sync.max_failures) = (false, 1000);
    let centrals = vec![address("n0.sorcha.dev", central.grpc, 0)];
    let peer = Peer::start(config, Panicking::times(3, 0), centrals).await;
    eventually("the death is told", || {
        let status = peer.node.status();
        status.replication_trouble().is_some_and(|why| why.contains("a fault of the store"))
            && status.state == PeerState::HeartbeatMonitoring
    })
    .await;
    assert!(peer.node.env.tasks.trouble().is_some_and(|trouble| trouble.contains("the task pull died")));
    peer.until_equal(&central).await;
    eventually("all is well", || peer.node.status().replication_trouble().is_none()).await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_leaves_a_central_node_whose_entries_end_its_replication() {
    let data = tempfile::tempdir().unwrap();
    let [n0, n1] = two(data.path()).await;
    let mut config = settings("edge-0", data.path());
    (config.sync.push, config.sync.max_failures) = (false, 2);
    let centrals = vec![address("n0", n0.grpc, 0), address("n1", n1.grpc, 1)];
    let peer = Peer::start(config, Panicking::times(2, 0), centrals).await;
    peer.until_connected_to("n1").await;
    peer.until_equal(&n1).await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_node_whose_tail_panics_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), Panicking::times(0, 1), 0).await;
    let centrals = vec![address("n0.sorcha.dev", central.grpc, 0)];
    let peer = Peer::start(settings("edge-0", data.path()), memory(), centrals).await;
    let published = central.publish("a").await.entry.entry().version;
    eventually("the death is told", || central.node.env.tasks.trouble().is_some()).await;
    eventually("it is replicated", || peer.node.replica.head() == published).await;
    peer.stop().await;
}
