//! Central nodes and peers without pushes, and what paces pulls and heartbeats.

use std::time::Duration;

use sorcha_peer::Command;
use sorcha_register::names::BlueprintId;
use sorcha_tests::{Central, Peer, eventually, legacy::LegacyCentral, memory, quick};

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
