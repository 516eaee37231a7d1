//! A journal whose file is moved, removed or replaced while it is used.

use super::{documents::open_with, publish::publish, *};

#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_is_no_longer_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(REGISTER_FILE);
    let store = open(&path).await;
    store.init_genesis(genesis(1)).await.unwrap();
    publish(&store, "a").await.unwrap();
    // Removed: all of it is in memory.
    std::fs::remove_file(&path).unwrap();
    publish(&store, "b").await.unwrap();
    // Moved, and another one put there: whose publications are right, an administrator must say.
    let moved = directory.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    std::fs::write(&path, "of somebody else").unwrap();
    let refused = publish(&store, "c").await.unwrap_err().to_string();
    assert!(refused.contains("register.journal was replaced by another file"), "{refused}");
    // Neither is a replica's batch, nor what is there already.
    let batch = store.apply(vec![sealed("x", 9)], checkpoint(9)).await.unwrap_err().to_string();
    assert!(batch.contains("register.journal was replaced by another file"), "{batch}");
    let known = publish(&store, "a").await.unwrap_err().to_string();
    assert!(known.contains("register.journal was replaced by another file"), "{known}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "of somebody else");
    std::fs::rename(&moved, &path).unwrap();
    publish(&store, "d").await.unwrap();
    let before = store.load().await.unwrap();
    drop(store);
    let after = open(&path).await.load().await.unwrap();
    assert!(is_same(&before, &after) && after.view.get(&id("b")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_notices_at_its_next_flush_that_another_file_has_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    // Flushes are asked for.
    let options = Options { flush_within: Duration::from_secs(3600), ..Options::default() };
    let store = open_with(&path, options).await;
    store.apply(vec![sealed("a", 1)], checkpoint(1)).await.unwrap();
    let moved = directory.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    std::fs::write(&path, "of somebody else").unwrap();
    // That is in the file that was moved: nothing is lost if it is put back.
    store.apply(vec![sealed("b", 2)], checkpoint(2)).await.unwrap();
    for refused in [store.flush().await, store.apply(vec![sealed("c", 3)], checkpoint(3)).await] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("was replaced by another file"), "{refused}");
    }
    std::fs::rename(&moved, &path).unwrap();
    store.apply(vec![sealed("c", 3)], checkpoint(3)).await.unwrap();
    // Removed: it is written anew.
    std::fs::remove_file(&path).unwrap();
    store.apply(vec![sealed("d", 4)], checkpoint(4)).await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    assert_eq!(open(&path).await.load().await.unwrap().view.len(), 4);
}
