//! Replicas that are damaged, diverged, or of another lineage.

use std::sync::Arc;

use sorcha_peer::machine::state::PeerState;
use sorcha_register::names::BlueprintId;
use sorcha_store::journal::{JournalStore, Options};
use sorcha_tests::{Central, Peer, eventually, memory, quick};

#[tokio::test(flavor = "multi_thread")]
async fn another_lineage_is_never_merged() {
    let data = tempfile::tempdir().unwrap();
    let ours = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    let theirs = Central::start(quick("n1.sorcha.dev", data.path()), memory(), 0).await;
    ours.publish("ours").await;
    theirs.publish("theirs").await;
    let list = vec![ours.address(0), theirs.address(1)];
    let peer = Peer::start(quick("edge-0", data.path()), memory(), list).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    peer.until_equal(&ours).await;
    ours.kill();
    peer.until_state(PeerState::Isolated).await;
    eventually("told", || {
        peer.node.status().central_nodes[1].last_error.as_deref().is_some_and(|e| e.contains("split brain"))
    })
    .await;
    assert_eq!(peer.node.status().split_brain.as_deref(), Some("n1.sorcha.dev"));
    assert!(peer.node.replica.view().get(&BlueprintId::new("theirs").unwrap()).is_none());
    assert!(peer.node.replica.view().get(&BlueprintId::new("ours").unwrap()).is_some());
}

/// Opens a store file that another handle in this process may be just about to release.
async fn open(file: &std::path::Path) -> Arc<JournalStore> {
    for _ in 0..400 {
        if let Ok(store) = JournalStore::open(file, Options::default()).await {
            return Arc::new(store);
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{} stays locked", file.display());
}

/// Changes one byte at each place of a closed store's file that has some text.
async fn damage(file: &std::path::Path, text: &[u8]) {
    drop(open(file).await);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let mut bytes = std::fs::read(file).unwrap();
    let places: Vec<_> = (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[*at] ^= 1);
    std::fs::write(file, bytes).unwrap();
}

/// A central node with 40 blueprints, and the file of a peer that held them all: one is damaged.
async fn with_a_damaged_replica(data: &std::path::Path) -> (Central, std::path::PathBuf) {
    let central = Central::start(quick("n0.sorcha.dev", data), memory(), 0).await;
    for number in 0..40 {
        central.publish(&format!("b{number}")).await;
    }
    let file = data.join("replica.journal");
    let peer = Peer::start(quick("edge-0", data), open(&file).await, vec![central.address(0)]).await;
    peer.until_equal(&central).await;
    peer.stop().await;
    damage(&file, b"Blueprint b17").await;
    (central, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_replica_is_served_and_only_what_is_bad_is_fetched_again() {
    let data = tempfile::tempdir().unwrap();
    let (central, file) = with_a_damaged_replica(data.path()).await;

    let store = open(&file).await;
    let found = sorcha_store::Store::load(&*store).await.unwrap();
    assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
    assert_eq!(found.view.len(), 40, "all others are served");
    let peer = Peer::start(quick("edge-0", data.path()), store, vec![central.address(0)]).await;
    peer.until_equal(&central).await;
    eventually("repaired", || peer.node.replica.findings().is_empty()).await;
    // The replica is whole a moment before the sync is done and recorded.
    eventually("the repair is recorded", || peer.node.status().syncs.iter().any(|sync| sync.entries > 0))
        .await;
    let syncs = peer.node.status().syncs;
    assert!(syncs.iter().all(|sync| sync.error.is_none()), "{syncs:?}");
    assert_eq!(syncs.iter().map(|sync| sync.entries).sum::<usize>(), 1, "only the bad entry was fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_takes_more_memory_than_allowed_is_refused_and_what_is_held_stays() {
    let data = tempfile::tempdir().unwrap();
    let (central, file) = with_a_damaged_replica(data.path()).await;
    central.publish("new").await;

    let store = open(&file).await;
    let found = sorcha_store::Store::load(&*store).await.unwrap();
    let mut config = quick("edge-0", data.path());
    // Each part of what is fetched would fit, and so would the replica without what is newer.
    config.sync.max_memory = Some(central.node.log.view().memory() - 100);
    let peer = Peer::start(config, store, vec![central.address(0)]).await;
    eventually("it is refused", || {
        peer.node.status().refused.is_some_and(|refused| refused.contradiction.label() == "too_large")
    })
    .await;
    let held = peer.node.replica.view();
    assert_eq!((held.seal(), held.len()), (found.view.seal(), 40));
    assert_eq!(peer.node.replica.findings().len(), 1, "nothing of it was taken");
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diverged_replica_is_found_by_digest_and_nothing_of_it_is_replaced_unasked() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    central.publish("a").await;
    // A replica at the same version and lineage, with other content: nothing but the digest can tell.
    let store = memory();
    let genesis =
        central.node.log.view().genesis().map(|genesis| sorcha_register::lineage::Genesis::clone(genesis));
    let other = Central::start(quick("n1.sorcha.dev", data.path()), memory(), 0).await;
    other.publish("b").await;
    let forged: Vec<_> = other.node.log.view().iter().cloned().collect();
    let checkpoint = sorcha_store::Checkpoint {
        version: central.node.log.view().head(),
        last_sync_time: Default::default(),
        next_sync_due: Default::default(),
        central_node_id: "n0.sorcha.dev".into(),
        adopt: None,
    };
    store.replace(genesis, forged, Some(checkpoint)).await.unwrap();
    let file = data.path().join("token");
    let mut config = quick("edge-0", data.path());
    config.sync.force_resync_file = Some(file.clone());
    let peer = Peer::start(config, store, vec![central.address(0)]).await;
    eventually("it is told", || peer.node.status().refused.is_some()).await;
    let holds = |text: &str| peer.node.replica.view().get(&BlueprintId::new(text).unwrap()).is_some();
    assert!(holds("b") && !holds("a"));
    // An administrator decides.
    std::fs::write(&file, "by-hand").unwrap();
    peer.until_equal(&central).await;
    assert!(holds("a") && !holds("b"));
    eventually("all is well again", || peer.node.status().refused.is_none()).await;
}
