//! Publications: what is acknowledged is durable, and a publication that failed leaves nothing, whatever the disk does.

use super::{
    disk::{Broken, Disk},
    *,
};
use crate::contract::draft;

pub(super) async fn publish(store: &JournalStore, name: &str) -> Result<Publication, StoreError> {
    store.publish(draft(name, &format!(r#"{{"id":"{name}"}}"#))).await
}

fn ids(loaded: &Loaded) -> Vec<String> {
    loaded.view.iter().map(|sealed| sealed.entry().blueprint_id.to_string()).collect()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash_of_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join(REGISTER_FILE);
    let store = open(&path).await;
    store.init_genesis(genesis(1)).await.unwrap();
    for name in ["a", "b", "c"] {
        publish(&store, name).await.unwrap();
    }
    let off = StateChange {
        blueprint_id: id("b"),
        is_active: false,
        transaction_id: "tx".into(),
        trace_parent: String::new(),
    };
    store.set_active(off).await.unwrap();
    store.apply(vec![], checkpoint(4)).await.unwrap();
    let before = store.load().await.unwrap();
    // The file as it lies there, without a word of farewell.
    let copy = directory.path().join("copy.journal");
    std::fs::copy(&path, &copy).unwrap();
    let after = open(&copy).await.load().await.unwrap();
    assert_eq!(after.findings, []);
    assert!(is_same(&before, &after));
    assert_eq!((after.view.head(), ids(&after)), (version(4), vec!["a".into(), "c".into(), "b".into()]));
}

/// A journal of mostly superseded entries, on a disk without room to compact it.
#[tokio::test]
async fn a_journal_that_can_not_be_written_anew_gives_the_room_back_and_goes_on() {
    let disk = Disk::new();
    drop(disk.open().await);
    let store = disk.open().await;
    let large = format!(r#"{{"id":"a","text":"{}"}}"#, "x".repeat(400_000));
    store.publish(draft("a", &large)).await.unwrap();
    disk.become_(Broken::Beside);
    let mut is_active = true;
    let mut flip = async || {
        is_active = !is_active;
        let change = StateChange {
            blueprint_id: id("a"),
            is_active,
            transaction_id: "tx".into(),
            trace_parent: String::new(),
        };
        store.set_active(change).await.unwrap();
    };
    for _ in 0..16 {
        flip().await;
    }
    let refused = disk.0.refused.load(Ordering::Relaxed);
    assert!((1..=5).contains(&refused), "{refused} attempts at 5 MB of journal");
    let length = |name| disk.0.files.open(Path::new(name)).unwrap().length().unwrap();
    assert_eq!(length("register.new"), 0, "the room is there for publications");
    store.flush().await.unwrap();
    disk.become_(Broken::Nothing);
    for _ in 0..4 {
        flip().await;
    }
    assert_eq!(ids(&store.load().await.unwrap()), ["a"]);
    drop(store);
    assert!(length("register") < 3_000_000, "it is compacted as soon as there is room");
}

#[tokio::test]
async fn a_replica_is_made_durable_though_its_journal_can_not_be_written_anew() {
    let disk = Disk::new();
    drop(disk.open().await);
    let store = disk.open().await;
    disk.become_(Broken::Beside);
    for number in 1..=12 {
        let mut entry = draft("a", &format!(r#"{{"text":"{}"}}"#, "x".repeat(400_000))).at(version(number));
        entry.is_active = number % 2 == 1;
        store.apply(vec![entry.seal()], checkpoint(number)).await.unwrap();
    }
    let before = disk.0.syncs.load(Ordering::Relaxed);
    store.flush().await.unwrap();
    assert!(disk.0.syncs.load(Ordering::Relaxed) > before && disk.0.refused.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn publications_of_tasks_that_can_run_at_once_share_an_fsync() {
    let disk = Disk::new();
    let store = Arc::new(disk.open().await);
    let before = disk.0.syncs.load(Ordering::Relaxed);
    let mut publishers = tokio::task::JoinSet::new();
    for number in 0..50 {
        let store = Arc::clone(&store);
        publishers.spawn(async move { publish(&store, &format!("b{number}")).await.unwrap() });
    }
    publishers.join_all().await;
    assert_eq!(disk.0.syncs.load(Ordering::Relaxed) - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_that_come_together_share_an_fsync() {
    let disk = Disk::new();
    let store = Arc::new(disk.open().await);
    let before = disk.0.syncs.load(Ordering::Relaxed);
    let writer = store.0.writer.lock().await;
    let publishers: Vec<_> = (0..50)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { publish(&store, &format!("b{number}")).await.unwrap() })
        })
        .collect();
    while store.0.waiting().len() < publishers.len() {
        tokio::task::yield_now().await;
    }
    drop(writer);
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(disk.0.syncs.load(Ordering::Relaxed) - before, 1);
    assert_eq!(disk.after_a_crash().open().await.load().await.unwrap().view.len(), 50);
}

#[tokio::test]
async fn nothing_is_written_where_nothing_changes_and_that_works_on_a_full_disk() {
    let disk = Disk::new();
    let store = disk.open().await;
    publish(&store, "a").await.unwrap();
    disk.become_(Broken::Write);
    assert!(!publish(&store, "a").await.unwrap().changed);
    assert!(matches!(publish(&store, "b").await, Err(StoreError::Full(_))));
    assert_eq!(ids(&store.load().await.unwrap()), ["a"]);
    // What half a write left behind is no part of the register, neither now nor later.
    assert_eq!(ids(&disk.after_a_crash().open().await.load().await.unwrap()), ["a"]);
    disk.become_(Broken::Nothing);
    publish(&store, "c").await.unwrap();
    let loaded = disk.after_a_crash().open().await.load().await.unwrap();
    assert_eq!((loaded.findings.len(), ids(&loaded)), (0, vec!["a".into(), "c".into()]));
}

#[tokio::test]
async fn what_an_fsync_failed_for_is_not_there_and_does_not_come_back() {
    let disk = Disk::new();
    let store = disk.open().await;
    publish(&store, "a").await.unwrap();
    disk.become_(Broken::Sync);
    assert!(matches!(publish(&store, "b").await, Err(StoreError::Full(_))));
    assert_eq!(ids(&store.load().await.unwrap()), ["a"]);
    disk.become_(Broken::Nothing);
    assert_eq!(ids(&disk.after_a_crash().open().await.load().await.unwrap()), ["a"], "after a crash");
    // The file is replaced instead of extended.
    assert_eq!(publish(&store, "c").await.unwrap().entry.entry().version, version(2));
    let loaded = disk.after_a_crash().open().await.load().await.unwrap();
    assert_eq!((loaded.findings.len(), ids(&loaded)), (0, vec!["a".into(), "c".into()]));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_begun() {
    let disk = Disk::new();
    let store = Arc::new(disk.open().await);
    let writer = store.0.writer.lock().await;
    let publisher = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { publish(&store, "given-up").await })
    };
    while store.0.waiting().is_empty() {
        tokio::task::yield_now().await;
    }
    publisher.abort();
    assert!(publisher.await.unwrap_err().is_cancelled());
    drop(writer);
    publish(&store, "b").await.unwrap();
    assert_eq!(ids(&store.load().await.unwrap()), ["b"]);
}

#[tokio::test]
async fn a_damaged_register_takes_no_publication_until_it_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(REGISTER_FILE);
    let store = open(&path).await;
    publish(&store, "find-me").await.unwrap();
    publish(&store, "b").await.unwrap();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|window| window == b"find-me").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();

    let store = open(&path).await;
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.findings.len(), loaded.findings[0].version), (1, Some(version(1))));
    assert!(matches!(publish(&store, "c").await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.init_genesis(genesis(1)).await, Err(StoreError::Damaged(_))));
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the evidence is not touched");
    let good: Vec<_> = loaded.view.iter().cloned().collect();
    store.replace(None, good, Some(checkpoint(2))).await.unwrap();
    publish(&store, "c").await.unwrap();
}

#[tokio::test]
async fn states_that_do_not_count_any_more_do_not_fill_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(REGISTER_FILE);
    let store = open(&path).await;
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(400_000));
    store.publish(draft("large", &json)).await.unwrap();
    let mut largest = 0;
    for number in 0..12 {
        let change = StateChange {
            blueprint_id: id("large"),
            is_active: number % 2 == 1,
            transaction_id: number.to_string(),
            trace_parent: String::new(),
        };
        store.set_active(change).await.unwrap();
        largest = largest.max(std::fs::metadata(&path).unwrap().len());
    }
    assert!(largest < 3_000_000, "{largest}");
    let before = store.load().await.unwrap();
    drop(store);
    let after = open(&path).await.load().await.unwrap();
    assert!(is_same(&before, &after) && after.findings.is_empty());
    assert_eq!((after.view.len(), after.view.head()), (1, version(13)));
}

#[tokio::test]
async fn a_journal_behind_a_link_stays_behind_it() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, target) = (directory.path().join(REGISTER_FILE), elsewhere.path().join("there"));
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let store = open(&path).await;
    store.replace(Some(genesis(1)), vec![sealed("a", 1)], Some(checkpoint(1))).await.unwrap();
    store.replace(Some(genesis(1)), vec![sealed("b", 2)], Some(checkpoint(2))).await.unwrap();
    drop(store);
    assert!(std::fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(open(&target).await.load().await.unwrap().view.get(&id("b")).is_some());
}

#[tokio::test]
async fn a_file_set_aside_never_takes_the_name_of_an_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(REGISTER_FILE);
    for content in ["first damage", "second damage"] {
        std::fs::write(&path, content).unwrap();
        // A clock that stands still, or was set back.
        let opened = JournalStore::open_or_set_aside(Arc::new(OsFiles), &path, Options::default(), 7).await;
        drop(opened.unwrap());
    }
    let aside = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(aside("register.journal.damaged-7"), "first damage");
    assert_eq!(aside("register.journal.damaged-7-2"), "second damage");
}
