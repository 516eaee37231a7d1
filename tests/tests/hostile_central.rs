//! Central nodes that contradict what a peer holds: nothing of it is taken, it is told, and the peer goes on as soon as a
//! central node continues what it holds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use sorcha_central::publish::Submission;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_register::{
    canonical::Document,
    entry::{Entry, SealedEntry},
    names::{BlueprintId, Version},
    view::RegisterView,
};
use sorcha_store::Store;
use sorcha_tests::{
    Central, Peer, eventually,
    legacy::LegacyCentral,
    memory, quick,
    scripted::{Script, ScriptedCentral, Stated},
};

fn named(id: &str, at: SocketAddr, priority: u16) -> CentralNodeAddress {
    CentralNodeAddress {
        id: Some(id.into()),
        host: at.ip().to_string(),
        port: at.port(),
        priority,
        ca_file: None,
    }
}

/// A central node with a, b, c and a deprecated d, its store, and a peer that holds all of it.
struct Site {
    data: tempfile::TempDir,
    store: Arc<dyn Store>,
    central: Central,
    peer: Peer,
}

impl Site {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = memory();
        let central = Central::start(quick("n0.sorcha.dev", data.path()), Arc::clone(&store), 0).await;
        for id in ["a", "b", "c", "d"] {
            central.publish(id).await;
        }
        central.node.set_active("d", false).await.unwrap();
        let peer = Peer::start(quick("edge-0", data.path()), memory(), vec![central.address(0)]).await;
        peer.until_equal(&central).await;
        Self { data, store, central, peer }
    }
}

/// Starts n0 over a store, in the place of one that was killed a moment ago.
async fn again(data: &Path, store: Arc<dyn Store>, port: u16) -> Central {
    eventually("the port is free", || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()).await;
    Central::start(quick("n0.sorcha.dev", data), store, port).await
}

fn entries(view: &RegisterView) -> Vec<Entry> {
    view.iter().map(|sealed| sealed.entry().clone()).collect()
}

fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

fn find<'a>(entries: &'a mut [Entry], id: &str) -> &'a mut Entry {
    entries.iter_mut().find(|entry| entry.blueprint_id.as_str() == id).unwrap()
}

fn other_document() -> Document {
    Document::canonicalize(br#"{"id":"other"}"#).unwrap()
}

/// A store with the same genesis, but other entries: what a copied disk makes with true digests.
async fn copied(view: &RegisterView, entries: Vec<Entry>) -> Arc<dyn Store> {
    let store = memory();
    let mut entries: Vec<_> = entries.into_iter().map(Entry::seal).collect();
    entries.sort_by_key(|sealed| sealed.entry().version);
    let genesis = sorcha_register::lineage::Genesis::clone(view.genesis().unwrap());
    store.replace(Some(genesis), entries, None).await.unwrap();
    store
}

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

/// A scripted node in front of a true one that a peer moves to, which holds everything.
async fn scripted(site: &Site, scripts: Vec<Script>, has_push: bool) -> SocketAddr {
    ScriptedCentral::start(site.central.grpc, scripts, has_push).await
}

/// A peer over a replica that holds everything up to a version.
async fn peer_of(site: &Site, id: &str, at: SocketAddr, up_to: i64, push: bool) -> Peer {
    let replica = memory();
    let view = site.central.node.log.view();
    let genesis = sorcha_register::lineage::Genesis::clone(view.genesis().unwrap());
    let held: Vec<_> =
        view.iter().filter(|sealed| sealed.entry().version <= version(up_to)).cloned().collect();
    let checkpoint = sorcha_store::Checkpoint {
        central_node_id: "n0.sorcha.dev".into(),
        ..sorcha_store::Checkpoint::at(version(up_to))
    };
    replica.replace(Some(genesis), held, Some(checkpoint)).await.unwrap();
    let mut config = quick(id, site.data.path());
    config.sync.push = push;
    config.sync.force_full_on_startup = !push;
    Peer::start(config, replica, vec![named("n0.sorcha.dev", at, 0)]).await
}

fn encoded(entries: impl IntoIterator<Item = Entry>) -> Vec<Bytes> {
    entries.into_iter().map(|entry| entry.seal().encoded().clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_without_a_digest_or_cut_off_or_with_a_lower_head_is_refused() {
    let site = Site::new().await;
    let view = site.central.node.log.view();
    let active: Vec<_> = view.iter().filter(|sealed| sealed.entry().is_active).cloned().collect();
    let all: Vec<_> = active.iter().map(|sealed| sealed.encoded().clone()).collect();
    let lower = RegisterView::with_entries(view.genesis().cloned(), active[..2].to_vec(), Version::ZERO);
    let told = |stated| Script { stated, ..Script::of(all[..2].to_vec()) };
    let head = i64::MAX.to_string();
    let cases = [
        ("no digest", told(Stated::Nothing), "no_digest"),
        ("cut off", Script::of(all[..3].to_vec()), "missing"),
        ("a lower head", told(Stated::As(lower.head().to_string(), lower.digest().to_string())), "head_fell"),
        ("a negative head", told(Stated::As("-1".into(), view.digest().to_string())), "no_digest"),
        ("the greatest head", told(Stated::As(head, view.digest().to_string())), "missing"),
        ("no number", told(Stated::As("many".into(), view.digest().to_string())), "no_digest"),
    ];
    for (number, (name, script, reason)) in (0..).zip(cases) {
        let at = scripted(&site, vec![script], false).await;
        let peer = peer_of(&site, &format!("full-{number}"), at, view.head().get(), false).await;
        let before = peer.node.replica.view().seal();
        eventually(&format!("{name} is refused"), || {
            peer.node.status().transitions.iter().any(|transition| transition.what.contains("contradicts"))
        })
        .await;
        let refused = peer.node.status().refused.map(|refused| refused.contradiction.label());
        assert!(refused.is_none_or(|label| label == reason), "{name}: {refused:?}");
        assert_eq!(peer.node.replica.view().seal(), before, "{name}");
        eventually(&format!("{name}: what is true is taken"), || peer.node.status().refused.is_none()).await;
        assert_eq!(peer.node.replica.view().seal(), before, "{name}");
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_contradict_are_refused_and_cost_nothing() {
    let site = Site::new().await;
    let view = site.central.node.log.view();
    let all = entries(&view);
    let by = |id: &str| find(&mut all.clone(), id).clone();
    let new = |id: &str, number: i64| Entry {
        blueprint_id: BlueprintId::new(id).unwrap(),
        version: version(number),
        transaction_id: format!("tx-{number}"),
        ..by("a")
    };
    let next = view.head().get() + 1;
    let cases = [
        ("out of order", vec![new("x", next + 1), new("y", next)], "out_of_order"),
        ("two blueprints at one version", vec![new("x", next), new("y", next)], "version_taken"),
        ("a taken version", vec![new("x", 3)], "version_taken"),
        ("a passed version", vec![new("x", 5)], "out_of_order"),
        ("a flipped flag", vec![Entry { is_active: false, ..by("a") }], "rewritten"),
        (
            "another document",
            vec![Entry { document: other_document(), version: version(next), ..by("a") }],
            "rewritten",
        ),
        ("no change", vec![Entry { version: version(next), ..by("b") }], "unchanged"),
    ];
    for (number, (name, pushed, reason)) in (0..).zip(cases) {
        let at = scripted(&site, vec![Script::of(encoded(pushed))], true).await;
        let peer = peer_of(&site, &format!("push-{number}"), at, view.head().get(), true).await;
        let held = peer.node.replica.view();
        eventually(&format!("{name} is refused"), || {
            peer.node.status().transitions.iter().any(|transition| transition.what.contains("contradicts"))
        })
        .await;
        let refused = peer.node.status().refused.map(|refused| refused.contradiction.label());
        assert!(refused.is_none_or(|label| label == reason), "{name}: {refused:?}");
        let now = peer.node.replica.view();
        assert!(held.iter().all(|sealed| now.get(&sealed.entry().blueprint_id) == Some(sealed)), "{name}");
        peer.stop().await;
    }
}

/// What is persisted was found to be bearable before, and the replica opens again.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_at_the_greatest_version_costs_what_an_entry_costs() {
    let site = Site::new().await;
    let view = site.central.node.log.view();
    for (id, number) in [("far", 1 << 26), ("farther", 1 << 40), ("greatest", i64::MAX)] {
        let mut entry = entries(&view)[1].clone();
        entry.blueprint_id = BlueprintId::new("x").unwrap();
        entry.version = version(number);
        let at = scripted(&site, vec![Script::of(encoded([entry]))], true).await;
        let peer = peer_of(&site, id, at, view.head().get(), true).await;
        eventually("it is taken", || peer.node.replica.head() == version(number)).await;
        eventually("the central node is known to be behind", || peer.node.status().ahead.is_some()).await;
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_lineage_does_not_touch_a_replica_that_has_one() {
    let site = Site::new().await;
    let view = site.central.node.log.view();
    let plain = LegacyCentral::start(site.central.grpc).await;
    let peer = peer_of(&site, "lineage", plain, 3, true).await;
    eventually("it is refused", || {
        peer.node.status().refused.is_some_and(|refused| refused.contradiction.label() == "no_lineage")
    })
    .await;
    assert_eq!(peer.node.replica.head(), version(3));
    assert!(peer.node.status().configuration_fault.is_none());
    peer.stop().await;

    // One that has none yet follows it, and the register that gives it its lineage, if that holds the same.
    let replica = memory();
    let first =
        Peer::start(quick("plain", site.data.path()), Arc::clone(&replica), vec![named("p", plain, 0)]).await;
    eventually("a first sync", || first.node.replica.head() >= version(4)).await;
    site.central.publish("later").await;
    eventually("a later pull", || {
        let id = BlueprintId::new("later").unwrap();
        first.node.replica.view().get(&id).is_some()
    })
    .await;
    assert_eq!(first.node.replica.view().lineage(), None);
    first.stop().await;
    let then = Peer::start(quick("plain", site.data.path()), replica, vec![site.central.address(0)]).await;
    eventually("it has the lineage", || then.node.replica.view().lineage() == view.lineage()).await;
    then.until_equal(&site.central).await;
    then.stop().await;
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

/// Memory that the replica of a small peer may take.
const MOST: u64 = 1 << 20;

/// Publishes 40 documents of 60 KB, twice what a small peer may hold.
async fn outgrow(central: &Central) {
    for number in 0..40 {
        let (id, text) = (format!("large-{number}"), "x".repeat(60_000));
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
