//! Every class of bytes in a register's file, changed: after a clean end and after a kill, what is opened is found bad, or
//! is the very register that was stored and goes on being it.

use std::path::PathBuf;

use super::{tests::open, *};
use crate::{
    register::lineage::tests::genesis,
    store::contract::{checkpoint, draft, id},
};

/// The database's page size.
const PAGE: usize = 4096;
/// Places of one byte of each field of the file's header: magic number, flags, geometry, both commit slots.
const HEADER: [usize; 22] =
    [0, 5, 9, 12, 14, 16, 20, 24, 28, 32, 64, 65, 72, 80, 96, 168, 176, 192, 193, 200, 208, 304];
/// Places in each page: type, counts, offsets, keys, values, what is unused.
const OFFSETS: [usize; 8] = [0, 2, 5, 12, 28, 64, 500, 4000];

/// A file as it lies on disk, its witness, and what it must be read as.
struct Original {
    file: Vec<u8>,
    witness: Vec<u8>,
    sound: Loaded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Clean,
    Killed,
}

fn witness_of(path: &Path) -> PathBuf {
    path.with_extension("head")
}

async fn original(end: End) -> Original {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let store = open(&path).await.unwrap();
    store.init_genesis(genesis(1)).await.unwrap();
    for number in 0..30 {
        let json = format!(r#"{{"n":{number},"text":"{}"}}"#, "x".repeat(200));
        store.publish(draft(&format!("b{number}"), &json)).await.unwrap();
    }
    store.apply(vec![], checkpoint(30)).await.unwrap();
    store.flush().await.unwrap();
    // The last commit is the one that a database would fall back from.
    store.publish(draft("last", r#"{"n":"last"}"#)).await.unwrap();
    let sound = store.load().await.unwrap();
    let killed = std::fs::read(&path).unwrap();
    drop(store);
    drop(open(&path).await.unwrap());
    drop(open(&path).await.unwrap());
    let file = if end == End::Killed { killed } else { std::fs::read(&path).unwrap() };
    Original { file, witness: std::fs::read(witness_of(&path)).unwrap(), sound }
}

fn is_same(a: &Loaded, b: &Loaded) -> bool {
    a.view.seal() == b.view.seal() && a.view.genesis() == b.view.genesis() && a.checkpoint == b.checkpoint
}

/// What became of a changed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Bad,
    Unharmed,
}

/// Opens a changed file; one that seems sound must take publications and still be sound after the next start.
async fn look(path: &Path, sound: &Loaded) -> Result<Found, String> {
    let Ok(store) = open(path).await else { return Ok(Found::Bad) };
    let loaded = store.load().await.unwrap();
    if !loaded.findings.is_empty() {
        return Ok(Found::Bad);
    }
    if !is_same(&loaded, sound) {
        return Err(format!("opened as another register, at version {}", loaded.view.head()));
    }
    for number in 0..4 {
        let json = format!(r#"{{"text":"{}"}}"#, "y".repeat(3000));
        let published = store.publish(draft(&format!("after{number}"), &json)).await;
        published.map_err(|error| format!("not found at start: {error}"))?;
    }
    let after = store.load().await.unwrap();
    drop(store);
    let again = open(path).await.map_err(|error| format!("damaged by what was written later: {error}"))?;
    let again = again.load().await.unwrap();
    if is_same(&again, &after) && again.findings.is_empty() {
        Ok(Found::Unharmed)
    } else {
        Err(format!("damaged by what was written later: {:?}", again.findings))
    }
}

async fn flip_everything(end: End) -> [usize; 2] {
    let Original { file, witness, sound } = original(end).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let pages = (1..file.len() / PAGE).flat_map(|page| OFFSETS.map(|offset| page * PAGE + offset));
    let mut counts = [0; 2];
    for at in HEADER.into_iter().chain(pages) {
        // All bits of the flags, and one of every other byte.
        for bit in if at == 9 { 0..8 } else { at % 8..at % 8 + 1 } {
            let mut bad = file.clone();
            bad[at] ^= 1 << bit;
            std::fs::write(&path, &bad).unwrap();
            std::fs::write(witness_of(&path), &witness).unwrap();
            match look(&path, &sound).await {
                Ok(found) => counts[found as usize] += 1,
                Err(why) => panic!("{end:?}, page {}, byte {}, bit {bit}: {why}", at / PAGE, at % PAGE),
            }
            std::fs::remove_file(&path).unwrap();
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_byte_of_a_closed_file_does_harm() {
    let [bad, unharmed] = flip_everything(End::Clean).await;
    assert!(bad > 50 && unharmed > 5, "{bad} {unharmed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_byte_of_a_killed_nodes_file_does_harm() {
    let [bad, unharmed] = flip_everything(End::Killed).await;
    assert!(bad > 50 && unharmed > 5, "{bad} {unharmed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_is_told_by_the_witness_and_publications_stop() {
    let Original { mut file, witness, .. } = original(End::Killed).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    // The commit slot in use is one of two; the other one holds the commit before.
    let flags = file[9];
    file[if flags & 1 == 0 { 64 } else { 192 } + 8] ^= 1;
    std::fs::write(&path, &file).unwrap();
    std::fs::write(witness_of(&path), &witness).unwrap();
    for _restart in 0..2 {
        let store = open(&path).await.unwrap();
        let loaded = store.load().await.unwrap();
        assert!(loaded.view.get(&id("last")).is_none(), "the commit is lost");
        let finding = loaded.findings[0].to_string();
        assert!(finding.contains("register.head says that version 31 was stored"), "{finding}");
        assert!(matches!(store.publish(draft("new", "{}")).await, Err(StoreError::Damaged(_))));
    }
    // A restore ends it.
    let store = open(&path).await.unwrap();
    store.replace(Some(genesis(2)), Vec::new(), None).await.unwrap();
    store.publish(draft("new", "{}")).await.unwrap();
    drop(store);
    assert_eq!(open(&path).await.unwrap().load().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_register_that_is_gone_is_not_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let store = open(&path).await.unwrap();
    store.publish(draft("a", "{}")).await.unwrap();
    drop(store);
    drop(open(&path).await.unwrap());
    std::fs::remove_file(&path).unwrap();
    let loaded = open(&path).await.unwrap().load().await.unwrap();
    assert!(loaded.findings[0].to_string().contains("version 1 was stored, the entries end at 0"));
}
