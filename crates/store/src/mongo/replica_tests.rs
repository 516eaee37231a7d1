//! Replacement of a register, and batches of a replica, cut off at every step that a crash can leave.

use mongodb::bson::doc;
use sorcha_register::{
    testing::{entry, genesis},
    view::RegisterView,
};

use super::{
    meta::{Position, REPLACING, Replacement, encode_replacement},
    test_server::Databases,
    tests::{publish, versions_after},
    *,
};
use crate::contract::{checkpoint, version};

#[tokio::test]
async fn a_restored_register_accounts_for_versions_it_lost() {
    let Some(databases) = Databases::for_test("a_restored_register_accounts_for_versions_it_lost") else {
        return;
    };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    publish(&store, "old").await;
    let entries = vec![entry("a", 3).seal(), entry("b", 4).seal(), entry("c", 9).seal()];
    store.replace(Some(genesis(1)), entries.clone(), None).await.unwrap();
    assert_eq!(publish(&store, "d").await.entry.entry().version, version(10));
    let loaded = databases.open(&config).await.load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert_eq!(loaded.view.iter().take(3).cloned().collect::<Vec<_>>(), entries);
    let far = store.replace(None, vec![entry("a", i64::MAX).seal()], None).await.unwrap_err();
    assert!(matches!(far, StoreError::Unstorable(_)), "{far}");
    assert_eq!(store.load().await.unwrap().view.head(), version(10), "the old register stays");
    databases.drop_all().await;
}

#[tokio::test]
async fn a_restored_register_gives_no_number_twice_and_misses_nothing() {
    let Some(databases) = Databases::for_test("a_restored_register_gives_no_number_twice_and_misses_nothing")
    else {
        return;
    };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    let entries = vec![entry("a", 3).seal(), entry("b", 4).seal(), entry("c", 9).seal()];
    let head = version(1_000_000_009);
    store.restore(genesis(1), entries.clone(), head).await.unwrap();
    for restarted in [store, databases.open(&config).await] {
        let loaded = restarted.load().await.unwrap();
        assert_eq!((loaded.findings.as_slice(), loaded.checkpoint.is_none()), (&[][..], true));
        assert_eq!(loaded.view.head().max(head), loaded.view.head());
        let name = format!("d{}", loaded.view.len());
        let published = publish(&restarted, &name).await.entry.entry().version;
        assert_eq!(Some(published), loaded.view.head().next());
        let again = databases.open(&config).await.load().await.unwrap();
        assert_eq!((again.findings.as_slice(), again.view.head()), (&[][..], published));
    }
    let raw = databases.raw(&config).await;
    raw.entries.delete_one(doc! { "_id": "b" }).await.unwrap();
    let findings = databases.open(&config).await.load().await.unwrap().findings;
    assert!(findings[0].to_string().contains("1 of the entries"), "{findings:?}");
    databases.drop_all().await;
}

/// A register whose replacement stopped right after it was recorded as complete, or one step further.
async fn cut_off_replacement(databases: &Databases, config: &MongoDb, is_swapped: bool) {
    let store = databases.open(config).await;
    store.init_genesis(genesis(1)).await.unwrap();
    publish(&store, "old").await;
    let view =
        RegisterView::with_entries(Some(Arc::new(genesis(2))), vec![entry("new", 2).seal()], version(5));
    store.write_incoming(&view, Default::default()).await.unwrap();
    let position = Some(Position { checkpoint: checkpoint(5), seal: Some(view.seal()) });
    let replacement = Replacement { genesis: Some(genesis(2)), position, restored: None, head: version(5) };
    store.db.put_meta(REPLACING, encode_replacement(&replacement).unwrap()).await.unwrap();
    if is_swapped {
        store.db.swap_in().await.unwrap();
    }
}

#[tokio::test]
async fn a_replacement_that_was_cut_off_is_finished() {
    let Some(databases) = Databases::for_test("a_replacement_that_was_cut_off_is_finished") else { return };
    for is_swapped in [false, true] {
        let config = databases.fresh();
        cut_off_replacement(&databases, &config, is_swapped).await;
        for _ in 0..2 {
            let loaded = databases.open(&config).await.load().await.unwrap();
            assert_eq!(loaded.findings, []);
            assert_eq!(loaded.view.lineage(), Some(genesis(2).lineage()));
            assert_eq!(loaded.checkpoint, Some(checkpoint(5)));
            assert_eq!(loaded.view.iter().cloned().collect::<Vec<_>>(), [entry("new", 2).seal()]);
        }
    }
    databases.drop_all().await;
}

#[tokio::test]
async fn what_a_cut_off_batch_left_does_not_count() {
    let Some(databases) = Databases::for_test("what_a_cut_off_batch_left_does_not_count") else { return };
    let config = databases.fresh();
    let store = databases.open(&config).await;
    store.apply(vec![entry("a", 1).seal(), entry("b", 3).seal()], checkpoint(3)).await.unwrap();
    let sound = store.load().await.unwrap().view.seal();
    let raw = databases.raw(&config).await;
    let position = raw.meta.find_one(doc! { "_id": "checkpoint" }).await.unwrap().unwrap();
    let cut_off = async |entries| {
        store.apply(entries, checkpoint(6)).await.unwrap();
        raw.meta.replace_one(doc! { "_id": "checkpoint" }, &position).await.unwrap();
        databases.open(&config).await
    };

    let restarted = cut_off(vec![entry("c", 5).seal()]).await;
    let loaded = restarted.load().await.unwrap();
    assert_eq!((loaded.findings.as_slice(), loaded.view.seal()), (&[][..], sound));
    assert_eq!(versions_after(&restarted, 0).await, [1, 3]);
    restarted.apply(vec![entry("c", 5).seal()], checkpoint(6)).await.unwrap();
    assert_eq!(restarted.load().await.unwrap().findings, [], "the batch came again");
    restarted.init_genesis(genesis(1)).await.unwrap();
    assert_eq!(restarted.load().await.unwrap().findings, [], "a genesis that came later");

    let mut deprecated = entry("a", 6);
    deprecated.is_active = false;
    let restarted = cut_off(vec![deprecated.seal()]).await;
    let findings = restarted.load().await.unwrap().findings;
    assert!(findings[0].to_string().contains("sync again"), "{findings:?}");
    restarted.replace(None, vec![entry("b", 3).seal()], Some(checkpoint(6))).await.unwrap();
    assert_eq!(restarted.load().await.unwrap().findings, []);
    databases.drop_all().await;
}
