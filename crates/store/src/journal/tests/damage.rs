//! Journals that are cut off, changed or not written whole.

use super::*;

#[tokio::test]
async fn wherever_a_crash_cuts_the_file_off_a_whole_transaction_is_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await;
    let mut states = vec![(0, store.load().await.unwrap())];
    let length = || std::fs::metadata(file(&directory)).unwrap().len();
    for number in 1..=6 {
        store.apply(vec![sealed(&format!("b{}", number % 4), number)], checkpoint(number)).await.unwrap();
        states.push((length(), store.load().await.unwrap()));
    }
    drop(store);
    let whole = std::fs::read(file(&directory)).unwrap();
    let cut = directory.path().join("cut.journal");
    for end in file::HEADER..=whole.len() {
        std::fs::write(&cut, &whole[..end]).unwrap();
        let expected = states.iter().rev().find(|(length, _)| *length <= end as u64).unwrap();
        let store = open(&cut).await;
        let loaded = store.load().await.unwrap();
        assert_eq!(loaded.findings, []);
        assert!(is_same(&loaded, &expected.1), "cut at {end}");
        // It goes on from there, and what was cut off does not come back.
        store.apply(vec![sealed("new", 20)], checkpoint(20)).await.unwrap();
        let after = store.load().await.unwrap();
        drop(store);
        assert!(is_same(&open(&cut).await.load().await.unwrap(), &after), "cut at {end}");
    }
}

#[tokio::test]
async fn no_flipped_bit_of_what_was_on_disk_goes_unnoticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&file(&directory)).await;
    store.flush().await.unwrap();
    let sound = store.load().await.unwrap();
    drop(store);
    let good = std::fs::read(file(&directory)).unwrap();
    let flipped = directory.path().join("flipped.journal");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&flipped, bad).unwrap();
        match JournalStore::open(&flipped, Options::default()).await {
            Err(error) => assert!(matches!(error, StoreError::Damaged(_)) && at < 16, "byte {at}: {error}"),
            Ok(store) => {
                let loaded = store.load().await.unwrap();
                let noticed = !loaded.findings.is_empty();
                // The note of how far it is durable is only a note.
                let is_note = (16..file::HEADER).contains(&at);
                assert!(noticed || (is_note && is_same(&loaded, &sound)), "byte {at} flipped unnoticed");
            }
        }
    }
}

#[tokio::test]
async fn a_batch_whose_data_did_not_reach_the_disk_did_not_happen() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&file(&directory)).await;
    store.flush().await.unwrap();
    let before = store.load().await.unwrap();
    store.apply(vec![sealed("lost", 9)], checkpoint(9)).await.unwrap();
    drop(store);
    // The frame's beginning is there, the sector after it is not.
    let mut bytes = std::fs::read(file(&directory)).unwrap();
    let at = bytes.len() - 20;
    bytes[at..].fill(0);
    std::fs::write(file(&directory), bytes).unwrap();
    let after = open(&file(&directory)).await.load().await.unwrap();
    assert_eq!(after.findings, []);
    assert!(is_same(&before, &after));
}

#[tokio::test]
async fn a_damaged_entry_is_named_and_the_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&file(&directory)).await;
    store
        .replace(Some(genesis(1)), vec![sealed("a", 1), sealed("find-me", 2)], Some(checkpoint(2)))
        .await
        .unwrap();
    drop(store);
    let mut bytes = std::fs::read(file(&directory)).unwrap();
    let at = bytes.windows(7).position(|window| window == b"find-me").unwrap();
    bytes[at] ^= 1;
    std::fs::write(file(&directory), bytes).unwrap();
    let store = open(&file(&directory)).await;
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.findings.len(), loaded.findings[0].version), (1, Some(version(2))));
    assert!(loaded.view.get(&id("a")).is_some());
    // What comes later does not hide it.
    store.apply(vec![sealed("c", 3)], checkpoint(3)).await.unwrap();
    drop(store);
    let store = open(&file(&directory)).await;
    assert_eq!(store.load().await.unwrap().findings.len(), 1);
    let repaired = vec![sealed("a", 1), sealed("find-me", 2), sealed("c", 3)];
    store.replace(Some(genesis(1)), repaired, Some(checkpoint(3))).await.unwrap();
    drop(store);
    assert_eq!(open(&file(&directory)).await.load().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_look_at_a_damaged_journal_changes_nothing_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&file(&directory)).await;
    store.flush().await.unwrap();
    drop(store);
    let mut bytes = std::fs::read(file(&directory)).unwrap();
    bytes[file::HEADER + 20] ^= 1;
    std::fs::write(file(&directory), &bytes).unwrap();
    let store = open(&file(&directory)).await;
    assert!(!store.load().await.unwrap().findings.is_empty());
    drop(store);
    assert_eq!(std::fs::read(file(&directory)).unwrap(), bytes);
}

#[test]
fn frames_that_do_not_describe_their_entries_are_a_finding() {
    let meta = frame::Meta {
        entries: vec![frame::EntryMeta { version: -1, leaf: Bytes::new(), length: 0 }],
        ..frame::Meta::default()
    };
    let mut bytes = vec![0; file::HEADER];
    bytes.extend(frame::encode(&frame::START, &meta).0);
    let place = file::Place::new(Arc::new(testing::MemoryFiles::default()), "register".into());
    let file = file::JournalFile::open(&place).unwrap();
    file.write(file::HEADER as u64, &bytes[file::HEADER..]).unwrap();
    let content = file::Content { durable: bytes.len() as u64, ..file.content().unwrap() };
    let findings = load::recover(&content).unwrap().loaded.findings;
    assert!(matches!(&findings[..], [Finding { fault: Fault::Damaged(_), .. }]), "{findings:?}");
}
