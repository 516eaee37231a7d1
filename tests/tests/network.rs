//! Whole networks on real sockets: replication, failover, isolation, drain, offline start, split brain.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::{sync::Arc, time::Duration};

use sorcha_peer::{Command, machine::state::PeerState};
use sorcha_register::names::BlueprintId;
use sorcha_store::journal::{JournalStore, Options};
use sorcha_tests::{Central, Peer, eventually, legacy::LegacyCentral, memory, quick};

async fn three(data: &std::path::Path) -> Vec<Central> {
    let store = memory();
    let mut centrals = Vec::new();
    for number in 0..3 {
        let config = quick(&format!("n{number}.sorcha.dev"), data);
        centrals.push(Central::start(config, Arc::clone(&store), 0).await);
    }
    centrals
}

fn addresses(centrals: &[Central]) -> Vec<sorcha_config::CentralNodeAddress> {
    centrals.iter().enumerate().map(|(number, central)| central.address(number as u16)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_the_register_and_every_publication() {
    let data = tempfile::tempdir().unwrap();
    let centrals = three(data.path()).await;
    centrals[0].publish("before").await;
    let peer = Peer::start(quick("edge-0", data.path()), memory(), addresses(&centrals)).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    peer.until_equal(&centrals[0]).await;
    // Published at any central node: they share one register.
    let last = centrals[2].publish("after").await;
    eventually("pushed", || peer.node.replica.head() == last.entry.entry().version).await;
    centrals[1].node.set_active("before", false).await.unwrap();
    peer.until_equal(&centrals[0]).await;
    let id = BlueprintId::new("before").unwrap();
    eventually("deprecated", || peer.node.replica.view().get(&id).is_some_and(|e| !e.entry().is_active))
        .await;
    eventually("acknowledged", || {
        let status = centrals[0].node.status(None, true);
        status.connected_peers.first().is_some_and(|p| p.last_sync_version == peer.node.replica.head().get())
    })
    .await;
    assert_eq!(peer.node.status().failovers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_central_node_is_left_and_nothing_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let mut centrals = three(data.path()).await;
    let list = addresses(&centrals);
    let peer = Peer::start(quick("edge-0", data.path()), memory(), list.clone()).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    centrals.remove(0).kill();
    let during = centrals[0].publish("during").await;
    peer.until_connected_to("n1.sorcha.dev").await;
    eventually("caught up", || peer.node.replica.head() >= during.entry.entry().version).await;
    peer.until_equal(&centrals[0]).await;
    let status = peer.node.status();
    assert_eq!(status.failovers, 1);
    assert!(
        status.syncs.iter().filter(|sync| sync.entries > 1).count() <= 1,
        "resumed, not fetched anew: {:?}",
        status.syncs
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_is_noticed_without_a_push_stream_and_between_two_heartbeats() {
    let data = tempfile::tempdir().unwrap();
    let store = memory();
    let mut centrals = Vec::new();
    for number in 0..2 {
        let mut config = quick(&format!("n{number}.sorcha.dev"), data.path());
        config.heartbeat.interval = Duration::from_secs(120);
        centrals.push(Central::start(config, Arc::clone(&store), 0).await);
    }
    let mut config = quick("edge-0", data.path());
    config.sync.push = false;
    let peer = Peer::start(config, memory(), addresses(&centrals)).await;
    peer.until_state(PeerState::HeartbeatMonitoring).await;
    centrals.remove(0).kill();
    peer.until_connected_to("n1.sorcha.dev").await;
    assert_eq!(peer.node.status().failovers, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_central_node_reads_go_on_and_the_peer_comes_back_by_itself() {
    let data = tempfile::tempdir().unwrap();
    let store = memory();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), Arc::clone(&store), 0).await;
    let (port, list) = (central.grpc.port(), vec![central.address(0)]);
    central.publish("a").await;
    let peer = Peer::start(quick("edge-0", data.path()), memory(), list).await;
    peer.until_equal(&central).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    central.kill();
    peer.until_state(PeerState::Isolated).await;
    assert!(peer.node.replica.view().get(&BlueprintId::new("a").unwrap()).is_some());
    assert!(peer.node.status().isolated_since.is_some());
    let central = Central::start(quick("n0.sorcha.dev", data.path()), store, port).await;
    central.publish("b").await;
    peer.until_connected_to("n0.sorcha.dev").await;
    peer.until_equal(&central).await;
    assert_eq!(peer.node.status().isolated_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_central_node_sends_its_peers_on_first() {
    let data = tempfile::tempdir().unwrap();
    let mut centrals = three(data.path()).await;
    let list = addresses(&centrals);
    let mut peers = Vec::new();
    for number in 0..5 {
        peers.push(Peer::start(quick(&format!("edge-{number}"), data.path()), memory(), list.clone()).await);
    }
    for peer in &peers {
        peer.until_connected_to("n0.sorcha.dev").await;
    }
    let first = centrals.remove(0);
    let publishing = async {
        for number in 0..50 {
            centrals[0].publish(&format!("b{number}")).await;
        }
    };
    tokio::join!(first.drain(), publishing);
    for peer in &peers {
        peer.until_connected_to("n1.sorcha.dev").await;
        peer.until_equal(&centrals[0]).await;
        assert_eq!(peer.node.status().failovers, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_boots_offline_and_serves_what_it_had() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    central.publish("a").await;
    let file = data.path().join("replica.journal");
    let open = || async {
        loop {
            if let Ok(store) = JournalStore::open(&file, Options::default()).await {
                return Arc::new(store);
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let list = vec![central.address(0)];
    let peer = Peer::start(quick("edge-0", data.path()), open().await, list.clone()).await;
    peer.until_equal(&central).await;
    let head = peer.node.replica.head();
    peer.stop().await;
    eventually("the session is closed", || central.node.status(None, false).active_peer_count == 0).await;
    central.kill();
    let peer = Peer::start(quick("edge-0", data.path()), open().await, list).await;
    peer.until_state(PeerState::Isolated).await;
    assert_eq!(peer.node.replica.head(), head);
    assert!(peer.node.replica.view().get(&BlueprintId::new("a").unwrap()).is_some());
}

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

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_replaces_its_dead_session_at_once() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    for _ in 0..3 {
        let peer = Peer::start(quick("edge-0", data.path()), memory(), vec![central.address(0)]).await;
        peer.until_connected_to("n0.sorcha.dev").await;
        peer.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reconnect_and_pull() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    let peer = Peer::start(quick("edge-0", data.path()), memory(), vec![central.address(0)]).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    let session = peer.node.status().session_id;
    assert!(peer.node.command(Command::Reconnect).await);
    eventually("a new session", || {
        let now = peer.node.status();
        now.session_id.is_some() && now.session_id != session
    })
    .await;
    let (reply, answer) = tokio::sync::oneshot::channel();
    assert!(peer.node.command(Command::Sync { full: true, reply }).await);
    assert_eq!(answer.await.unwrap(), Ok(1), "the seed entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_node_of_the_original_contract_is_replicated_too() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    central.publish("before").await;
    let front = LegacyCentral::start(central.grpc).await;
    let mut address = central.address(0);
    address.port = front.port();
    let peer = Peer::start(quick("edge-0", data.path()), memory(), vec![address]).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    let id = |text: &str| BlueprintId::new(text).unwrap();
    eventually("full sync", || peer.node.replica.view().get(&id("before")).is_some()).await;
    eventually("subscribed", || peer.node.status().subscribed_at.is_some()).await;
    central.publish("after").await;
    eventually("notice, then pull", || peer.node.replica.view().get(&id("after")).is_some()).await;
    central.node.set_active("after", false).await.unwrap();
    eventually("deprecated", || {
        peer.node.replica.view().get(&id("after")).is_some_and(|e| !e.entry().is_active)
    })
    .await;
    assert_eq!(peer.node.replica.view().lineage(), None);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_central_node_without_push_is_pulled_from_at_leisure() {
    let data = tempfile::tempdir().unwrap();
    let mut config = quick("n0.sorcha.dev", data.path());
    config.sync.push = false;
    let central = Central::start(config, memory(), 0).await;
    let peer = Peer::start(quick("edge-0", data.path()), memory(), vec![central.address(0)]).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    peer.until_equal(&central).await;
    // Several times `resubscribe_after`: nobody asks again and again.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(peer.node.status().syncs.len() <= 3, "{:?}", peer.node.status().syncs);
    central.publish("a").await;
    peer.until_equal(&central).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_wants_no_pushes_opens_no_stream_and_pulls() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    let list = vec![central.address(0)];
    let mut config = quick("edge-0", data.path());
    config.sync.push = false;
    let peer = Peer::start(config, memory(), list.clone()).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    peer.until_equal(&central).await;
    let other = Peer::start(quick("edge-1", data.path()), memory(), list).await;
    let has_push = |id: &str| {
        let sessions = central.node.sessions();
        sessions.live().any(|session| session.peer_id.as_str() == id && session.has_push)
    };
    eventually("the other one has a stream", || has_push("edge-1")).await;
    let before = peer.node.replica.head();
    central.publish("a").await;
    other.until_equal(&central).await;
    assert_eq!((peer.node.replica.head(), has_push("edge-0")), (before, false));
    let (reply, answer) = tokio::sync::oneshot::channel();
    assert!(peer.node.command(Command::Sync { full: false, reply }).await);
    assert_eq!(answer.await.unwrap(), Ok(1));
    peer.until_equal(&central).await;
    assert!(!has_push("edge-0") && peer.node.status().subscribed_at.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_beats_as_often_as_its_central_node_says() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    let mut config = quick("edge-0", data.path());
    config.heartbeat.interval = Duration::from_secs(120);
    let peer = Peer::start(config, memory(), vec![central.address(0)]).await;
    eventually("a beat a second", || peer.node.status().heartbeat.acknowledged >= 3).await;
    assert_eq!(peer.node.status().failovers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn capped_pulls_get_everything_in_steps() {
    let data = tempfile::tempdir().unwrap();
    let central = Central::start(quick("n0.sorcha.dev", data.path()), memory(), 0).await;
    for number in 0..25 {
        central.publish(&format!("b{number}")).await;
    }
    central.node.set_active("b3", false).await.unwrap();
    let mut config = quick("edge-0", data.path());
    config.sync.max_blueprints = 4;
    config.sync.push = false;
    let peer = Peer::start(config, memory(), vec![central.address(0)]).await;
    peer.until_equal(&central).await;
    for number in 25..40 {
        central.publish(&format!("b{number}")).await;
    }
    let (reply, answer) = tokio::sync::oneshot::channel();
    assert!(peer.node.command(Command::Sync { full: false, reply }).await);
    assert!(answer.await.unwrap().is_ok());
    peer.until_equal(&central).await;
}
