//! Full syncs and pushes that contradict what a peer holds.

use std::sync::Arc;

use sorcha_register::{
    entry::Entry,
    names::{BlueprintId, Version},
    view::RegisterView,
};
use sorcha_tests::{
    Peer, eventually,
    legacy::LegacyCentral,
    memory, quick,
    scripted::{Script, Stated},
};

use crate::site::{Site, encoded, entries, find, named, other_document, peer_of, scripted, version};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_without_a_digest_or_cut_off_or_with_a_lower_head_is_refused() {
    let site = Site::new().await;
    let view = site.central.node.log.view();
    let active: Vec<_> = view.iter().filter(|sealed| sealed.entry().is_active).cloned().collect();
    let all: Vec<_> = active.iter().map(|sealed| sealed.checked().unwrap()).collect();
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
