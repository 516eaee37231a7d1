//! Whole networks on real sockets: replication, failover, isolation, drain, offline start, split brain.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod pulls;
mod replicas;

use std::{sync::Arc, time::Duration};

use sorcha_peer::{Command, machine::state::PeerState};
use sorcha_register::names::BlueprintId;
use sorcha_store::journal::{JournalStore, Options};
use sorcha_tests::{Central, Peer, eventually, memory, quick};

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
