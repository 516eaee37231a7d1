//! A peer whose store is full: it stays where it is, serves what it holds, and follows again once there is space.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use sorcha_peer::machine::state::PeerState;
use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version};
use sorcha_store::{Checkpoint, Draft, Loaded, Publication, StateChange, Store, StoreError};
use sorcha_tests::{Central, Peer, eventually, memory, quick};

/// A store that can be full.
struct Full {
    inner: Arc<dyn Store>,
    is_full: AtomicBool,
    refused: AtomicUsize,
}

impl Full {
    fn space(&self) -> Result<(), StoreError> {
        if !self.is_full.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Full("no space left on device".to_owned()))
    }
}

#[tonic::async_trait]
impl Store for Full {
    fn kind(&self) -> &'static str {
        self.inner.kind()
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
        self.inner.read_after(after, limit).await
    }

    async fn changed(&self, after: Version) {
        self.inner.changed(after).await;
    }

    async fn apply(&self, entries: Vec<Arc<SealedEntry>>, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.space()?;
        self.inner.apply(entries, checkpoint).await
    }

    async fn replace(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        self.space()?;
        self.inner.replace(genesis, entries, checkpoint).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_store_is_full_does_not_blame_its_central_node() {
    let data = tempfile::tempdir().unwrap();
    let register = memory();
    let first = Central::start(quick("n0.sorcha.dev", data.path()), Arc::clone(&register), 0).await;
    let second = Central::start(quick("n1.sorcha.dev", data.path()), register, 0).await;
    let store =
        Arc::new(Full { inner: memory(), is_full: AtomicBool::new(false), refused: AtomicUsize::new(0) });
    let addresses = vec![first.address(0), second.address(1)];
    let peer =
        Peer::start(quick("edge-0", data.path()), Arc::clone(&store) as Arc<dyn Store>, addresses).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    peer.until_equal(&first).await;
    let before = peer.node.replica.head();

    store.is_full.store(true, Ordering::SeqCst);
    first.publish("a").await;
    // More failures in a row than lead to a failover where the central node is to blame.
    eventually("it tries again and again", || store.refused.load(Ordering::SeqCst) > 5).await;
    let full = "the store is full: no space left on device";
    let status = peer.node.status();
    assert_eq!(status.last_sync_error.as_deref(), Some(full));
    assert_eq!((status.state, status.failovers), (PeerState::HeartbeatMonitoring, 0));
    assert_eq!(status.central_node_id.as_deref(), Some("n0.sorcha.dev"));
    assert_eq!(peer.node.replica.head(), before, "what it has is served");

    store.is_full.store(false, Ordering::SeqCst);
    peer.until_equal(&first).await;
    eventually("it says so", || peer.node.status().last_sync_error.is_none()).await;
    peer.stop().await;
}
