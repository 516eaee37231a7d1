mod properties;

use super::*;
use crate::{
    canonical::Document,
    clock::Timestamp,
    entry::Entry,
    testing::{entry, genesis},
};

fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

/// A blueprint in a state that it got at a version.
fn state(id: &str, published: i64, number: i64, is_active: bool) -> Entry {
    Entry {
        version: version(number),
        is_active,
        transaction_id: format!("tx-{number}"),
        ..entry(id, published)
    }
}

fn view(entries: impl IntoIterator<Item = Entry>) -> RegisterView {
    let entries = entries.into_iter().map(Entry::seal).collect();
    RegisterView::with_entries(Some(Arc::new(genesis(1))), entries, Version::ZERO)
}

/// a at 1, deprecated c at 4, b at 5.
fn held() -> RegisterView {
    view([state("a", 1, 1, true), state("c", 3, 4, false), state("b", 2, 5, true)])
}

fn push(position: i64, entries: impl IntoIterator<Item = Entry>) -> Result<Vec<i64>, &'static str> {
    let entries: Vec<_> = entries.into_iter().map(Entry::seal).collect();
    news(&held(), version(position), &entries)
        .map(|news| news.iter().map(|sealed| sealed.entry().version.get()).collect())
        .map_err(|contradiction| contradiction.label())
}

fn changed(mut entry: Entry, change: impl FnOnce(&mut Entry)) -> Entry {
    change(&mut entry);
    entry
}

type Change = fn(&mut Entry);

/// Everything of an entry that is published once.
const REWRITES: [(&str, Change); 4] = [
    ("blueprint_document", |e| e.document = Document::canonicalize(b"{\"id\":\"other\"}").unwrap()),
    ("published_at", |e| e.published_at = Timestamp::from_millis(1)),
    ("published_by", |e| e.published_by = "mallory".into()),
    ("metadata", |e| drop(e.metadata.insert("k".into(), "v".into()))),
];

#[test]
fn what_was_published_is_never_rewritten_at_the_same_version_nor_at_a_new_one() {
    for (name, rewrite) in REWRITES {
        for entry in [state("a", 1, 1, true), state("a", 1, 6, false), state("c", 3, 6, true)] {
            let entry = changed(entry, rewrite);
            let error = news(&held(), version(5), &[entry.clone().seal()]).unwrap_err();
            assert!(matches!(&error, Contradiction::Rewritten { field, .. } if *field == name), "{error}");
            let successor = Successor::of(held(), false, Some(&genesis(1))).unwrap();
            assert_eq!(successor.check(&entry.seal()).unwrap_err(), error);
        }
    }
}

#[test]
fn a_flag_is_not_flipped_at_the_same_version() {
    let flips: [Change; 3] = [
        |e| e.is_active = !e.is_active,
        |e| e.transaction_id = "other".into(),
        |e| e.trace_parent = "00-00".into(),
    ];
    for flip in flips {
        assert_eq!(push(5, [changed(state("b", 2, 5, true), flip)]), Err("rewritten"));
        assert_eq!(push(0, [changed(state("a", 1, 1, true), flip)]), Err("rewritten"));
    }
}

#[test]
fn a_version_has_one_blueprint() {
    assert_eq!(push(0, [state("new", 1, 1, true)]), Err("version_taken"));
    assert_eq!(push(5, [state("new", 1, 5, true)]), Err("version_taken"));
    assert_eq!(push(5, [state("x", 6, 6, true), state("y", 6, 6, true)]), Err("version_taken"));
}

#[test]
fn versions_rise() {
    assert_eq!(push(5, [state("x", 7, 7, true), state("y", 6, 6, true)]), Err("out_of_order"));
    assert_eq!(push(5, [state("x", 2, 2, true)]), Err("out_of_order"), "it was never held");
    assert_eq!(push(2, [state("x", 3, 3, true)]), Err("out_of_order"), "nor with a pull in between");
    assert_eq!(push(5, [state("c", 3, 3, true)]), Err("out_of_order"), "an older state");
    assert_eq!(push(5, [state("a", 1, 4, false)]), Err("version_taken"));
    assert_eq!(
        push(5, [changed(state("b", 2, 6, true), |e| e.transaction_id = "tx-5".into())]),
        Err("unchanged")
    );
}

#[test]
fn repeats_and_what_a_pull_has_overtaken_do_no_harm() {
    let all = [state("a", 1, 1, true), state("c", 3, 4, false), state("b", 2, 5, true)];
    assert_eq!(push(5, all.clone()), Ok(vec![]));
    assert_eq!(push(5, all.into_iter().rev()), Ok(vec![]));
    assert_eq!(
        push(2, [state("c", 3, 3, true), state("c", 3, 4, false)]),
        Ok(vec![]),
        "a pull brought 4 already"
    );
    let next = [state("b", 2, 5, true), state("x", 6, 6, true), state("a", 1, 8, false)];
    assert_eq!(push(5, next), Ok(vec![6, 8]));
    let twice = [state("x", 6, 6, true), state("x", 6, 6, true), state("x", 6, 7, false)];
    assert_eq!(push(5, twice), Ok(vec![6, 7]));
}

#[test]
fn a_register_with_a_lineage_takes_nothing_from_a_node_without_one() {
    assert!(matches!(check_lineage(&held(), None), Err(Contradiction::NoLineage { .. })));
    assert!(matches!(check_lineage(&held(), Some(&genesis(2))), Err(Contradiction::OtherLineage { .. })));
    assert_eq!(check_lineage(&held(), Some(&genesis(1))), Ok(()));
    let unknown = RegisterView::new(None);
    assert_eq!(check_lineage(&unknown, None), Ok(()), "a first sync from an original central node");
    assert_eq!(check_lineage(&unknown, Some(&genesis(1))), Ok(()));
}

/// Checks a whole register against what is held: the reason, or what is kept beside it.
fn replace(
    held: &RegisterView,
    head: i64,
    sent: impl IntoIterator<Item = Entry>,
    later: impl IntoIterator<Item = Entry>,
) -> Result<Vec<i64>, &'static str> {
    let successor = Successor::of(held.clone(), false, Some(&genesis(1))).unwrap();
    let sent: Vec<_> = sent.into_iter().map(Entry::seal).collect();
    let later: Vec<_> = later.into_iter().map(Entry::seal).collect();
    let beside = || {
        sent.iter().try_for_each(|sealed| successor.check(sealed))?;
        let absent = successor.absent(&sent, version(head))?;
        let states = successor.explain(&successor.unexplained(&absent), &later, version(head))?;
        Ok::<_, Contradiction>(successor.kept(&absent).into_iter().chain(states))
    };
    let beside = beside().map_err(|contradiction| contradiction.label())?;
    Ok(beside.map(|sealed| sealed.entry().version.get()).collect())
}

#[test]
fn a_whole_register_holds_everything_that_is_held_or_says_when_it_was_deprecated() {
    let (a, b) = (|| state("a", 1, 1, true), || state("b", 2, 5, true));
    assert_eq!(replace(&held(), 5, [a(), b()], []), Ok(vec![4]), "what is deprecated is kept");
    assert_eq!(replace(&held(), 4, [a()], []), Err("head_fell"));
    assert_eq!(replace(&held(), 5, [a()], []), Err("missing"));
    assert_eq!(replace(&held(), 6, [a()], []), Err("missing"), "its deprecation is not there");
    assert_eq!(replace(&held(), 6, [a()], [state("b", 2, 6, false)]), Ok(vec![4, 6]));
    assert_eq!(replace(&held(), 6, [a()], [state("b", 2, 6, true)]), Err("missing"), "it is active");
    assert_eq!(
        replace(&held(), 6, [a()], [state("b", 2, 7, false)]),
        Err("missing"),
        "at the head stated it was"
    );
    let rewritten = changed(state("b", 2, 6, false), |e| e.published_by = "mallory".into());
    assert_eq!(replace(&held(), 6, [a()], [rewritten]), Err("rewritten"));
    assert_eq!(replace(&held(), 6, [a(), state("x", 6, 6, true)], [state("b", 2, 6, false)]), Err("missing"));
}

#[test]
fn a_whole_register_brings_nothing_new_at_versions_that_were_passed() {
    let (a, b) = (|| state("a", 1, 1, true), || state("b", 2, 5, true));
    assert_eq!(replace(&held(), 9, [a(), state("x", 2, 2, true), b()], []), Err("out_of_order"));
    assert_eq!(replace(&held(), 9, [a(), state("x", 4, 4, true), b()], []), Err("version_taken"));
    assert_eq!(replace(&held(), 9, [state("b", 2, 2, true), a()], []), Err("rolled_back"));
    assert_eq!(replace(&held(), 9, [a(), b(), state("c", 3, 9, true)], []), Ok(vec![]), "reactivated");
    assert_eq!(replace(&RegisterView::new(None), 9, [a(), b()], []), Ok(vec![]), "a first sync");
}

#[test]
fn holes_of_a_damaged_replica_are_filled_but_nothing_that_is_good_is_changed() {
    let successor = Successor::of(held(), true, Some(&genesis(1))).unwrap();
    assert_eq!(successor.check(&state("x", 2, 2, true).seal()), Ok(()));
    assert_eq!(successor.check(&state("a", 1, 3, false).seal()), Ok(()), "its newer state was damaged");
    for (_, rewrite) in REWRITES {
        assert!(successor.check(&changed(state("a", 1, 3, false), rewrite).seal()).is_err());
    }
    assert!(successor.check(&state("x", 4, 4, true).seal()).is_err());
    assert!(successor.absent(&[], version(4)).is_err());
}

#[test]
fn what_came_from_an_original_central_node_must_be_in_the_register_that_gives_it_a_lineage() {
    let traced = |entry: Entry| Entry { trace_parent: "00-01".into(), ..entry };
    let plain = RegisterView::with_entries(
        None,
        vec![state("a", 1, 1, true).seal(), state("b", 2, 2, false).seal()],
        Version::ZERO,
    );
    let (a, b) = (traced(state("a", 1, 1, true)), traced(state("b", 2, 2, false)));
    assert_eq!(
        replace(&plain, 3, [a.clone()], [b.clone()]),
        Ok(vec![2]),
        "the original contract has no traces"
    );
    assert_eq!(replace(&plain, 3, [a.clone()], []), Err("missing"));
    assert_eq!(replace(&plain, 3, [], [b]), Err("missing"));
    let other = changed(a, |e| e.published_by = "mallory".into());
    assert_eq!(replace(&plain, 3, [other], []), Err("rewritten"));
}

#[test]
fn what_a_forced_replacement_changes_is_named() {
    let after = view([state("a", 1, 1, false), changed(state("c", 3, 4, false), REWRITES[0].1)]);
    let labels: Vec<_> = differences(&held(), &after).iter().map(Contradiction::label).collect();
    assert_eq!(labels, ["head_fell", "rewritten", "rewritten", "missing"]);
    assert_eq!(differences(&held(), &held()), []);
}

#[test]
fn the_greatest_version_is_taken_once_and_nothing_follows_it() {
    assert_eq!(push(5, [state("x", 6, i64::MAX, true)]), Ok(vec![i64::MAX]));
    let mut last = held();
    last.apply(vec![state("x", 6, i64::MAX, true).seal()], Version::ZERO);
    assert_eq!((last.head(), last.after(Version::MAX).count()), (Version::MAX, 0));
    assert_eq!(last.after(version(i64::MAX - 1)).count(), 1);
    let next = news(&last, Version::MAX, &[state("y", 7, 7, true).seal()]);
    assert_eq!(next.unwrap_err().label(), "out_of_order");
}
