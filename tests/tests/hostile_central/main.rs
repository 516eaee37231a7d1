//! Central nodes that contradict what a peer holds: nothing of it is taken, it is told, and the peer goes on as soon as a
//! central node continues what it holds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod larger;
mod pushes;
mod site;

use std::{path::Path, sync::Arc};

use sorcha_register::{
    entry::{Entry, SealedEntry},
    names::{BlueprintId, Version},
};
use sorcha_tests::{Central, Peer, eventually, memory, quick};

use crate::site::{Site, again, copied, entries, find, other_document, version};

type Rewrite = fn(&mut Vec<Entry>);

/// Other histories, with the reason for which a peer refuses them.
const HISTORIES: [(&str, Rewrite, &str); 7] = [
    ("another document", |all| find(all, "a").document = other_document(), "rewritten"),
    (
        "another document at a new version",
        |all| {
            let a = find(all, "a");
            (a.document, a.version) = (other_document(), Version::new("version", 9).unwrap());
        },
        "rewritten",
    ),
    ("another publisher", |all| find(all, "b").published_by = "mallory".into(), "rewritten"),
    ("a flipped flag", |all| find(all, "b").is_active = false, "missing"),
    (
        "another blueprint at a taken version",
        |all| find(all, "c").blueprint_id = BlueprintId::new("x").unwrap(),
        "version_taken",
    ),
    (
        "a blueprint that is gone",
        |all| {
            let mut new = find(all, "b").clone();
            all.retain(|entry| entry.blueprint_id.as_str() != "b");
            new.blueprint_id = BlueprintId::new("x").unwrap();
            (new.version, new.transaction_id) = (Version::new("version", 9).unwrap(), "tx-9".into());
            all.push(new);
        },
        "missing",
    ),
    (
        "an invented past",
        |all| {
            // The version that d had before it was deprecated.
            let mut new = find(all, "b").clone();
            new.blueprint_id = BlueprintId::new("x").unwrap();
            (new.version, new.transaction_id) = (Version::new("version", 5).unwrap(), "tx-5".into());
            all.push(new);
        },
        "out_of_order",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_disk_with_another_history_changes_nothing_of_a_replica() {
    for (name, rewrite, reason) in HISTORIES {
        let Site { data, store, central, peer } = Site::new().await;
        let (view, held) = (central.node.log.view(), peer.node.replica.view());
        let (port, mut other) = (central.grpc.port(), entries(&view));
        rewrite(&mut other);
        central.kill();
        let copy = copied(&view, other).await;
        let liar = again(data.path(), copy, port).await;
        eventually(&format!("{name} is refused"), || {
            peer.node.status().refused.is_some_and(|refused| refused.contradiction.label() == reason)
        })
        .await;
        assert_eq!(peer.node.replica.view().seal(), held.seal(), "{name}: the replica is as it was");
        liar.kill();
        let central = again(data.path(), store, port).await;
        central.publish("after").await;
        peer.until_equal(&central).await;
        eventually(&format!("{name}: all is well again"), || peer.node.status().refused.is_none()).await;
        peer.stop().await;
    }
}

fn status_of(peer: &Peer) -> sorcha_peer::status::PeerStatus {
    peer.node.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_leaves_a_central_node_that_rewrites_for_one_that_does_not() {
    let Site { data, store, central, peer } = Site::new().await;
    let view = central.node.log.view();
    peer.stop().await;
    let mut other = entries(&view);
    find(&mut other, "a").document = other_document();
    let liar = Central::start(quick("n1.sorcha.dev", data.path()), copied(&view, other).await, 0).await;
    let replica = memory();
    let genesis = sorcha_register::lineage::Genesis::clone(view.genesis().unwrap());
    let mut held: Vec<_> = view.iter().cloned().collect();
    held.truncate(2);
    let checkpoint = sorcha_store::Checkpoint {
        central_node_id: "n1.sorcha.dev".into(),
        ..sorcha_store::Checkpoint::at(held[1].entry().version)
    };
    replica.replace(Some(genesis), held, Some(checkpoint)).await.unwrap();
    let peer =
        Peer::start(quick("edge-1", data.path()), replica, vec![liar.address(0), central.address(1)]).await;
    peer.until_equal(&central).await;
    let status = peer.node.status();
    assert_eq!(status.central_node_id.as_deref(), Some("n0.sorcha.dev"));
    let of_liar = status.central_nodes.iter().find(|info| info.address.id() == "n1.sorcha.dev").unwrap();
    assert!(of_liar.last_error.as_ref().is_some_and(|error| error.contains("blueprint_document")));
    // That another one is honest says nothing about it.
    eventually("a pull is done", || status_of(&peer).syncs.front().is_some_and(|sync| sync.error.is_none()))
        .await;
    assert_eq!(
        status_of(&peer).refused.map(|refused| refused.central_node_id).as_deref(),
        Some("n1.sorcha.dev")
    );
    drop(store);
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_node_that_lost_versions_is_reported_and_takes_nothing_away() {
    let Site { data, central, peer, .. } = Site::new().await;
    let (view, held) = (central.node.log.view(), peer.node.replica.view());
    let (port, mut fewer) = (central.grpc.port(), entries(&view));
    fewer.retain(|entry| entry.version < version(4));
    central.kill();
    let restored = copied(&view, fewer).await;
    let central = again(data.path(), restored, port).await;
    eventually("the peer says that it is ahead", || {
        peer.node.status().ahead_by(peer.node.replica.head()).is_some_and(|by| by >= 3)
    })
    .await;
    assert!(peer.node.status().signed_lag(peer.node.replica.head()) < 0);
    // The central node goes on, and gives the lost numbers again.
    for id in ["x", "y", "z", "w"] {
        central.publish(id).await;
    }
    eventually("what it has instead is refused", || peer.node.status().refused.is_some()).await;
    assert_eq!(peer.node.replica.view().seal(), held.seal());
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_may_force_what_contradicts() {
    let Site { data, central, peer, .. } = Site::new().await;
    let view = central.node.log.view();
    let (port, mut other) = (central.grpc.port(), entries(&view));
    find(&mut other, "a").document = other_document();
    central.kill();
    peer.stop().await;
    let liar = again(data.path(), copied(&view, other).await, port).await;
    let file = data.path().join("token");
    std::fs::write(&file, "by-hand").unwrap();
    let replica = memory();
    let genesis = sorcha_register::lineage::Genesis::clone(view.genesis().unwrap());
    let held: Vec<Arc<SealedEntry>> = view.iter().cloned().collect();
    let checkpoint = sorcha_store::Checkpoint {
        central_node_id: "n0.sorcha.dev".into(),
        ..sorcha_store::Checkpoint::at(view.head())
    };
    replica.replace(Some(genesis), held, Some(checkpoint)).await.unwrap();
    let mut config = quick("forced", data.path());
    config.sync.force_resync_file = Some(Path::new(&file).to_owned());
    let peer = Peer::start(config, replica, vec![liar.address(0)]).await;
    peer.until_equal(&liar).await;
    eventually("it says so", || peer.node.status().force_resync.as_deref() == Some("by-hand")).await;
    peer.stop().await;
}

/// Changes of state are not signed: a node of the same lineage can make them. What it did is not undone by others.
#[tokio::test(flavor = "multi_thread")]
async fn a_deprecation_by_a_hostile_node_is_taken_and_the_honest_register_refused_afterwards() {
    let Site { data, store, central, peer } = Site::new().await;
    let view = central.node.log.view();
    let (port, mut other) = (central.grpc.port(), entries(&view));
    let a = find(&mut other, "a");
    (a.is_active, a.version, a.transaction_id) = (false, version(view.head().get() + 1), "tx-liar".into());
    central.kill();
    let liar = again(data.path(), copied(&view, other).await, port).await;
    let is_active =
        || peer.node.replica.view().get(&BlueprintId::new("a").unwrap()).is_some_and(|a| a.entry().is_active);
    eventually("the deprecation is taken", || !is_active()).await;
    liar.kill();
    let central = again(data.path(), store, port).await;
    central.publish("after").await;
    eventually("the honest register is refused", || {
        peer.node.status().refused.is_some_and(|refused| refused.contradiction.label() == "rolled_back")
    })
    .await;
    assert!(!is_active());
    peer.stop().await;
}
