//! `import` and `restore`.

use super::*;

#[tokio::test]
async fn an_import_needs_an_empty_store_and_a_sound_bundle() {
    let node = Node::central().await;
    let file = node.export("bundle").await;
    let error = node.refused(import(&file)).await;
    assert!(error.contains("entries: 3") && error.contains("register restore"), "{error}");

    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let empty = Node::new();
    let error = empty.refused(import(&file)).await;
    assert!(error.contains("bundle is not sound at byte") && error.contains("SHA-256"), "{error}");
    assert!(error.contains("bundle: "), "names the file: {error}");
    assert!(!empty.register().exists());
    let error = empty.refused(import(&empty.path("missing"))).await;
    assert!(error.contains("missing") && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn a_restore_asks_and_tells_what_is_lost() {
    let node = Node::central().await;
    let file = node.export("bundle").await;
    node.open().await.publish(draft("late", "{}")).await.unwrap();
    let ask = || RegisterCommand::Restore(RestoreArgs { yes: false, ..restore_args(&file) });

    let (result, _, err) = node.run(ask(), Some("no\n")).await;
    assert_eq!(result.unwrap(), Outcome::Failed);
    assert!(
        err.contains("Versions after 4, up to 5, will be lost") && err.contains("nothing was changed"),
        "{err}"
    );
    let error = node.refused(ask()).await;
    assert!(error.contains("--yes") && error.contains("will be replaced"), "{error}");
    assert_eq!(node.done(verify(JSON)).await["head"], 5);

    let (result, out, err) = node.run(ask(), Some("yes\n")).await;
    assert_eq!(result.unwrap(), Outcome::Done);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["head"], 1_000_000_004);
    assert!(err.contains("above 1000000004"), "{err}");
    assert_eq!(node.done(verify(JSON)).await["entries"], 3);
}

#[tokio::test]
async fn a_restored_replica_keeps_the_head_of_its_bundle() {
    let node = Node::central().await;
    let file = node.export("bundle").await;
    let empty = Node::new();
    let args = RestoreArgs { replica: true, ..restore_args(&file) };
    assert_eq!(empty.done(RegisterCommand::Restore(args)).await["head"], 4);
    // One that has met a central node is known to be a replica.
    let synced = Node::new();
    synced.open().await.apply(vec![entry("a", 1).seal()], checkpoint(1)).await.unwrap();
    assert_eq!(synced.done(RegisterCommand::Restore(restore_args(&file))).await["head"], 4);
}

#[tokio::test]
async fn a_restore_of_another_lineage_must_be_meant() {
    let node = Node::central().await;
    let other = Node::new();
    other.open().await.init_genesis(genesis(2)).await.unwrap();
    let file = other.export("bundle").await;
    let error = node.refused(RegisterCommand::Restore(restore_args(&file))).await;
    assert!(error.contains("another register") && error.contains("--other-lineage"), "{error}");
    let args = RestoreArgs { other_lineage: true, ..restore_args(&file) };
    let stored = node.done(RegisterCommand::Restore(args)).await;
    assert_eq!(stored["lineage"], genesis(2).lineage().to_string());
}

#[tokio::test]
async fn a_restore_sets_an_unreadable_file_aside_and_fills_an_empty_place() {
    let source = Node::central().await;
    let file = source.export("bundle").await;
    let unreadable = Node::new();
    std::fs::create_dir_all(&unreadable.config.store.data_dir).unwrap();
    std::fs::write(unreadable.register(), b"not a journal, but as long as one might be ".repeat(200))
        .unwrap();
    let asked = RestoreArgs { yes: false, ..restore_args(&file) };
    let error = unreadable.refused(RegisterCommand::Restore(asked)).await;
    assert!(error.contains("set aside"), "{error}");
    assert_eq!(unreadable.done(RegisterCommand::Restore(restore_args(&file))).await["entries"], 3);
    // The register, and what was set aside.
    assert_eq!(std::fs::read_dir(&unreadable.config.store.data_dir).unwrap().count(), 2);

    let nothing = Node::new();
    let unasked = RestoreArgs { yes: false, ..restore_args(&file) };
    assert_eq!(nothing.done(RegisterCommand::Restore(unasked)).await["entries"], 3);
}
