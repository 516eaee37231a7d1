use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;

fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

fn leaf(seed: i64) -> Leaf {
    Leaf::from_bytes(Sha256::digest(seed.to_be_bytes()).into())
}

fn built_at_once(head: i64, held: impl Iterator<Item = i64>) -> RegisterDigest {
    let mut tree = VersionTree::default();
    tree.update(version(head), held.map(|v| (version(v), Some(leaf(v)))));
    tree.digest(version(head))
}

/// The definition: a slot for every version, and over them nodes of up to 64 until there is one.
fn dense(head: i64, held: &BTreeMap<i64, i64>) -> RegisterDigest {
    let mut level: Vec<Hash> =
        (1..=head).map(|v| held.get(&v).map_or(EMPTY, |seed| *leaf(*seed).as_bytes())).collect();
    while level.len() > 1 {
        level = level
            .chunks(64)
            .map(|children| {
                let mut hasher = Sha256::new();
                hasher.update([1]);
                children.iter().for_each(|child| hasher.update(child));
                hasher.finalize().into()
            })
            .collect();
    }
    let mut hasher = Sha256::new();
    hasher.update(b"sorcha-register-digest-v1\0");
    hasher.update(head.to_be_bytes());
    hasher.update(level.first().unwrap_or(&EMPTY));
    RegisterDigest::from_bytes(hasher.finalize().into())
}

impl VersionTree {
    /// Nodes that take memory.
    fn nodes(&self) -> usize {
        fn count(node: &Node) -> usize {
            match &node.children {
                Children::Leaves(..) => 1,
                Children::Nodes(_, nodes) => 1 + nodes.iter().map(|node| count(node)).sum::<usize>(),
            }
        }
        self.top.as_deref().map_or(0, count)
    }
}

#[test]
fn one_by_one_equals_at_once_across_levels() {
    let mut tree = VersionTree::default();
    for v in 1..=4200 {
        tree.update(version(v), [(version(v), Some(leaf(v)))]);
        if [1, 2, 63, 64, 65, 128, 4096, 4097, 4200].contains(&v) {
            assert_eq!(tree.digest(version(v)), built_at_once(v, 1..=v), "at {v}");
            assert_eq!(tree.digest(version(v)), dense(v, &(1..=v).map(|v| (v, v)).collect()), "at {v}");
        }
    }
}

#[test]
fn a_superseded_version_equals_one_never_held() {
    let mut tree = VersionTree::default();
    tree.update(version(100), (1..=100).map(|v| (version(v), Some(leaf(v)))));
    tree.update(version(101), [(version(7), None)]);
    assert_eq!(tree.digest(version(101)), built_at_once(101, (1..=100).filter(|v| *v != 7)));
}

#[test]
fn head_order_and_content_all_count() {
    let base = built_at_once(70, 1..=70);
    assert_ne!(base, built_at_once(71, 1..=70), "head");
    assert_ne!(base, built_at_once(70, 1..=69), "missing");
    let mut swapped = VersionTree::default();
    let other = |v| match v {
        3 => 4,
        4 => 3,
        v => v,
    };
    swapped.update(version(70), (1..=70).map(|v| (version(v), Some(leaf(other(v))))));
    assert_ne!(base, swapped.digest(version(70)), "order");
}

#[test]
fn every_head_up_to_three_levels_has_the_digest_that_it_is_defined_to_have() {
    let held: BTreeMap<i64, i64> = [1, 63, 64, 65, 129, 4096, 4097].map(|v| (v, v)).into();
    for head in (0..=300).chain(4090..=4100).chain([8191, 8192, 8193, 262_143, 262_144, 262_145, 300_000]) {
        let below = || held.range(..=head).map(|(v, seed)| (*v, *seed));
        assert_eq!(
            built_at_once(head, below().map(|(v, _)| v)),
            dense(head, &below().collect()),
            "at {head}, some held"
        );
        assert_eq!(built_at_once(head, std::iter::empty()), dense(head, &BTreeMap::new()), "at {head}");
    }
}

#[test]
fn a_claimed_version_costs_no_memory() {
    let mut tree = VersionTree::default();
    for (number, v) in (1..).zip([1, 1 << 26, 1 << 40, i64::MAX - 1, i64::MAX]) {
        tree.update(version(v), [(version(v), Some(leaf(v)))]);
        assert!(tree.nodes() <= number * LEVELS, "{} nodes for {number} entries", tree.nodes());
    }
    let at_once = built_at_once(i64::MAX, [1, 1 << 26, 1 << 40, i64::MAX - 1, i64::MAX].into_iter());
    assert_eq!(tree.digest(version(i64::MAX)), at_once);
    let full = tree.nodes();
    tree.update(version(i64::MAX), [1 << 26, 1 << 40].map(|v| (version(v), None)));
    assert!(tree.nodes() < full, "what is not held any more takes no memory");
    tree.update(version(i64::MAX), [1, i64::MAX - 1, i64::MAX].map(|v| (version(v), None)));
    assert_eq!(tree.nodes(), 0);
    assert_eq!(tree.digest(version(i64::MAX)), built_at_once(i64::MAX, std::iter::empty()));
}

#[test]
fn what_lies_beyond_the_head_is_left_out() {
    let mut tree = VersionTree::default();
    tree.update(version(3), [(version(4), Some(leaf(4))), (Version::ZERO, Some(leaf(0)))]);
    assert_eq!(tree.digest(version(3)), built_at_once(3, std::iter::empty()));
}

proptest! {
    #[test]
    fn any_history_with_the_same_end_has_the_same_digest(
        steps in vec((1i64..300, any::<bool>()), 1..120)
    ) {
        let mut tree = VersionTree::default();
        let (mut head, mut held) = (0, BTreeSet::new());
        for (v, present) in steps {
            head = head.max(v);
            if present { held.insert(v); } else { held.remove(&v); }
            tree.update(version(head), [(version(v), present.then(|| leaf(v)))]);
        }
        prop_assert_eq!(tree.digest(version(head)), built_at_once(head, held.into_iter()));
    }

    #[test]
    fn any_history_has_the_digest_that_is_defined_for_its_end(
        batches in vec((0i64..9000, vec((1i64..9000, prop::option::of(0i64..5)), 0..40)), 1..12)
    ) {
        let mut tree = VersionTree::default();
        let (mut head, mut held) = (0, BTreeMap::new());
        for (raised, changes) in batches {
            let snapshot = (tree.clone(), tree.digest(version(head)));
            head = changes.iter().map(|(v, _)| *v).max().unwrap_or_default().max(raised).max(head);
            for (v, seed) in &changes {
                match seed {
                    Some(seed) => held.insert(*v, *seed),
                    None => held.remove(v),
                };
            }
            let before = (snapshot.0.slots, snapshot.0.digest(version(0)));
            tree.update(version(head), changes.iter().map(|(v, seed)| (version(*v), seed.map(leaf))));
            prop_assert_eq!(tree.digest(version(head)), dense(head, &held));
            prop_assert_eq!(before, (snapshot.0.slots, snapshot.0.digest(version(0))), "a clone keeps its content");
        }
    }

    #[test]
    fn versions_far_apart_have_one_digest_whatever_the_order(
        mut versions in vec(prop_oneof![1i64..200, any::<i64>().prop_map(|v| (v & i64::MAX).max(1))], 1..30),
        seed in any::<u64>(),
    ) {
        versions.sort_unstable();
        versions.dedup();
        let head = versions.last().copied().unwrap_or_default();
        let expected = built_at_once(head, versions.iter().copied());
        let mut tree = VersionTree::default();
        tree.update(version(head), []);
        let mut shuffled = versions.clone();
        shuffled.sort_by_key(|v| Sha256::digest([v.to_be_bytes(), seed.to_be_bytes()].concat()).to_vec());
        for v in &shuffled {
            tree.update(version(head), [(version(*v), Some(leaf(*v)))]);
        }
        prop_assert_eq!(tree.digest(version(head)), expected);
        prop_assert!(tree.nodes() <= versions.len() * LEVELS);
    }
}
