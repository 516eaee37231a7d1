//! `reseed` and `adopt`.

use super::*;

#[tokio::test]
async fn a_reseed_begins_another_register_with_the_nodes_key() {
    let node = Node::central().await;
    let error = node.refused(reseed(false)).await;
    assert!(error.contains("SplitBrain") && error.contains("--yes"), "{error}");
    let (result, out, err) = node.run(reseed(true), None).await;
    assert_eq!(result.unwrap(), Outcome::Done);
    assert!(err.contains("register adopt"), "{err}");
    let new: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&new["head"], &new["entries"], &new["createdBy"]),
        (&1.into(), &1.into(), &"n0.sorcha.dev".into())
    );
    assert_ne!(new["lineage"], genesis(1).lineage().to_string());

    // The node that starts on it finds its register complete.
    let key = sorcha_host::keys::load_or_create(&node.config.store.data_dir).unwrap();
    let store = node.open().await;
    let found =
        sorcha_central::bootstrap::ensure_seed(&*store, "n0", &key, &SystemClock::new()).await.unwrap();
    assert_eq!(found.lineage().to_string(), new["lineage"]);
    assert_eq!(store.load().await.unwrap().view.head().get(), 1);
    let administrator = &found.record().control_record.administrators[0];
    assert_eq!(administrator.public_key, hex::encode(key.verifying_key().as_bytes()));
}

#[tokio::test]
async fn a_replica_notes_the_lineage_to_adopt_and_is_served_until_then() {
    let node = Node::new();
    let store = node.open().await;
    store.replace(Some(genesis(1)), vec![entry("a", 1).seal()], Some(checkpoint(1))).await.unwrap();
    drop(store);
    assert_eq!(node.done(adopt(&genesis(2))).await["adopt"], genesis(2).lineage().to_string());
    let loaded = node.open().await.load().await.unwrap();
    let noted = loaded.checkpoint.unwrap();
    assert_eq!(noted, Checkpoint { adopt: Some(genesis(2).lineage()), ..checkpoint(1) });
    assert_eq!((loaded.view.len(), loaded.view.lineage()), (1, Some(genesis(1).lineage())));
    let Value::String(table) = node.done(verify(TABLE)).await else { panic!() };
    assert!(table.contains("to adopt") && table.contains(&genesis(2).lineage().to_string()), "{table}");

    assert_eq!(node.done(adopt(&genesis(1))).await["adopt"], Value::Null);
    assert_eq!(node.open().await.load().await.unwrap().checkpoint.unwrap().adopt, None);
}

#[tokio::test]
async fn only_a_replica_can_adopt() {
    let central = Node::central().await;
    let error = central.refused(adopt(&genesis(2))).await;
    assert!(
        error.contains("no checkpoint") && error.contains("register restore FILE --other-lineage"),
        "{error}"
    );
    let empty = Node::new();
    drop(empty.open().await);
    let error = empty.refused(adopt(&genesis(2))).await;
    assert!(error.contains("just start it"), "{error}");
}
