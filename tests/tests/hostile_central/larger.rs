//! Registers that are larger than a peer may hold.

use std::collections::BTreeMap;

use sorcha_central::publish::Submission;
use sorcha_config::Config;
use sorcha_tests::{Central, Peer, eventually, memory, quick};

use crate::site::Site;

/// Memory that the replica of a small peer may take.
const MOST: u64 = 1 << 20;

/// Publishes more entries than a small peer may hold, some 0.75 KB each without their documents.
async fn outgrow(central: &Central) {
    publish(central, 1700, 10).await;
}

/// Publishes documents with a text of this many bytes.
async fn publish(central: &Central, count: usize, bytes: usize) {
    for number in 0..count {
        let (id, text) = (format!("large-{number}"), "x".repeat(bytes));
        let submission = Submission {
            document: format!(r#"{{"id":"{id}","text":"{text}"}}"#).into_bytes().into(),
            blueprint_id: id,
            published_by: "tester".into(),
            metadata: BTreeMap::new(),
        };
        central.node.publish(submission).await.unwrap();
    }
}

async fn small_peer(site: &Site, id: &str, change: impl FnOnce(&mut Config)) -> Peer {
    let mut config = quick(id, site.data.path());
    config.sync.max_memory = Some(MOST);
    change(&mut config);
    Peer::start(config, memory(), vec![site.central.address(0)]).await
}

async fn until_too_large(peer: &Peer, what: &str) {
    eventually(&format!("what is more than it may hold is refused ({what})"), || {
        peer.node.status().refused.is_some_and(|refused| refused.contradiction.label() == "too_large")
    })
    .await;
    assert!(peer.node.replica.view().memory() <= MOST, "{what}: no more is held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_larger_than_a_peer_may_hold_is_refused_in_every_way_and_what_is_held_stays() {
    let site = Site::new().await;
    let pushed = small_peer(&site, "pushed", |_| {}).await;
    let pulling = small_peer(&site, "pulling", |config| config.sync.push = false).await;
    let held = site.central.node.log.view();
    for peer in [&pushed, &pulling] {
        peer.until_equal(&site.central).await;
    }
    outgrow(&site.central).await;
    let empty = small_peer(&site, "empty", |config| config.sync.push = false).await;
    let whole = small_peer(&site, "whole", |config| config.sync.force_full_on_startup = true).await;
    for (what, peer) in
        [("pushed", &pushed), ("pulled", &pulling), ("from nothing", &empty), ("whole", &whole)]
    {
        until_too_large(peer, what).await;
    }
    assert!(empty.node.replica.view().is_empty() && whole.node.replica.view().is_empty());
    for (what, peer) in [("pushed", &pushed), ("pulled", &pulling)] {
        let now = peer.node.replica.view();
        for sealed in held.iter().filter(|sealed| sealed.entry().is_active) {
            let (id, at) = (&sealed.entry().blueprint_id, sealed.entry().version);
            assert_eq!(now.get(id).map(|now| now.entry().version), Some(at), "{what}: {id}");
        }
    }
    for peer in [pushed, pulling, empty, whole] {
        peer.stop().await;
    }
}

/// Documents are on disk: no bound of memory refuses them. What is too much for one incremental sync is fetched by a full one.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_weigh_more_than_a_peers_memory_are_taken_in_every_way() {
    let site = Site::new().await;
    let pushed = small_peer(&site, "pushed", |_| {}).await;
    let pulling = small_peer(&site, "pulling", |config| config.sync.push = false).await;
    for peer in [&pushed, &pulling] {
        peer.until_equal(&site.central).await;
    }
    publish(&site.central, 40, 60_000).await;
    let empty = small_peer(&site, "empty", |config| config.sync.push = false).await;
    let whole = small_peer(&site, "whole", |config| config.sync.force_full_on_startup = true).await;
    for peer in [pushed, pulling, empty, whole] {
        peer.until_equal(&site.central).await;
        let view = peer.node.replica.view();
        let document = view.iter().last().unwrap().whole().unwrap().document;
        assert!(document.bytes().len() > 60_000 && view.memory() < MOST);
        peer.stop().await;
    }
}
