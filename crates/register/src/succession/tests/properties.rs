//! Histories made up at random: a true continuation is taken, and nothing changes what is held.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// A register's history: publications, and changes of state where there is something to change.
fn history() -> impl Strategy<Value = Vec<Entry>> {
    vec((any::<Index>(), any::<bool>()), 1..40).prop_map(|steps| {
        let mut states: BTreeMap<String, Entry> = BTreeMap::new();
        let step = |(number, (which, publishes)): (i64, (Index, bool))| {
            let known: Vec<_> = states.keys().cloned().collect();
            let entry = if publishes || known.is_empty() {
                state(&format!("b{number}"), number, number, true)
            } else {
                let old = &states[which.get(&known)];
                Entry {
                    version: version(number),
                    is_active: !old.is_active,
                    transaction_id: format!("tx-{number}"),
                    ..old.clone()
                }
            };
            states.insert(entry.blueprint_id.to_string(), entry.clone());
            entry
        };
        (1..).zip(steps).map(step).collect()
    })
}

fn at(history: &[Entry], end: usize) -> RegisterView {
    let mut view = RegisterView::new(Some(Arc::new(genesis(1))));
    history[..end].iter().for_each(|entry| view.apply(vec![entry.clone().seal()], Version::ZERO));
    view
}

proptest! {
    #[test]
    fn a_true_continuation_is_never_refused(history in history(), cuts in vec(any::<Index>(), 1..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(history.len() + 1)).collect();
        cuts.sort_unstable();
        let mut peer = at(&history, cuts[0]);
        for cut in cuts {
            let central = at(&history, cut);
            let position = peer.head();
            let pulled: Vec<_> = central.after(position).cloned().collect();
            let late: Vec<_> = history[position.get() as usize..cut].iter().cloned().map(Entry::seal).collect();
            let active: Vec<_> = central.iter().filter(|sealed| sealed.entry().is_active).cloned().collect();

            let successor = Successor::of(peer.clone(), false, Some(&genesis(1))).unwrap();
            prop_assert_eq!(active.iter().try_for_each(|sealed| successor.check(sealed)), Ok(()));
            let absent = successor.absent(&active, central.head()).unwrap();
            let states = successor.explain(&successor.unexplained(&absent), &pulled, central.head());
            prop_assert!(states.is_ok(), "{:?}", states);

            let new = news(&peer, position, &pulled).unwrap();
            peer.apply(new, central.head());
            prop_assert_eq!(peer.digest(), central.digest());
            prop_assert_eq!(news(&peer, position, &late), Ok(Vec::new()), "late pushes");
        }
    }

    #[test]
    fn no_sequence_of_entries_changes_what_is_held(
        history in history(),
        sent in vec((any::<Index>(), 0..60i64, 0..7usize, any::<bool>()), 1..20),
    ) {
        let before = at(&history, history.len());
        let mut peer = before.clone();
        for (which, number, change, is_active) in sent {
            let mut entry = which.get(&history).clone();
            (entry.version, entry.is_active) = (version(number.max(1)), is_active);
            match change {
                0..4 => REWRITES[change].1(&mut entry),
                4 => entry.transaction_id = format!("tx-{number}"),
                5 => entry.blueprint_id = BlueprintId::new(format!("x{number}")).unwrap(),
                _ => {}
            }
            if let Ok(new) = news(&peer, peer.head(), &[entry.seal()]) {
                let head = peer.head();
                prop_assert!(new.iter().all(|sealed| sealed.entry().version > head));
                peer.apply(new, Version::ZERO);
            }
        }
        prop_assert!(peer.head() >= before.head());
        for held in before.iter() {
            let now = peer.get(&held.entry().blueprint_id).map(|sealed| sealed.entry());
            prop_assert!(now.is_some_and(|now| changed_field(held.entry(), now).is_none()));
        }
    }
}
