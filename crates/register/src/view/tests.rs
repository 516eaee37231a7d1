use super::{apply::WORTH_A_THREAD, *};
use crate::testing::entry;

fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

fn deprecated(id: &str, number: i64) -> Arc<SealedEntry> {
    let mut entry = entry(id, number);
    entry.is_active = false;
    entry.seal()
}

#[test]
fn a_full_sync_has_the_digest_of_the_whole_history() {
    let mut central = RegisterView::new(None);
    central.apply(vec![entry("a", 1).seal(), entry("b", 2).seal(), deprecated("a", 3)], Version::ZERO);
    let active: Vec<_> = central.iter().filter(|e| e.entry().is_active).cloned().collect();
    let peer = RegisterView::with_entries(None, active, central.head());
    assert_eq!(peer.digest(), central.digest());
    assert_ne!(peer.seal(), central.seal());
    assert_eq!((central.len(), central.active()), (2, 1));
}

#[test]
fn the_memory_of_a_view_is_that_of_its_entries() {
    let sum = |view: &RegisterView| view.iter().map(|sealed| sealed.memory()).sum::<u64>();
    let mut view = RegisterView::new(None);
    view.apply(vec![entry("a", 1).seal(), entry("b", 2).seal()], Version::ZERO);
    let newer = vec![deprecated("a", 3), entry("c", 4).seal()];
    let expected = view.memory_with(&newer);
    view.apply(newer, Version::ZERO);
    assert_eq!((view.memory(), sum(&view)), (expected, expected));
    view.apply(vec![entry("a", 1).seal()], Version::ZERO);
    assert_eq!(view.memory(), expected, "an older state changes nothing");
    let many = (1..=3000).map(|number| entry(&format!("b{number}"), number).seal()).collect();
    let whole = RegisterView::with_entries(None, many, Version::ZERO);
    assert_eq!(whole.memory(), sum(&whole), "filled on two threads");
}

#[test]
fn older_and_repeated_entries_change_nothing() {
    let mut view = RegisterView::new(None);
    view.apply(vec![entry("a", 1).seal(), deprecated("a", 2)], Version::ZERO);
    let before = (view.digest(), view.seal(), view.len());
    view.apply(vec![entry("a", 1).seal(), deprecated("a", 2)], Version::ZERO);
    assert_eq!(before, (view.digest(), view.seal(), view.len()));
}

#[test]
fn batches_and_single_steps_agree_and_history_is_kept() {
    let entries: Vec<_> = (1..=200).map(|v| entry(&format!("b{v}"), v).seal()).collect();
    let mut stepwise = RegisterView::new(None);
    for entry in &entries {
        stepwise.apply(vec![entry.clone()], Version::ZERO);
    }
    let whole = RegisterView::with_entries(None, entries.clone(), Version::ZERO);
    assert_eq!(stepwise.digest(), whole.digest());
    let half = RegisterView::with_entries(None, entries[..100].to_vec(), Version::ZERO);
    assert_eq!(stepwise.digest_at(version(100)), Some(half.digest()));
    assert_eq!(stepwise.after(version(198)).count(), 2);
}

#[test]
fn a_view_that_is_filled_at_once_is_the_one_that_grew() {
    let count = WORTH_A_THREAD as i64 + 10;
    let plain: Vec<_> = (1..=count).map(|v| entry(&format!("b{v}"), v).seal()).collect();
    let mut with_inactive = plain.clone();
    with_inactive[7] = deprecated("b8", 8);
    let mut twice = plain.clone();
    twice.push(deprecated("b8", count + 1));
    let mut unsorted = plain.clone();
    unsorted.swap(3, 4);
    for entries in [plain, with_inactive, twice, unsorted] {
        let genesis = Some(Arc::new(crate::testing::genesis(1)));
        let mut grown = RegisterView::new(genesis.clone());
        entries.iter().for_each(|sealed| grown.apply(vec![Arc::clone(sealed)], Version::ZERO));
        grown.apply(Vec::new(), version(count + 5));
        let filled = RegisterView::with_entries(genesis, entries.clone(), version(count + 5));
        assert_eq!((filled.digest(), filled.seal()), (grown.digest(), grown.seal()));
        assert_eq!(filled.digest_at(filled.head()), Some(grown.digest()));
        assert_eq!((filled.active(), filled.len()), (grown.active(), grown.len()));
        assert_eq!(filled.last_published_at(), grown.last_published_at());
        assert!(filled.iter().eq(grown.iter()));
        let named = |sealed: &Arc<SealedEntry>| filled.get(&sealed.entry().blueprint_id).cloned();
        assert!(grown.iter().all(|sealed| named(sealed).as_ref() == Some(sealed)));
    }
}

#[test]
fn entries_up_to_a_version_are_counted_from_the_nearer_end_and_never_all_of_them() {
    let entries: Vec<_> = (1..=1000).map(|v| entry(&format!("b{v}"), 2 * v).seal()).collect();
    let view = RegisterView::with_entries(None, entries, version(3000));
    let counted = |upto| view.len_up_to(version(upto), 10);
    assert_eq!([counted(0), counted(1), counted(20), counted(21)], [Some(0), Some(0), Some(10), Some(10)]);
    assert_eq!([counted(22), counted(1000), counted(1979)], [None, None, None]);
    assert_eq!([counted(1980), counted(1999), counted(2000)], [Some(990), Some(999), Some(1000)]);
    assert_eq!(view.len_up_to(Version::MAX, 0), Some(1000));
}

#[test]
fn a_clone_is_a_snapshot() {
    let mut view = RegisterView::new(None);
    view.apply(vec![entry("a", 1).seal()], Version::ZERO);
    let snapshot = view.clone();
    view.apply(vec![deprecated("a", 2)], Version::ZERO);
    assert_eq!(snapshot.head(), version(1));
    assert!(snapshot.iter().all(|e| e.entry().is_active));
}
