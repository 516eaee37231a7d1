//! Documents that have left memory.

use super::*;

/// Nothing is cached: each document is read from the file.
const COLD: Options = Options { flush_within: Duration::from_millis(1), cache_bytes: 0, inline: false };

/// Opens a journal. Another test that starts a process holds this one's files, and their locks, until that has begun.
pub(super) async fn open_with(path: &Path, options: Options) -> JournalStore {
    loop {
        match JournalStore::open(path, options).await {
            Err(StoreError::Unavailable(_in_use)) => tokio::time::sleep(Duration::from_millis(5)).await,
            opened => return opened.unwrap(),
        }
    }
}

async fn open_cold(path: &Path) -> JournalStore {
    open_with(path, COLD).await
}

async fn until(so: impl Fn() -> bool) {
    while !so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract_without_a_cache() {
    let directory = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    contract::run(|| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let path = directory.path().join(format!("{number}.journal"));
        async move { open_cold(&path).await }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_leave_memory_once_they_are_durable_and_are_what_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_cold(&file(&directory)).await;
    let entries: Vec<_> = (1..=50).map(|number| sealed(&format!("b{number}"), number)).collect();
    store.apply(entries.clone(), checkpoint(50)).await.unwrap();
    store.flush().await.unwrap();
    let is_as_before = |entries: &[Arc<SealedEntry>]| {
        entries.iter().all(|sealed| {
            let entry = sealed.whole().unwrap();
            !sealed.is_recent() && entry.seal() == *sealed
        })
    };
    assert!(is_as_before(&entries));
    // Compaction moves them; a snapshot from before reads them where they are now.
    let before = store.load().await.unwrap();
    store.replace(None, entries.clone(), Some(checkpoint(50))).await.unwrap();
    assert!(is_as_before(&before.view.iter().cloned().collect::<Vec<_>>()));
    drop(store);
    let found = open_cold(&file(&directory)).await.load().await.unwrap();
    assert_eq!(found.findings, []);
    assert!(is_as_before(&found.view.iter().cloned().collect::<Vec<_>>()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_sync_has_brought_stays_readable_when_it_breaks_off() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&file(&directory)).await;
    let held = store.load().await.unwrap();
    // An entry that is held goes into the new register, too.
    let mut entries = vec![Arc::clone(held.view.get(&id("b")).unwrap())];
    entries.extend((10..40).map(|number| sealed(&format!("new{number}"), number)));
    let mut broken = store.begin_replace().unwrap();
    broken.add(entries.clone()).await.unwrap();
    // Of what is not in use nothing stays in memory, long before the sync is over.
    until(|| entries[1..].iter().all(|sealed| !sealed.is_recent())).await;
    until(|| entries.iter().all(|sealed| sealed.is_stored())).await;
    drop(broken);
    let beside = file(&directory).with_added_extension("new");
    until(|| !beside.exists()).await;
    assert!(entries.iter().all(|sealed| sealed.whole().is_ok()));
    assert!(is_same(&store.load().await.unwrap(), &held));
    let mut again = store.begin_replace().unwrap();
    again.add(entries.clone()).await.unwrap();
    assert!(again.finish(Some(Arc::new(genesis(1))), checkpoint(40), None).await.unwrap());
    drop(store);
    let found = open(&file(&directory)).await.load().await.unwrap();
    assert_eq!((found.findings.len(), found.view.len()), (0, entries.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_begins_while_the_one_before_is_still_closing_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&file(&directory)).await;
    let entries: Vec<_> = (10..40).map(|number| sealed(&format!("new{number}"), number)).collect();
    for _ in 0..100 {
        let mut broken = store.begin_replace().unwrap();
        broken.add(entries.clone()).await.unwrap();
    }
    let mut last = store.begin_replace().unwrap();
    last.add(entries.clone()).await.unwrap();
    until(|| entries.iter().all(|sealed| sealed.is_stored())).await;
    // The journal itself can't be written anew meanwhile, and is as it was.
    let refused = store.replace(None, Vec::new(), None).await.unwrap_err();
    assert!(refused.to_string().contains("while a full sync is received"), "{refused}");
    store.apply(vec![sealed("pushed", 50)], checkpoint(50)).await.unwrap();
    assert!(last.finish(Some(Arc::new(genesis(1))), checkpoint(40), None).await.unwrap());
    // Which of them has its turn last is open: a broken one may still be closing its file.
    let rewritten = async {
        while let Err(error) = store.replace(None, entries.clone(), Some(checkpoint(40))).await {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), rewritten).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_off_while_it_is_used_fails_reads_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_cold(&file(&directory)).await;
    store.init_genesis(genesis(1)).await.unwrap();
    let draft = |name: &str| contract::draft(name, r#"{"id":"a"}"#);
    store.publish(draft("a")).await.unwrap();
    let length = std::fs::metadata(file(&directory)).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(file(&directory)).unwrap().set_len(length - 10).unwrap();
    let off = StateChange {
        blueprint_id: id("a"),
        is_active: false,
        transaction_id: String::new(),
        trace_parent: String::new(),
    };
    let refused = store.set_active(off).await.unwrap_err();
    assert!(matches!(refused, StoreError::Damaged(_)), "{refused}");
    let view = store.load().await.unwrap().view;
    assert!(view.get(&id("a")).unwrap().whole().is_err());
}

/// Enough for several workers.
#[tokio::test]
async fn a_large_journal_is_checked_in_order_whichever_thread_is_first() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await;
    let entries: Vec<_> = (1..=12_000).map(|number| sealed(&format!("b{number}"), number)).collect();
    store.replace(None, entries.clone(), Some(checkpoint(12_000))).await.unwrap();
    drop(store);
    assert!(std::fs::metadata(file(&directory)).unwrap().len() > 2 << 20);
    let found = open(&file(&directory)).await.load().await.unwrap();
    assert_eq!(found.findings, []);
    assert!(found.view.iter().eq(&entries));
}
