//! No change that another program makes in the database goes unnoticed (ADR 27).

use mongodb::bson::{Binary, Bson, DateTime, Document, doc, spec::BinarySubtype};
use sorcha_register::{
    integrity::{Fault, Finding},
    testing::{entry, genesis},
};

use super::{
    test_server::{Databases, Raw},
    tests::{change, publish, versions_after, wait_for_head},
    *,
};
use crate::contract::{checkpoint, draft, id, version};

/// A register of versions 1 to 6: a is at 6 and had 1, b to e are at 2 to 5. Returns its collections.
async fn register(databases: &Databases) -> (MongoDb, Raw) {
    let config = databases.fresh();
    let store = databases.open(&config).await;
    store.init_genesis(genesis(1)).await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        publish(&store, name).await;
    }
    store.set_active(change("a", false)).await.unwrap();
    let raw = databases.raw(&config).await;
    wait_for_head(&raw, 6).await;
    (config, raw)
}

async fn findings(databases: &Databases, config: &MongoDb) -> Vec<Finding> {
    databases.open(config).await.load().await.unwrap().findings
}

/// Not as an update: a server may take one that only changes a number's type for none.
async fn put(raw: &Raw, document: &Document) {
    raw.entries.delete_one(doc! { "_id": document.get("_id") }).await.unwrap();
    raw.entries.insert_one(document).await.unwrap();
}

fn changes_of_c() -> Vec<(&'static str, Bson)> {
    vec![
        ("registerId", "11111111-0000-0000-0000-000000000000".into()),
        ("document", doc! { "id": "x" }.into()),
        ("document", doc! { "id": "c", "more": 1 }.into()),
        ("publishedAt", DateTime::from_millis(1_700_000_000_124).into()),
        ("publishedBy", "mallory".into()),
        ("version", 30_i64.into()),
        ("version", 3_i32.into()),
        ("version", "3".into()),
        ("isActive", false.into()),
        ("publicationTransactionId", "tx-other".into()),
        ("checksum", "sha256:0000".into()),
        ("metadata", doc! { "category": "other" }.into()),
        ("traceParent", "00-00000000000000000000000000000000-0000000000000000-00".into()),
        ("versions", vec![7_i64, 3].into()),
        ("versions", vec![3_i32].into()),
        ("entryHash", Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![0; 32] })),
        ("unknown", 1.into()),
    ]
}

#[tokio::test]
async fn each_changed_field_is_found_and_the_entry_named() {
    let Some(databases) = Databases::for_test("each_changed_field_is_found_and_the_entry_named") else {
        return;
    };
    let (config, raw) = register(&databases).await;
    let good = raw.entries.find_one(doc! { "_id": "c" }).await.unwrap().unwrap();
    for (key, value) in changes_of_c() {
        let mut changed = good.clone();
        changed.insert(key, value.clone());
        put(&raw, &changed).await;
        let found = findings(&databases, &config).await;
        assert!(!found.is_empty(), "{key}: {value} unnoticed");
        assert_eq!(found[0].blueprint_id, Some(id("c")), "{key}: {found:?}");
        assert_eq!(found.len(), 1, "{key}: {found:?}");
        assert_eq!(found[0].version == Some(version(3)), key != "version", "{key}: {found:?}");
        put(&raw, &good).await;
    }
    for key in good.keys().filter(|key| *key != "_id") {
        raw.entries.update_one(doc! { "_id": "c" }, doc! { "$unset": { key: "" } }).await.unwrap();
        assert_eq!(findings(&databases, &config).await[0].blueprint_id, Some(id("c")), "without {key}");
        put(&raw, &good).await;
    }
    assert_eq!(findings(&databases, &config).await, []);
    databases.drop_all().await;
}

#[tokio::test]
async fn missing_and_added_entries_are_named() {
    let Some(databases) = Databases::for_test("missing_and_added_entries_are_named") else { return };
    let (config, raw) = register(&databases).await;
    let missing = |number| Finding::at(version(number), None, Fault::Missing);
    let take =
        async |name: &str| raw.entries.find_one_and_delete(doc! { "_id": name }).await.unwrap().unwrap();

    let b = take("b").await;
    assert_eq!(findings(&databases, &config).await, [missing(2)]);
    put(&raw, &b).await;
    let a = take("a").await;
    assert_eq!(findings(&databases, &config).await, [missing(1), missing(6)], "the end is cut off");
    let e = take("e").await;
    assert_eq!(findings(&databases, &config).await, [missing(1), missing(5), missing(6)]);
    put(&raw, &a).await;
    put(&raw, &e).await;

    let mut rogue = b.clone();
    rogue.extend(doc! { "_id": "rogue", "version": 7_i64, "versions": [7_i64] });
    put(&raw, &rogue).await;
    assert_eq!(
        findings(&databases, &config).await,
        [Finding::at(version(7), Some(id("rogue")), Fault::Altered)]
    );
    take("rogue").await;
    raw.entries.insert_one(doc! { "by": "hand" }).await.unwrap();
    let found = findings(&databases, &config).await;
    assert!(
        matches!(&found[..], [Finding { version: None, blueprint_id: None, fault: Fault::Damaged(_) }]),
        "{found:?}"
    );
    databases.drop_all().await;
}

#[tokio::test]
async fn swapped_versions_are_named() {
    let Some(databases) = Databases::for_test("swapped_versions_are_named") else { return };
    let (config, raw) = register(&databases).await;
    for (name, number) in [("b", 70_i64), ("d", 2), ("b", 4)] {
        raw.entries.update_one(doc! { "_id": name }, doc! { "$set": { "version": number } }).await.unwrap();
    }
    let found = findings(&databases, &config).await;
    let named: Vec<_> = found.into_iter().map(|finding| (finding.version, finding.blueprint_id)).collect();
    assert_eq!(named, [(Some(version(2)), Some(id("d"))), (Some(version(4)), Some(id("b")))]);
    databases.drop_all().await;
}

#[tokio::test]
async fn the_records_beside_the_entries_are_checked() {
    let Some(databases) = Databases::for_test("the_records_beside_the_entries_are_checked") else { return };
    let (config, raw) = register(&databases).await;
    let good = raw.meta.find_one(doc! { "_id": "genesis" }).await.unwrap().unwrap();
    let Some(Bson::Binary(mut bytes)) = good.get("bytes").cloned() else { panic!("no bytes") };
    bytes.bytes[40] ^= 1;
    for change in [doc! { "bytes": bytes }, doc! { "lineage": "00" }, doc! { "record.record.name": "other" }]
    {
        raw.meta.update_one(doc! { "_id": "genesis" }, doc! { "$set": change }).await.unwrap();
        let found = findings(&databases, &config).await;
        assert!(matches!(&found[..], [Finding { fault: Fault::Genesis(_), .. }]), "{found:?}");
        raw.meta.replace_one(doc! { "_id": "genesis" }, &good).await.unwrap();
    }
    let wrong = "or the head record is wrong";
    for (number, text) in
        [(1_i64 << 26, wrong), (1 << 60, wrong), (i64::MAX, wrong), (-5, "the record of the head version")]
    {
        raw.meta.update_one(doc! { "_id": "head" }, doc! { "$set": { "version": number } }).await.unwrap();
        let found = findings(&databases, &config).await;
        assert!(found[0].to_string().contains(text), "{found:?}");
    }
    databases.drop_all().await;
}

#[tokio::test]
async fn a_replica_finds_missing_added_and_changed_entries() {
    let Some(databases) = Databases::for_test("a_replica_finds_missing_added_and_changed_entries") else {
        return;
    };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    store.apply(vec![entry("a", 2).seal(), entry("b", 5).seal()], checkpoint(7)).await.unwrap();
    let raw = databases.raw(&config).await;
    let b = raw.entries.find_one_and_delete(doc! { "_id": "b" }).await.unwrap().unwrap();
    assert!(
        matches!(findings(&databases, &config).await[..], [Finding { fault: Fault::Seal(_), .. }]),
        "missing"
    );
    put(&raw, &b).await;
    assert_eq!(findings(&databases, &config).await, []);

    let other = databases.fresh();
    databases.open(&other).await.apply(vec![entry("x", 4).seal()], checkpoint(7)).await.unwrap();
    let x = databases.raw(&other).await.entries.find_one(doc! {}).await.unwrap().unwrap();
    put(&raw, &x).await;
    assert!(
        matches!(findings(&databases, &config).await[..], [Finding { fault: Fault::Seal(_), .. }]),
        "added"
    );
    raw.entries.delete_one(doc! { "_id": "x" }).await.unwrap();

    raw.entries.update_one(doc! { "_id": "a" }, doc! { "$set": { "isActive": false } }).await.unwrap();
    assert_eq!(findings(&databases, &config).await, [Finding::at(version(2), Some(id("a")), Fault::Altered)]);
    raw.entries.update_one(doc! { "_id": "a" }, doc! { "$set": { "isActive": true } }).await.unwrap();
    raw.meta.update_one(doc! { "_id": "checkpoint" }, doc! { "$set": { "version": 8_i64 } }).await.unwrap();
    let loaded = databases.open(&config).await.load().await.unwrap();
    assert_eq!(loaded.findings, [Finding::whole(Fault::Damaged("the sync checkpoint".into()))]);
    assert_eq!(loaded.checkpoint, None);
    databases.drop_all().await;
}

#[tokio::test]
async fn a_damaged_register_takes_no_publication_until_it_is_replaced() {
    let Some(databases) = Databases::for_test("a_damaged_register_takes_no_publication_until_it_is_replaced")
    else {
        return;
    };
    let (config, raw) = register(&databases).await;
    let store = databases.open(&config).await;
    raw.entries.update_one(doc! { "_id": "c" }, doc! { "$set": { "publishedBy": "mallory" } }).await.unwrap();
    assert!(
        matches!(store.read_after(version(2), 10).await, Err(StoreError::Damaged(why)) if why.contains("version 3, blueprint c"))
    );
    assert_eq!(versions_after(&store, 3).await, [4, 5, 6]);
    let refused = store.set_active(change("c", false)).await;
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "not built upon even before it is loaded");

    let loaded = store.load().await.unwrap();
    assert!(
        matches!(store.publish(draft("f", "{}")).await, Err(StoreError::Damaged(why)) if why.contains("blueprint c"))
    );
    let mut good: Vec<_> = loaded.view.iter().cloned().collect();
    good.push(draft("c", r#"{"id":"c"}"#).at(version(3)).seal());
    store.replace(loaded.view.genesis().map(|genesis| Genesis::clone(genesis)), good, None).await.unwrap();
    assert_eq!(store.load().await.unwrap().findings, []);
    assert_eq!(publish(&store, "f").await.entry.entry().version, version(7));
    databases.drop_all().await;
}

/// Somebody restores another register into the database of a running node, or drops it.
#[tokio::test]
async fn a_database_that_is_exchanged_under_a_running_node_is_not_written_to() {
    let Some(databases) = Databases::for_test("a_database_that_is_exchanged") else { return };
    let (config, other) = (databases.fresh(), databases.fresh());
    let store = databases.open(&config).await;
    store.init_genesis(genesis(1)).await.unwrap();
    publish(&store, "a").await;
    let elsewhere = databases.open(&other).await;
    elsewhere.init_genesis(genesis(2)).await.unwrap();
    publish(&elsewhere, "z").await;

    let raw = databases.raw(&config).await;
    let mine = raw.meta.find_one(doc! { "_id": "genesis" }).await.unwrap();
    let theirs = databases.raw(&other).await.meta.find_one(doc! { "_id": "genesis" }).await.unwrap();
    let (mine, theirs) = (mine.expect("a genesis"), theirs.expect("a genesis"));
    for (put, told) in [(Some(&theirs), &*genesis(2).lineage().short()), (None, "no genesis record")] {
        raw.meta.delete_one(doc! { "_id": "genesis" }).await.unwrap();
        if let Some(document) = put {
            raw.meta.insert_one(document).await.unwrap();
        }
        let is_told = |error: Option<&StoreError>| {
            let both = error.map(ToString::to_string).unwrap_or_default();
            both.contains(told) && both.contains(&genesis(1).lineage().short())
        };
        let refused = store.publish(draft("b", r#"{"id":"b"}"#)).await;
        assert!(is_told(refused.as_ref().err()), "{refused:?}");
        let refused = store.set_active(change("a", false)).await;
        assert!(is_told(refused.as_ref().err()), "{refused:?}");
        let read = store.read_after(Version::ZERO, 10).await;
        assert!(is_told(read.as_ref().err()), "{read:?}");
    }
    assert_eq!(raw.entries.count_documents(doc! {}).await.unwrap(), 1, "nothing was written");
    // The right one is back.
    raw.meta.insert_one(&mine).await.unwrap();
    publish(&store, "b").await;
    assert_eq!(versions_after(&store, 0).await, [1, 2]);
    databases.drop_all().await;
}
