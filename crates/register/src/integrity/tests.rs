use super::*;
use crate::testing::entry;

fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

fn records(count: i64) -> Vec<Record> {
    (1..=count)
        .map(|v| entry(&format!("b{v}"), v).seal())
        .map(|s| Record { version: s.entry().version, encoded: s.checked().unwrap(), leaf: Some(s.leaf()) })
        .collect()
}

fn examine(records: &[Record]) -> Examination {
    Examination::of(records.iter().map(check))
}

#[test]
fn a_good_register_has_no_findings() {
    for count in [0, 3, 2000] {
        let records = records(count);
        let found = examine(&records);
        assert_eq!((found.entries.len(), found.findings.len()), (records.len(), 0));
    }
}

#[test]
fn every_kind_of_damage_is_named() {
    let good = records(5);
    let look = |records: &[Record]| {
        let found = examine(records);
        found.findings.into_iter().map(|f| (f.version.unwrap().get(), f.fault)).collect::<Vec<_>>()
    };

    let mut damaged = good.clone();
    damaged[2].encoded = Bytes::from_static(b"\xff");
    assert!(matches!(look(&damaged)[..], [(3, Fault::Damaged(_))]));

    let mut altered = good.clone();
    let mut changed = entry("b3", 3);
    changed.published_by = "mallory".into();
    altered[2].encoded = changed.seal().checked().unwrap();
    assert_eq!(look(&altered), [(3, Fault::Altered)]);

    let mut swapped = good.clone();
    swapped[1].version = version(3);
    swapped[2].version = version(2);
    swapped.swap(1, 2);
    assert!(matches!(look(&swapped)[..], [(2, Fault::Misplaced(_)), (3, Fault::Misplaced(_))]));
}

#[test]
fn the_seal_finds_what_entries_hide() {
    let entries = examine(&records(5)).entries;
    let whole = RegisterView::with_entries(None, entries.clone(), Version::ZERO);
    assert_eq!(check_seal(&whole, Some(whole.seal())), None);
    let shorter = RegisterView::with_entries(None, entries[..4].to_vec(), Version::ZERO);
    assert!(check_seal(&shorter, Some(whole.seal())).is_some());
    assert!(check_seal(&shorter, None).is_some());
    assert_eq!(check_seal(&RegisterView::new(None), None), None);
}

#[test]
fn density_names_gaps_and_doubles() {
    let versions = |numbers: &[i64]| numbers.iter().map(|n| version(*n)).collect::<Vec<_>>();
    assert!(check_dense(Version::ZERO, version(4), &versions(&[1, 3, 4]), &versions(&[2])).is_empty());
    assert!(check_dense(Version::ZERO, Version::ZERO, &[], &[]).is_empty());
    let gap = check_dense(Version::ZERO, version(5), &versions(&[1, 3]), &[]);
    assert_eq!(gap.iter().map(|f| f.version.unwrap().get()).collect::<Vec<_>>(), [2, 4, 5]);
    let far = check_dense(Version::ZERO, Version::MAX, &versions(&[1, i64::MAX]), &[]);
    assert!(matches!(&far[..], [Finding { fault: Fault::Store(why), .. }] if why.contains("are missing")));
    let double = check_dense(Version::ZERO, version(2), &versions(&[1, 2]), &versions(&[2]));
    assert!(matches!(double[..], [Finding { fault: Fault::Misplaced(_), .. }]));
}
