use std::collections::BTreeMap;

use sorcha_register::succession::{Successor, news};

use super::*;

fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

/// A register of so many changes; every fourth takes a blueprint out or back in.
fn register(changes: i64) -> RegisterView {
    let entry = |number: i64| {
        let is_change = number % 4 == 0;
        let id = if is_change { number / 4 } else { number };
        Entry {
            blueprint_id: BlueprintId::new(format!("b{id}")).unwrap(),
            version: version(number),
            document: Document::canonicalize(format!("{{\"id\":\"b{id}\"}}").as_bytes()).unwrap(),
            published_at: Timestamp::from_millis(1000 + id),
            published_by: "anybody".to_owned(),
            is_active: !is_change,
            transaction_id: format!("tx-{number}"),
            metadata: BTreeMap::new(),
            trace_parent: String::new(),
        }
    };
    let entries = (1..=changes).map(|number| entry(number).seal()).collect();
    RegisterView::with_entries(None, entries, Version::ZERO)
}

fn holding(view: RegisterView) -> Loaded {
    Loaded { view, checkpoint: None, findings: Vec::new() }
}

/// What a full sync of it comes to: why it is refused, or nothing.
fn refused_whole(forgery: &Forgery, held: &RegisterView) -> Option<String> {
    let successor = Successor::of(held.clone(), false, None).unwrap();
    let sent: Vec<_> = forgery.after(Version::ZERO, true, usize::MAX).cloned().collect();
    let (head, digest) = forgery.stated;
    let beyond = sent.iter().any(|sealed| sealed.entry().version > head);
    let refused = sent.iter().find_map(|sealed| successor.check(sealed).err());
    let refused = refused.or_else(|| successor.absent(&sent, head).err());
    let differs = RegisterView::with_entries(None, sent.clone(), head).digest() != digest;
    let unexplained = successor.absent(&sent, head).is_ok_and(|absent| {
        let later: Vec<_> = forgery.after(held.head(), false, usize::MAX).cloned().collect();
        let active: Vec<_> = absent.into_iter().filter(|sealed| sealed.entry().is_active).collect();
        successor.explain(&active, &later, head).is_err()
    });
    let why = [(beyond, "beyond"), (unexplained, "unexplained"), (differs, "digest")];
    let why = why.into_iter().find(|(is_so, _)| *is_so).map(|(_, why)| why.to_owned());
    refused.map(|refused| refused.to_string()).or(why)
}

/// What an incremental sync of it would make of a replica; nothing, where it is not taken.
fn taken_in_part(forgery: &Forgery, held: &RegisterView) -> Option<RegisterView> {
    let sent: Vec<_> = forgery.after(held.head(), false, usize::MAX).cloned().collect();
    let (head, digest) = forgery.stated;
    let taken = news(held, held.head(), &sent).ok()?;
    let mut then = held.clone();
    then.apply(taken, head);
    (head >= held.head() && then.digest() == digest).then_some(then)
}

fn tales() -> impl Iterator<Item = Tale> {
    let picks = [0, 1, 7, 100, 255];
    Lie::ALL.into_iter().flat_map(move |lie| picks.map(|pick| Tale { lie, pick, pushed: true }))
}

/// Whatever is told to a peer that holds a part of the truth, it can see through it.
#[test]
fn a_peer_takes_nothing_of_a_lie() {
    let truth = register(40);
    for tale in tales() {
        for held in [0, 1, 17, 36, 39, 40] {
            let (held, past) = (register(held), register(40 - tale.changes_lost() as i64));
            let Some(forgery) = forge(tale, &truth, &past, &holding(held.clone())) else { continue };
            let is_old_truth = forgery.stated == (past.head(), past.digest()) && held.head() <= past.head();
            let at = format!("{tale:?} to a peer at {}", held.head());
            if !is_old_truth {
                let then = taken_in_part(&forgery, &held);
                // A lie may be about what an incremental sync does not carry.
                assert!(then.is_none_or(|then| then.digest() == truth.digest()), "{at}");
                assert!(refused_whole(&forgery, &held).is_some(), "{at}");
            }
            if let Some(pushed) = &forgery.pushed {
                assert!(news(&held, held.head(), std::slice::from_ref(pushed)).is_err(), "{at}: pushed");
                assert!(news(&truth, truth.head(), std::slice::from_ref(pushed)).is_err(), "{at}: later");
            }
        }
    }
}

#[test]
fn the_rules_that_a_lie_is_for_are_those_that_refuse_it() {
    let truth = register(40);
    let reason = |lie: Lie| {
        let past = register(36);
        let tale = Tale { lie, pick: 1, pushed: true };
        let forgery = forge(tale, &truth, &past, &holding(truth.clone())).unwrap();
        assert!(forgery.is_refused_whole, "{lie:?}");
        refused_whole(&forgery, &truth).unwrap()
    };
    for (lie, expected) in [
        (Lie::Rewrites(Part::Document), "another blueprint_document"),
        (Lie::Rewrites(Part::Time), "another published_at"),
        (Lie::RewritesAgain(Part::Publisher), "another published_by"),
        (Lie::RollsBack, "but is held at 40"),
        (Lie::GivesAgain, "but is held at 40"),
        (Lie::LowersHead, "head version 39"),
        (Lie::Forgets, "is not in what is sent"),
        (Lie::Retakes, "which is held as blueprint"),
        (Lie::Backdates, "versions rise"),
        (Lie::Repeats, "a new version changes its state"),
        (Lie::Invents, "digest"),
        (Lie::GoesBeyond, "beyond"),
        (Lie::Overstates, "digest"),
        (Lie::Misstates, "digest"),
    ] {
        let reason = reason(lie);
        assert!(reason.contains(expected), "{lie:?}: {reason}");
    }
}
