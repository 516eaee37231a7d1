//! The register digest: a hash tree over the version counter (design decision 24).
//!
//! Slot `v - 1` of the tree holds the leaf of the entry at version `v`, or zeros where none is held (the version
//! was superseded, or is not counted). Inner nodes hash up to 64 children, so that one changed entry costs three
//! small hashes in a register of 262,144 versions, and a whole register is hashed at 33 bytes per entry. A
//! multiset hash was the alternative; it costs 2 KB of hashing per entry and can't name what differs.

use imbl::Vector;
use sha2::{Digest as _, Sha256};

use super::names::{Leaf, RegisterDigest, Version};

const FAN_OUT: usize = 64;
const EMPTY: [u8; 32] = [0; 32];

/// A hash tree with one slot per version. Cloning is cheap: clones share their nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionTree {
    /// `levels[0]` holds the slots, each further level one node per 64 of the level below.
    levels: Vec<Vector<[u8; 32]>>,
}

impl VersionTree {
    /// Sets slots (`None` empties one), grows the tree to `head` slots and rehashes what changed.
    pub fn update(&mut self, head: Version, changes: impl IntoIterator<Item = (Version, Option<Leaf>)>) {
        let slots = usize::try_from(head.get()).unwrap_or(usize::MAX);
        if self.levels.is_empty() {
            self.levels.push(Vector::new());
        }
        let mut dirty: Vec<usize> =
            (self.levels[0].len().saturating_sub(1)..slots).step_by(FAN_OUT).collect();
        dirty.extend(slots.checked_sub(1));
        grow(&mut self.levels[0], slots);
        for (version, leaf) in changes {
            let Some(slot) = slot_of(version).filter(|slot| *slot < slots) else { continue };
            self.levels[0].set(slot, leaf.map_or(EMPTY, |leaf| *leaf.as_bytes()));
            // Neighbours have the same parent: it is hashed once.
            if dirty.last().is_none_or(|last| last / FAN_OUT != slot / FAN_OUT) {
                dirty.push(slot);
            }
        }
        self.rehash(dirty);
    }

    fn rehash(&mut self, mut dirty: Vec<usize>) {
        let mut level = 0;
        while self.levels[level].len() > 1 {
            dirty.iter_mut().for_each(|index| *index /= FAN_OUT);
            dirty.sort_unstable();
            dirty.dedup();
            if self.levels.len() == level + 1 {
                // A new level starts with every node of it unhashed.
                self.levels.push(Vector::new());
                dirty = (0..self.levels[level].len().div_ceil(FAN_OUT)).collect();
            }
            let width = self.levels[level].len().div_ceil(FAN_OUT);
            grow(&mut self.levels[level + 1], width);
            for &node in &dirty {
                let hash = hash_children(&self.levels[level], node);
                self.levels[level + 1].set(node, hash);
            }
            level += 1;
        }
    }

    fn root(&self) -> [u8; 32] {
        self.levels.last().and_then(|top| top.front()).copied().unwrap_or(EMPTY)
    }

    /// The digest of what the tree holds at `head`.
    #[must_use]
    pub fn digest(&self, head: Version) -> RegisterDigest {
        let mut hasher = Sha256::new();
        hasher.update(b"sorcha-register-digest-v1\0");
        hasher.update(head.get().to_be_bytes());
        hasher.update(self.root());
        RegisterDigest::from_bytes(hasher.finalize().into())
    }
}

fn slot_of(version: Version) -> Option<usize> {
    usize::try_from(version.get()).ok()?.checked_sub(1)
}

fn grow(level: &mut Vector<[u8; 32]>, length: usize) {
    if level.len() < length {
        level.extend(std::iter::repeat_n(EMPTY, length - level.len()));
    }
}

fn hash_children(level: &Vector<[u8; 32]>, node: usize) -> [u8; 32] {
    let first = node * FAN_OUT;
    let mut hasher = Sha256::new();
    hasher.update([1]);
    for child in level.focus().narrow(first..level.len().min(first + FAN_OUT)) {
        hasher.update(child);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn one_by_one_equals_at_once_across_levels() {
        let mut tree = VersionTree::default();
        for v in 1..=4200 {
            tree.update(version(v), [(version(v), Some(leaf(v)))]);
            if [1, 2, 63, 64, 65, 128, 4096, 4097, 4200].contains(&v) {
                assert_eq!(tree.digest(version(v)), built_at_once(v, 1..=v), "at {v}");
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
        swapped.update(
            version(70),
            (1..=70).map(|v| {
                (
                    version(v),
                    Some(leaf(match v {
                        3 => 4,
                        4 => 3,
                        v => v,
                    })),
                )
            }),
        );
        assert_ne!(base, swapped.digest(version(70)), "order");
    }

    proptest::proptest! {
        #[test]
        fn any_history_with_the_same_end_has_the_same_digest(
            steps in proptest::collection::vec((1i64..300, proptest::bool::ANY), 1..120)
        ) {
            let mut tree = VersionTree::default();
            let (mut head, mut held) = (0, std::collections::BTreeSet::new());
            for (v, present) in steps {
                head = head.max(v);
                if present { held.insert(v); } else { held.remove(&v); }
                tree.update(version(head), [(version(v), present.then(|| leaf(v)))]);
            }
            proptest::prop_assert_eq!(tree.digest(version(head)), built_at_once(head, held.into_iter()));
        }
    }
}
