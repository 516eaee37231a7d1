mod damage;
mod disk;
mod documents;
mod place;
mod publish;

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicUsize,
};

use bytes::Bytes;
use sorcha_register::{
    integrity::{Fault, Finding},
    testing::{entry, genesis},
    view::RegisterView,
};

use super::*;
use crate::contract::{self, checkpoint, id, version};

fn file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join(REPLICA_FILE)
}

async fn open(path: &Path) -> JournalStore {
    documents::open_with(path, Options::default()).await
}

fn sealed(name: &str, number: i64) -> Arc<SealedEntry> {
    entry(name, number).seal()
}

fn deprecated(name: &str, number: i64) -> Arc<SealedEntry> {
    let mut entry = entry(name, number);
    entry.is_active = false;
    entry.seal()
}

fn is_same(a: &Loaded, b: &Loaded) -> bool {
    a.view.seal() == b.view.seal() && a.view.genesis() == b.view.genesis() && a.checkpoint == b.checkpoint
}

/// A journal with a whole register, then batches: one entry, two, a deprecation, a position alone.
async fn filled(path: &Path) -> JournalStore {
    let store = open(path).await;
    store.replace(Some(genesis(1)), vec![sealed("a", 1), sealed("b", 2)], Some(checkpoint(2))).await.unwrap();
    store.apply(vec![sealed("c", 3)], checkpoint(3)).await.unwrap();
    store.apply(vec![sealed("d", 4), sealed("e", 5)], checkpoint(5)).await.unwrap();
    store.apply(vec![deprecated("a", 6)], checkpoint(6)).await.unwrap();
    store.apply(vec![], checkpoint(8)).await.unwrap();
    store
}

#[tokio::test]
async fn passes_the_contract_in_memory() {
    contract::run(|| async { JournalStore::in_memory(Options::default()).unwrap() }).await;
}

#[tokio::test]
async fn passes_the_contract_in_memory_inline() {
    let options = Options { inline: true, ..Options::default() };
    contract::run(|| async { JournalStore::in_memory(options).unwrap() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    contract::run(|| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let path = directory.path().join(format!("{number}.journal"));
        async move { open(&path).await }
    })
    .await;
}

#[tokio::test]
async fn everything_is_there_after_a_crash_of_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(&file(&directory)).await.load().await.unwrap();
    let after = open(&file(&directory)).await.load().await.unwrap();
    assert_eq!(after.findings, []);
    assert!(is_same(&before, &after));
    assert_eq!(after.view.iter().collect::<Vec<_>>(), before.view.iter().collect::<Vec<_>>());
    assert_eq!((after.view.head(), after.view.len(), after.view.active()), (version(8), 5, 4));
}

#[tokio::test]
async fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&file(&directory)).await;
    let second = JournalStore::open(file(&directory), Options::default()).await.err().unwrap();
    assert!(second.to_string().contains("in use by another process"), "{second}");
    // Also of the file that a full sync has put in its place.
    first.replace(Some(genesis(1)), vec![sealed("a", 1)], Some(checkpoint(1))).await.unwrap();
    assert!(JournalStore::open(file(&directory), Options::default()).await.is_err());
    drop(first);
    open(&file(&directory)).await;
}

/// An administrator's mode outlives compaction, full syncs and restores.
#[tokio::test]
async fn a_journal_that_takes_the_place_of_another_has_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await;
    std::fs::set_permissions(file(&directory), std::fs::Permissions::from_mode(0o600)).unwrap();
    store.replace(Some(genesis(1)), vec![sealed("a", 1)], Some(checkpoint(1))).await.unwrap();
    let mode = std::fs::metadata(file(&directory)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_a_killed_process_left_beside_the_journal_takes_no_room() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&file(&directory)).await);
    let left = file(&directory).with_added_extension("new");
    std::fs::write(&left, [0; 100_000]).unwrap();
    drop(open(&file(&directory)).await);
    assert_eq!(std::fs::metadata(&left).map_or(0, |left| left.len()), 0);
}

/// Of processes that start at once on a new folder one has the journal, and nothing that it acknowledges is lost.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_make_a_journal_at_once_one_has_it() {
    for _ in 0..50 {
        let directory = tempfile::tempdir().unwrap();
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let path = file(&directory);
                tokio::spawn(async move {
                    let store = JournalStore::open(&path, Options::default()).await.ok()?;
                    store.apply(vec![sealed("a", 1)], checkpoint(1)).await.unwrap();
                    Some(store)
                })
            })
            .collect();
        let mut stores = Vec::new();
        for start in starts {
            stores.extend(start.await.unwrap());
        }
        assert!(stores.len() <= 1, "{} have it open", stores.len());
        let had_one = !stores.is_empty();
        for store in &stores {
            store.flush().await.unwrap();
        }
        drop(stores);
        let kept = open(&file(&directory)).await.load().await.unwrap();
        assert_eq!(kept.view.len(), usize::from(had_one));
    }
}

#[tokio::test]
async fn a_register_is_taken_in_piece_by_piece_and_only_if_it_is_the_one_that_was_stated() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&file(&directory)).await;
    let before = store.load().await.unwrap();
    let entries: Vec<_> = (1..=1500).map(|number| sealed(&format!("n{number}"), number)).collect();
    let whole = RegisterView::with_entries(Some(Arc::new(genesis(2))), entries.clone(), version(1600));
    for (digest, is_right) in [(before.view.digest(), false), (whole.digest(), true)] {
        let mut incoming = store.begin_replace().unwrap();
        for piece in entries.chunks(400) {
            incoming.add(piece.to_vec()).await.unwrap();
        }
        assert!(is_same(&store.load().await.unwrap(), &before), "readers see the old one meanwhile");
        let finished =
            incoming.finish(Some(Arc::new(genesis(2))), checkpoint(1600), Some(digest)).await.unwrap();
        assert_eq!(finished, is_right);
    }
    drop(store.begin_replace());
    let after = store.load().await.unwrap();
    assert_eq!((after.view.seal(), after.view.lineage()), (whole.seal(), whole.lineage()));
    drop(store);
    assert!(is_same(&open(&file(&directory)).await.load().await.unwrap(), &after));
}

#[tokio::test]
async fn batches_that_are_not_inline_are_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await;
    let entries: Vec<_> = (1..=1000).map(|number| sealed(&format!("n{number}"), number)).collect();
    assert!(entries.iter().map(|entry| entry.length()).sum::<usize>() > INLINE_BYTES);
    store.apply(entries, checkpoint(1000)).await.unwrap();
    let before = store.load().await.unwrap();
    drop(store);
    assert!(is_same(&open(&file(&directory)).await.load().await.unwrap(), &before));
}

#[tokio::test]
async fn after_a_failed_fsync_the_journal_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&file(&directory)).await;
    let before = store.load().await.unwrap();
    let damaged = {
        let mut writer = store.0.writer.lock().await;
        let (file, end) = writer.unsynced().unwrap();
        let failed = Err(StoreError::Internal("the disk".to_owned()));
        assert!(writer.synced(&file, end, failed).is_err());
        file
    };
    // What is left of the old file does not matter any more.
    damaged.truncate(file::HEADER as u64).unwrap();
    store.apply(vec![sealed("new", 9)], checkpoint(9)).await.unwrap();
    drop((store, damaged));
    let after = open(&file(&directory)).await.load().await.unwrap();
    assert_eq!((after.findings.len(), after.view.len()), (0, before.view.len() + 1));
}

#[tokio::test]
async fn a_journal_that_is_mostly_of_no_use_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await;
    let large = |number: i64| {
        let mut entry = entry("large", number);
        entry.metadata.insert("text".into(), "x".repeat(4000));
        entry.seal()
    };
    for number in 1..=400 {
        store.apply(vec![large(number)], checkpoint(number)).await.unwrap();
    }
    let length = || std::fs::metadata(file(&directory)).unwrap().len();
    assert!(length() > 1_600_000);
    store.flush().await.unwrap();
    assert!(length() < 10_000);
    drop(store);
    let loaded = open(&file(&directory)).await.load().await.unwrap();
    assert_eq!((loaded.findings.len(), loaded.view.len(), loaded.view.head()), (0, 1, version(400)));
}

#[tokio::test(start_paused = true)]
async fn what_was_applied_is_durable_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await;
    store.apply(vec![sealed("a", 1)], checkpoint(1)).await.unwrap();
    let note = || std::fs::read(file(&directory)).unwrap()[16..24].to_vec();
    let written = std::fs::metadata(file(&directory)).unwrap().len().to_le_bytes();
    assert_ne!(note(), written);
    let waiting = async {
        while note() != written {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("fsynced");
}

#[tokio::test]
async fn what_a_killed_process_has_written_is_durable_once_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(&file(&directory)).await);
    let note = || std::fs::read(file(&directory)).unwrap()[16..24].to_vec();
    let written = std::fs::metadata(file(&directory)).unwrap().len().to_le_bytes();
    assert_ne!(note(), written);
    open(&file(&directory)).await;
    assert_eq!(note(), written);
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(file(&directory), vec![0xaa; 100_000]).unwrap();
    let opened = JournalStore::open(file(&directory), Options::default()).await;
    assert!(matches!(opened.err(), Some(StoreError::Damaged(_))), "a central node has it restored");
    let store = open_replica(directory.path(), Options::default(), 42).await.unwrap();
    assert!(store.load().await.unwrap().view.is_empty());
    assert!(directory.path().join("replica.journal.damaged-42").exists());
}

#[tokio::test]
async fn an_imported_register_is_the_replica() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(&directory.path().join(REGISTER_FILE)).await.load().await.unwrap();
    let moved = loop {
        match open_replica(directory.path(), Options::default(), 0).await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            moved => break moved.unwrap(),
        }
    };
    assert!(is_same(&moved.load().await.unwrap(), &before));
    let left = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), [REPLICA_FILE]);
}

#[tokio::test]
async fn a_path_that_can_not_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("in-the-way");
    std::fs::write(&in_the_way, "").unwrap();
    let error = JournalStore::open(in_the_way.join(REPLICA_FILE), Options::default()).await.err().unwrap();
    let error = error.to_string();
    assert!(
        error.contains(&in_the_way.display().to_string()) && error.contains("must be writable"),
        "{error}"
    );
}
