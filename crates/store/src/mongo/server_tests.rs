//! Servers of other makers, played by the tests' server, and what is asked of any server.

use mongodb::bson::doc;
use sorcha_register::testing::entry;

use super::{
    entry_codec::{encode, encode_document},
    test_server::{Databases, Server, has_java},
    tests::{change, publish, versions_after},
    *,
};
use crate::contract::{self, version};

fn like_ferretdb(test: &str) -> Option<(Server, Databases)> {
    if !has_java(test) {
        return None;
    }
    let server = Server::start_with(0, None, &["--like", "ferretdb"]);
    let databases = Databases::on(&server);
    Some((server, databases))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_maker_passes_the_contract_and_is_opened_again() {
    let Some((_server, databases)) = like_ferretdb("a_server_of_another_maker_passes_the_contract") else {
        return;
    };
    contract::run(|| async { databases.open(&databases.fresh()).await }).await;
    let config = databases.fresh();
    for name in ["a", "b", "c"] {
        let store = databases.open(&config).await;
        publish(&store, name).await;
        assert!(store.weakness().is_some_and(|weakness| weakness.contains("superseded version")));
    }
    let store = databases.open(&config).await;
    assert_eq!(versions_after(&store, 0).await, [1, 2, 3]);
    for round in 1..=3 {
        store.replace(None, vec![entry("other", round).seal()], None).await.unwrap();
        assert_eq!(versions_after(&store, 0).await, [round], "a replacement, in steps");
    }
}

/// Deprecations that meet a version taken by another node are refused with a code that says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_deprecation_that_loses_a_race_is_tried_again_whatever_the_server_calls_it() {
    let Some((_server, databases)) = like_ferretdb("a_deprecation_that_loses_a_race") else { return };
    let config = databases.fresh();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Arc::new(databases.open(&config).await));
    }
    for number in 0..30 {
        publish(&nodes[0], &format!("b{number}")).await;
    }
    let movers = nodes.iter().enumerate().map(|(share, store)| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut given = Vec::new();
            for number in (share..30).step_by(3) {
                let done = store.set_active(change(&format!("b{number}"), false)).await.unwrap();
                given.push(done.entry.entry().version.get());
            }
            given
        })
    });
    let mut given = Vec::new();
    for mover in movers.collect::<Vec<_>>() {
        given.extend(mover.await.unwrap());
    }
    given.sort_unstable();
    assert_eq!(given, (31..=60).collect::<Vec<_>>(), "each version is given once");
    assert_eq!(nodes[0].load().await.unwrap().findings, []);
}

/// What a node does that stood still between reading the head and its insert.
async fn publish_late(store: &MongoStore, name: &str, number: i64) -> Publication {
    let late = entry(name, number);
    let json = encode_document(&late.blueprint_id, &late.document).unwrap();
    let sealed = late.seal();
    let document = encode(&sealed, &[], &json).unwrap();
    store.db.bounded(store.db.entries.insert_one(document)).await.unwrap();
    Publication { entry: sealed, changed: true }
}

#[tokio::test]
async fn a_version_is_not_given_twice_by_a_server_that_guards_arrays_as_wholes() {
    let Some((_server, databases)) = like_ferretdb("a_version_is_not_given_twice") else { return };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    publish(&store, "a").await;
    publish(&store, "b").await;
    store.set_active(change("b", false)).await.unwrap();
    let reader = databases.open(&config).await;
    assert_eq!(versions_after(&reader, 0).await, [1, 3]);

    let late = publish_late(&store, "late", 2).await;
    let apart = store.kept_apart(late).await.unwrap();
    assert_eq!(apart.entry.entry().version, version(4));
    assert_eq!(versions_after(&reader, 3).await, [4], "who had read beyond it gets it");
    let again = store.kept_apart(apart.clone()).await.unwrap();
    assert_eq!(again.entry, apart.entry);

    // A node that was killed before it looked.
    publish_late(&store, "killed", 2).await;
    let loaded = databases.open(&config).await.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert_eq!(loaded.view.head(), version(5));
    assert_eq!(versions_after(&reader, 4).await, [5]);
}

/// A server that lets two documents have one version holds no register.
#[tokio::test]
async fn a_server_that_does_not_guard_versions_is_refused() {
    if !has_java("a_server_that_does_not_guard_versions_is_refused") {
        return;
    }
    let server = Server::start_with(0, None, &["--like", "nothing"]);
    let databases = Databases::on(&server);
    let refused = databases.try_open(&databases.fresh()).await.unwrap_err().to_string();
    assert!(refused.contains("`version`") && refused.contains("use MongoDB 4.4"), "{refused}");
}

#[tokio::test]
async fn what_is_tried_at_the_start_is_cleared_away() {
    let Some(databases) = Databases::for_test("what_is_tried_at_the_start_is_cleared_away") else { return };
    let config = databases.fresh();
    let raw = databases.raw(&config).await;
    let scratch = raw.database.collection::<mongodb::bson::Document>(&format!("{}_probe", config.collection));
    for _ in 0..2 {
        assert_eq!(databases.open(&config).await.weakness(), None);
        assert_eq!(scratch.count_documents(doc! {}).await.unwrap(), 0);
    }
    databases.drop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_asks_for_the_journals_of_a_majority() {
    if !has_java("every_write_asks_for_the_journals_of_a_majority") {
        return;
    }
    let server = Server::start_with(0, None, &["--durable-only"]);
    let databases = Databases::on_with(&server, "&w=1&journal=false");
    contract::run(|| async { databases.open(&databases.fresh()).await }).await;
}
