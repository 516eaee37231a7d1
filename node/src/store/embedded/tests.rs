use std::path::PathBuf;

use super::*;
use crate::{
    register::{entry::tests::entry, lineage::tests::genesis},
    store::contract::{self, checkpoint, draft, id, version},
};

fn file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join(FILE_NAME)
}

/// Opens a file; the lock of a store that was just dropped is released within moments.
pub(super) async fn open(path: &Path) -> Result<EmbeddedStore, StoreError> {
    for _ in 0..200 {
        match EmbeddedStore::open(path, Options::default()).await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => return other,
        }
    }
    panic!("the file stays locked");
}

#[tokio::test]
async fn passes_the_contract_in_memory() {
    contract::run(|| async { EmbeddedStore::in_memory(Options::default()).unwrap() }).await;
}

#[tokio::test]
async fn passes_the_contract_in_memory_inline() {
    let options = Options { inline: true, ..Options::default() };
    contract::run(|| async { EmbeddedStore::in_memory(options.clone()).unwrap() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    contract::run(|| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = directory.path().join(format!("{number}.redb"));
        async move { EmbeddedStore::open(path, Options::default()).await.unwrap() }
    })
    .await;
}

#[tokio::test]
async fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(&file(&directory)).await.unwrap();
    let second = EmbeddedStore::open(file(&directory), Options::default()).await.unwrap_err();
    assert!(second.to_string().contains("in use by another process"), "{second}");
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await.unwrap();
    store.init_genesis(genesis(1)).await.unwrap();
    let published = store.publish(draft("a", r#"{"id":"a"}"#)).await.unwrap();
    store.apply(vec![], checkpoint(1)).await.unwrap();
    let before = store.load().await.unwrap();
    drop(store);
    let after = open(&file(&directory)).await.unwrap().load().await.unwrap();
    assert_eq!(after.findings, []);
    assert_eq!(after.view.get(&id("a")), Some(&published.entry));
    assert_eq!((after.view.digest(), after.view.lineage()), (before.view.digest(), before.view.lineage()));
    assert_eq!(after.checkpoint, Some(checkpoint(1)));
}

#[tokio::test]
async fn a_batch_with_two_states_of_a_blueprint_keeps_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await.unwrap();
    let states = |versions: std::ops::RangeInclusive<i64>| versions.map(|v| entry("a", v).seal()).collect();
    store.apply(states(1..=3), checkpoint(3)).await.unwrap();
    store.apply(states(4..=5), checkpoint(5)).await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    let loaded = open(&file(&directory)).await.unwrap().load().await.unwrap();
    assert_eq!(loaded.findings, []);
    assert_eq!(loaded.view.iter().map(|e| e.entry().version.get()).collect::<Vec<_>>(), [5]);
}

#[tokio::test]
async fn a_damaged_register_takes_no_publication_until_it_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let store = open(&path).await.unwrap();
    let marker = "find-me-in-the-file";
    store.publish(draft("a", &format!(r#"{{"id":"{marker}"}}"#))).await.unwrap();
    store.publish(draft("b", "{}")).await.unwrap();
    drop(store);
    while EmbeddedStore::open(&path, Options::default()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let places: Vec<_> = bytes
        .windows(marker.len())
        .enumerate()
        .filter(|(_, w)| *w == marker.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in places {
        bytes[at] ^= 1;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::fs::write(&path, bytes).unwrap();

    let store = open(&path).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.findings.len(), 1);
    assert_eq!(loaded.findings[0].version, Some(version(1)), "{}", loaded.findings[0]);
    assert!(matches!(store.publish(draft("c", "{}")).await, Err(StoreError::Damaged(_))));
    let good: Vec<_> = loaded.view.iter().cloned().collect();
    store.replace(None, good, Some(checkpoint(2))).await.unwrap();
    assert!(store.publish(draft("c", "{}")).await.is_ok());
}

#[tokio::test]
async fn an_unreadable_replica_file_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    std::fs::write(&path, vec![0xaa; 100_000]).unwrap();
    assert!(matches!(EmbeddedStore::open(&path, Options::default()).await, Err(StoreError::Damaged(_))));
    let store = EmbeddedStore::open_replica(&path, Options::default(), 42).await.unwrap();
    assert!(store.load().await.unwrap().view.is_empty());
    assert!(directory.path().join("register.redb.damaged-42").exists());
}

#[tokio::test]
async fn a_path_that_can_not_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("in-the-way");
    std::fs::write(&file, "").unwrap();
    let path = file.join(FILE_NAME);
    let error = open(&path).await.unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()) && error.contains("must be writable"), "{error}");
    // A folder in the file's place.
    let error = open(directory.path()).await.unwrap_err().to_string();
    assert!(error.contains(&directory.path().display().to_string()), "{error}");
}

#[test]
fn work_for_a_runtime_that_has_ended_is_not_done_and_does_not_panic() {
    let ended = tokio::runtime::Runtime::new().unwrap();
    let handle = ended.handle().clone();
    drop(ended);
    let outcome = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let _inside = handle.enter();
        run_blocking(|| "done").await
    });
    assert_eq!(outcome, None);
}
