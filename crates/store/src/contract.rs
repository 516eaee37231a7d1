//! The one test suite that every store passes. Each check takes a fresh, empty store.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what is wrong in a test may panic"
)]

use std::{collections::BTreeMap, future::Future, sync::Arc};

use sorcha_register::{
    canonical::Document,
    clock::Timestamp,
    entry::SealedEntry,
    names::{BlueprintId, Version},
    testing::{entry, genesis},
};

use super::{Checkpoint, Draft, Publication, StateChange, Store, StoreError};

pub fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

pub fn id(text: &str) -> BlueprintId {
    BlueprintId::new(text).unwrap()
}

pub fn draft(name: &str, json: &str) -> Draft {
    Draft {
        blueprint_id: id(name),
        document: Document::canonicalize(json.as_bytes()).unwrap(),
        published_at: Timestamp::from_millis(1_700_000_000_123),
        published_by: "tester".into(),
        transaction_id: format!("tx-{name}"),
        metadata: BTreeMap::from([("category".into(), "test".into()), ("a.b$c".into(), "é".into())]),
        trace_parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
    }
}

pub fn checkpoint(number: i64) -> Checkpoint {
    Checkpoint {
        version: version(number),
        last_sync_time: Timestamp::from_millis(1_700_000_000_000 + number),
        next_sync_due: Timestamp::from_millis(1_700_000_300_000 + number),
        central_node_id: "n0.sorcha.dev".into(),
        adopt: None,
    }
}

fn change(name: &str, is_active: bool) -> StateChange {
    StateChange {
        blueprint_id: id(name),
        is_active,
        transaction_id: format!("tx-{name}-{is_active}"),
        trace_parent: String::new(),
    }
}

async fn publish(store: &dyn Store, name: &str) -> Publication {
    store.publish(draft(name, &format!(r#"{{"id":"{name}"}}"#))).await.unwrap()
}

async fn all(store: &dyn Store) -> Vec<Arc<SealedEntry>> {
    store.read_after(Version::ZERO, usize::MAX).await.unwrap()
}

/// Runs every check, each on a store made by `fresh`.
pub async fn run<F, S>(fresh: impl Fn() -> F)
where
    F: Future<Output = S>,
    S: Store,
{
    starts_empty_and_takes_one_genesis(&fresh().await).await;
    versions_rise_by_one_from_one(&fresh().await).await;
    the_same_bytes_again_change_nothing(&fresh().await).await;
    other_content_under_a_known_id_is_refused(&fresh().await).await;
    deprecation_takes_a_new_version(&fresh().await).await;
    bytes_come_back_exactly(&fresh().await).await;
    bad_drafts_store_nothing(&fresh().await).await;
    concurrent_publishers_leave_no_gap(Arc::new(fresh().await)).await;
    waiting_readers_are_woken(Arc::new(fresh().await)).await;
    reads_are_limited_and_ordered(&fresh().await).await;
    replica_applies_batches_with_their_position(&fresh().await).await;
    replica_ignores_what_it_knows(&fresh().await).await;
    replacing_leaves_nothing_behind(&fresh().await).await;
}

async fn starts_empty_and_takes_one_genesis(store: &dyn Store) {
    let loaded = store.load().await.unwrap();
    assert!(loaded.view.is_empty() && loaded.findings.is_empty() && loaded.checkpoint.is_none());
    assert_eq!(loaded.view.genesis(), None);
    assert_eq!(store.init_genesis(genesis(1)).await.unwrap(), genesis(1));
    assert_eq!(store.init_genesis(genesis(2)).await.unwrap(), genesis(1), "the first one stays");
    assert_eq!(store.load().await.unwrap().view.lineage(), Some(genesis(1).lineage()));
}

async fn versions_rise_by_one_from_one(store: &dyn Store) {
    for (name, expected) in [("a", 1), ("b", 2), ("c", 3)] {
        let published = publish(store, name).await;
        assert!(published.changed);
        assert_eq!(published.entry.entry().version, version(expected));
    }
    assert_eq!(store.load().await.unwrap().view.head(), version(3));
}

async fn the_same_bytes_again_change_nothing(store: &dyn Store) {
    let first = publish(store, "a").await;
    let again = publish(store, "a").await;
    assert!(!again.changed);
    assert_eq!(again.entry, first.entry);
    assert_eq!(all(store).await.len(), 1);
}

async fn other_content_under_a_known_id_is_refused(store: &dyn Store) {
    let first = publish(store, "a").await;
    let refused = store.publish(draft("a", r#"{"id":"other"}"#)).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict { checksum, .. }) if checksum == first.entry.entry().document.checksum())
    );
    assert_eq!(all(store).await, [first.entry]);
}

async fn deprecation_takes_a_new_version(store: &dyn Store) {
    publish(store, "a").await;
    publish(store, "b").await;
    let off = store.set_active(change("a", false)).await.unwrap();
    assert_eq!(
        (off.changed, off.entry.entry().version, off.entry.entry().is_active),
        (true, version(3), false)
    );
    assert!(!store.set_active(change("a", false)).await.unwrap().changed);
    let versions =
        |entries: Vec<Arc<SealedEntry>>| entries.iter().map(|e| e.entry().version.get()).collect::<Vec<_>>();
    assert_eq!(versions(all(store).await), [2, 3], "one record per blueprint, at its newest version");
    let on = store.set_active(change("a", true)).await.unwrap();
    assert_eq!((on.entry.entry().version, on.entry.entry().is_active), (version(4), true));
    assert!(matches!(store.set_active(change("nobody", false)).await, Err(StoreError::NotFound(_))));
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert_eq!((loaded.view.head(), loaded.view.len()), (version(4), 2));
}

async fn bytes_come_back_exactly(store: &dyn Store) {
    let json = r##"{"@context":"https://sorcha.dev/blueprints/v1","$schema":"s","$ref":"#/$defs/x","a.b":{"$id":[1,2.5,-0.0,1e300,5e-324,9007199254740991]},
        "＄x":"fullwidth","nested":[[],{},[{"$gt":null}],true,"€😀\u0007"],"":{"":1},"_id":"x","n":153263915713184160,"big":12345678901}"##;
    let published = store.publish(draft("exact", json)).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    let back = loaded.view.get(&id("exact")).unwrap();
    assert_eq!(back, &published.entry);
    assert_eq!(back.whole().unwrap().document, draft("exact", json).document);
    assert_eq!(all(store).await, [published.entry]);
}

async fn bad_drafts_store_nothing(store: &dyn Store) {
    let mut long = draft("a", "{}");
    long.published_by = "x".repeat(256);
    assert!(matches!(store.publish(long).await, Err(StoreError::Invalid(_))));
    let mut heavy = draft("a", "{}");
    heavy.metadata.insert("k".into(), "v".repeat(4097));
    assert!(matches!(store.publish(heavy).await, Err(StoreError::Invalid(_))));
    assert!(all(store).await.is_empty());
}

async fn concurrent_publishers_leave_no_gap(store: Arc<impl Store>) {
    const PUBLISHERS: usize = 6;
    const EACH: usize = 20;
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let published = publish(&*store, &format!("p{publisher}-{number}")).await;
                    assert!(published.changed);
                    if number % 5 == 4 {
                        store.set_active(change(&format!("p{publisher}-{number}"), false)).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    let deprecations = PUBLISHERS * EACH / 5;
    assert_eq!(loaded.view.head().get(), (PUBLISHERS * EACH + deprecations) as i64);
    assert_eq!(
        (loaded.view.len(), loaded.view.active()),
        (PUBLISHERS * EACH, PUBLISHERS * EACH - deprecations)
    );
}

async fn waiting_readers_are_woken(store: Arc<impl Store>) {
    let waiting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            loop {
                store.changed(Version::ZERO).await;
                if !all(&*store).await.is_empty() {
                    return;
                }
            }
        })
    };
    tokio::task::yield_now().await;
    publish(&*store, "a").await;
    tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.expect("woken").unwrap();
}

async fn reads_are_limited_and_ordered(store: &dyn Store) {
    for number in 1..=5 {
        publish(store, &format!("b{number}")).await;
    }
    let two = store.read_after(version(2), 2).await.unwrap();
    assert_eq!(two.iter().map(|e| e.entry().version.get()).collect::<Vec<_>>(), [3, 4]);
    assert!(store.read_after(version(5), 10).await.unwrap().is_empty());
    assert!(store.read_after(version(500), 10).await.unwrap().is_empty());
}

async fn replica_applies_batches_with_their_position(store: &dyn Store) {
    store.apply(vec![entry("a", 1).seal(), entry("b", 4).seal()], checkpoint(4)).await.unwrap();
    store.apply(vec![], checkpoint(6)).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert_eq!(loaded.checkpoint, Some(checkpoint(6)));
    assert_eq!(
        (loaded.view.head(), loaded.view.len()),
        (version(6), 2),
        "the head is the position, not the last entry"
    );
}

async fn replica_ignores_what_it_knows(store: &dyn Store) {
    let mut newer = entry("a", 3);
    newer.is_active = false;
    store.apply(vec![entry("a", 1).seal()], checkpoint(1)).await.unwrap();
    store.apply(vec![newer.clone().seal()], checkpoint(3)).await.unwrap();
    store.apply(vec![entry("a", 1).seal()], checkpoint(3)).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert_eq!(loaded.view.iter().cloned().collect::<Vec<_>>(), [newer.seal()]);
}

async fn replacing_leaves_nothing_behind(store: &dyn Store) {
    store.init_genesis(genesis(1)).await.unwrap();
    store.apply(vec![entry("a", 1).seal(), entry("b", 2).seal()], checkpoint(2)).await.unwrap();
    store.replace(Some(genesis(2)), vec![entry("c", 5).seal()], Some(checkpoint(7))).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert_eq!(loaded.view.lineage(), Some(genesis(2).lineage()));
    assert_eq!(loaded.view.iter().cloned().collect::<Vec<_>>(), [entry("c", 5).seal()]);
    assert_eq!(loaded.view.head(), version(7));
    store.replace(Some(genesis(1)), vec![], None).await.unwrap();
    let empty = store.load().await.unwrap();
    assert!(empty.view.is_empty() && empty.checkpoint.is_none() && empty.findings.is_empty());
    assert_eq!(
        publish(store, "a").await.entry.entry().version,
        version(1),
        "a replaced register counts anew"
    );
}
