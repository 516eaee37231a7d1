//! What holds on MongoDB beside the contract of every store.

mod moving;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use mongodb::{
    IndexModel,
    bson::{Document, doc},
};
use sorcha_register::{entry::SealedEntry, testing::entry, view::RegisterView};
use tokio::time::timeout;

use super::{
    entry_codec::{MAX_DOCUMENT_BYTES, STATE_CHANGE_BYTES, encode, encode_document},
    meta::HEAD,
    test_server::{Databases, Server, has_java},
    *,
};
use crate::contract::{self, draft, id, version};

pub(super) fn change(name: &str, is_active: bool) -> StateChange {
    StateChange {
        blueprint_id: id(name),
        is_active,
        transaction_id: format!("tx-{name}-{is_active}"),
        trace_parent: String::new(),
    }
}

pub(super) async fn publish(store: &MongoStore, name: &str) -> Publication {
    store.publish(draft(name, &format!(r#"{{"id":"{name}"}}"#))).await.unwrap()
}

/// Versions after `after` as a reader sees them.
pub(super) async fn versions_after(store: &MongoStore, after: i64) -> Vec<i64> {
    let entries = store.read_after(version(after), usize::MAX).await.unwrap();
    entries.iter().map(|sealed| sealed.entry().version.get()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let Some(databases) = Databases::for_test("passes_the_contract") else { return };
    contract::run(|| async { databases.open(&databases.fresh()).await }).await;
    databases.drop_all().await;
}

/// Publishes its own blueprints and one that others publish too, deprecates one of its own in five and one that
/// others deprecate too; returns the versions that it was given.
async fn central_node(store: Arc<MongoStore>, name: &'static str) -> Vec<i64> {
    let mut given = Vec::new();
    for number in 0..25 {
        let own = format!("{name}-{number}");
        let mut done = vec![publish(&store, &own).await, publish(&store, &format!("common-{number}")).await];
        if number % 5 == 4 {
            done.push(store.set_active(change(&own, false)).await.unwrap());
            done.push(store.set_active(change(&format!("common-{number}"), false)).await.unwrap());
        }
        given.extend(done.iter().filter(|p| p.changed).map(|p| p.entry.entry().version.get()));
    }
    given
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_publish_to_one_database_at_once() {
    const VERSIONS: i64 = 3 * (25 + 5) + 25 + 5;
    let Some(databases) = Databases::for_test("three_nodes_publish_to_one_database_at_once") else { return };
    let config = databases.fresh();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Arc::new(databases.open(&config).await));
    }
    let publishing: Vec<_> = nodes
        .iter()
        .zip(["n0", "n1", "n2"])
        .map(|(store, name)| tokio::spawn(central_node(Arc::clone(store), name)))
        .collect();
    let tails: Vec<_> =
        nodes.iter().map(|store| tokio::spawn(follow(Arc::clone(store), version(VERSIONS)))).collect();
    let mut given = Vec::new();
    for node in publishing {
        given.extend(node.await.unwrap());
    }
    given.sort_unstable();
    assert_eq!(given, (1..=VERSIONS).collect::<Vec<_>>(), "each version is given once");
    let loaded = nodes[0].load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert_eq!((loaded.view.head(), loaded.view.len()), (version(VERSIONS), 100));
    for tail in tails {
        let followed = timeout(Duration::from_secs(30), tail).await.unwrap().unwrap();
        assert_eq!(followed.seal(), loaded.view.seal(), "who follows has the whole register");
    }
    databases.drop_all().await;
}

/// What a central node does: waits for more, reads it, keeps it.
async fn follow(store: Arc<MongoStore>, until: Version) -> RegisterView {
    let mut view = RegisterView::new(None);
    while view.head() < until {
        store.changed(view.head()).await;
        let more = store.read_after(view.head(), 7).await.unwrap();
        assert!(more.windows(2).all(|pair| pair[0].entry().version < pair[1].entry().version));
        view.apply(more, Version::ZERO);
    }
    view
}

/// A node that read the head, and stood still while others took the next version and moved on from it.
#[tokio::test]
async fn a_superseded_version_is_never_given_again() {
    let Some(databases) = Databases::for_test("a_superseded_version_is_never_given_again") else { return };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    publish(&store, "a").await;
    publish(&store, "b").await;
    store.set_active(change("a", false)).await.unwrap();
    store.set_active(change("a", true)).await.unwrap();
    for number in 1..=4 {
        let late = entry("late", number);
        let json = encode_document(&late.blueprint_id, &late.document).unwrap();
        let document = encode(&late.seal(), &[], &json).unwrap();
        let inserted = store.db.bounded(store.db.entries.insert_one(document)).await;
        assert!(matches!(inserted, Err(Failure::Duplicate)), "{number}: {inserted:?}");
        let later = doc! { "$set": { "version": 9_i64 }, "$push": { "versions": number } };
        let updated = store.db.bounded(store.db.entries.update_one(doc! { "_id": "b" }, later)).await;
        assert!(number == 2 || matches!(updated, Err(Failure::Duplicate)), "{number}: {updated:?}");
    }
    databases.drop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn has_the_contracts_indexes() {
    let Some(databases) = Databases::for_test("has_the_contracts_indexes") else { return };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    store.replace(None, vec![entry("a", 1).seal()], None).await.unwrap();
    let raw = databases.raw(&config).await;
    let listed = raw.database.run_command(doc! { "listIndexes": &config.collection }).await.unwrap();
    let keys: Vec<(Document, bool)> = listed
        .get_document("cursor")
        .unwrap()
        .get_array("firstBatch")
        .unwrap()
        .iter()
        .map(|index| index.as_document().unwrap())
        .map(|index| (index.get_document("key").unwrap().clone(), index.get_bool("unique").unwrap_or(false)))
        .collect();
    for wanted in
        [(doc! { "version": 1 }, true), (doc! { "publishedAt": -1 }, false), (doc! { "isActive": 1 }, false)]
    {
        assert!(keys.contains(&wanted), "{keys:?}");
    }
    databases.drop_all().await;
}

#[tokio::test]
async fn an_index_that_is_not_unique_is_named() {
    let Some(databases) = Databases::for_test("an_index_that_is_not_unique_is_named") else { return };
    let config = databases.fresh();
    let raw = databases.raw(&config).await;
    raw.entries.create_index(IndexModel::builder().keys(doc! { "version": 1 }).build()).await.unwrap();
    let refused = databases.try_open(&config).await.unwrap_err();
    assert!(refused.to_string().contains("drop that index and start again"), "{refused}");
    databases.drop_all().await;
}

#[tokio::test]
async fn the_largest_documents_are_kept_and_read() {
    const COUNT: usize = 3;
    let Some(databases) = Databases::for_test("the_largest_documents_are_kept_and_read") else { return };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    let large = |size: usize| format!(r#"{{"x":"{}"}}"#, "x".repeat(size));
    let size = MAX_DOCUMENT_BYTES - STATE_CHANGE_BYTES - 1000;
    for number in 0..COUNT {
        store.publish(draft(&format!("b{number}"), &large(size))).await.unwrap();
    }
    let off = store.set_active(change("b0", false)).await.unwrap();
    assert_eq!(off.entry.entry().document.length(), size + 8);
    assert_eq!(versions_after(&store, 0).await, [2, 3, 4], "in a reply of 50 MB if the server lets it");
    let refused = store.publish(draft("larger", &large(size + 1000))).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Unstorable(why) if why.contains("limit is 16777216 bytes")),
        "{refused}"
    );
    databases.drop_all().await;
}

#[tokio::test]
async fn a_version_that_was_seen_is_never_given_again() {
    let Some(databases) = Databases::for_test("a_version_that_was_seen_is_never_given_again") else { return };
    let config = MongoDb { timeout: Duration::from_secs(1), ..databases.fresh() };
    let (writer, reader) = (databases.open(&config).await, databases.open(&config).await);
    publish(&writer, "a").await;
    publish(&writer, "b").await;
    assert_eq!(versions_after(&reader, 0).await, [1, 2]);
    databases.raw(&config).await.entries.delete_one(doc! { "version": 2_i64 }).await.unwrap();
    for store in [&writer, &reader] {
        let refused = store.publish(draft("c", "{}")).await.unwrap_err();
        assert!(
            matches!(&refused, StoreError::Exchanged(_))
                && refused.to_string().contains("version 2 was there"),
            "{refused}"
        );
    }
    databases.drop_all().await;
}

#[tokio::test]
async fn the_head_is_recorded_and_versions_are_int64() {
    let Some(databases) = Databases::for_test("the_head_is_recorded_and_versions_are_int64") else { return };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    publish(&store, "a").await;
    publish(&store, "b").await;
    store.set_active(change("a", false)).await.unwrap();
    let raw = databases.raw(&config).await;
    wait_for_head(&raw, 3).await;
    let stored = raw.entries.find_one(doc! { "_id": "a" }).await.unwrap().unwrap();
    assert_eq!(stored.get_i64("version").unwrap(), 3);
    assert_eq!(stored.get_array("versions").unwrap(), &[1_i64.into(), 3_i64.into()]);
    let keys: BTreeSet<_> = stored.keys().map(String::as_str).collect();
    assert!(!keys.contains("traceParent"), "the change was not traced");
    databases.drop_all().await;
}

/// The recorder writes a moment after the publication.
pub(super) async fn wait_for_head(raw: &test_server::Raw, number: i64) {
    for _ in 0..500 {
        let head = raw.meta.find_one(doc! { "_id": HEAD }).await.unwrap();
        if head.is_some_and(|head| head.get_i64("version").unwrap() == number) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the head {number} is not recorded");
}
