//! The register digest: a hash tree over the version counter.
//!
//! Slot `v - 1` of the tree holds the leaf of the entry at version `v`, or zeros where none is held (the version
//! was superseded, or is not counted). Inner nodes hash up to 64 children, so that one changed entry costs three
//! small hashes in a register of 262,144 versions, and a whole register is hashed at 33 bytes per entry. A
//! multiset hash was the alternative; it costs 2 KB of hashing per entry and can't name what differs.
//!
//! The tree is as wide as the head version, but only parts with leaves are kept: a part without any has the same hash
//! wherever it lies. So memory follows the entries held, whatever versions they state.

use std::sync::{Arc, LazyLock, OnceLock};

use sha2::{Digest as _, Sha256};

use super::names::{Leaf, RegisterDigest, Version};

type Hash = [u8; 32];

const EMPTY: Hash = [0; 32];
/// A node has 2^6 children.
const BITS: u32 = 6;
const FAN_OUT: u64 = 1 << BITS;
const WIDTH: usize = 1 << BITS;
/// Levels of inner nodes over the slots of all possible versions.
const LEVELS: usize = 11;

/// Hashes of whole parts without a leaf, by level: a slot, 64 slots, 4096 slots and so on.
static EMPTY_PARTS: LazyLock<[Hash; LEVELS + 1]> = LazyLock::new(|| {
    let mut parts = [EMPTY; LEVELS + 1];
    for level in 1..=LEVELS {
        parts[level] = hash_children(&[parts[level - 1]; WIDTH]);
    }
    parts
});

/// A hash tree with one slot per version. Cloning is cheap: clones share their nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct VersionTree {
    slots: u64,
    /// Level of the top node: what it covers is at least as wide as `slots`.
    height: u32,
    top: Option<Arc<Node>>,
    root: Hash,
}

/// A part of the tree with at least one leaf.
#[derive(Clone, Debug)]
struct Node {
    children: Children,
    /// Hash of the node with all 64 children; computed on demand.
    whole: OnceLock<Hash>,
}

/// The children that exist; a bit for each place.
#[derive(Clone, Debug)]
enum Children {
    Leaves(u64, Vec<Hash>),
    Nodes(u64, Vec<Arc<Node>>),
}

/// Changes of neighbouring slots: they have the same parent, which is found once.
type Run = Vec<(u64, Option<Hash>)>;

impl VersionTree {
    /// Sets slots (`None` empties one), grows the tree to `head` slots and rehashes what changed.
    pub(crate) fn update(
        &mut self,
        head: Version,
        changes: impl IntoIterator<Item = (Version, Option<Leaf>)>,
    ) {
        self.slots = self.slots.max(head.get().unsigned_abs());
        self.raise();
        let slots = self.slots;
        let mut run = Run::new();
        let changes = changes.into_iter().filter_map(|(version, leaf)| {
            let slot = version.get().unsigned_abs().checked_sub(1).filter(|slot| *slot < slots)?;
            Some((slot, leaf.map(|leaf| *leaf.as_bytes())))
        });
        for (slot, leaf) in changes {
            if run.last().is_some_and(|(last, _)| last >> BITS != slot >> BITS) {
                self.set(&mut run);
            }
            run.push((slot, leaf));
        }
        self.set(&mut run);
        self.root = self.hash_all();
    }

    /// Adds levels until the top covers all slots.
    fn raise(&mut self) {
        let height = height_of(self.slots).max(1);
        while self.height < height {
            self.height += 1;
            self.top = self.top.take().map(|below| Arc::new(Node::of(Children::Nodes(1, vec![below]))));
        }
    }

    fn set(&mut self, run: &mut Run) {
        if !run.is_empty() {
            set(&mut self.top, self.height, run);
            run.clear();
        }
    }

    fn hash_all(&self) -> Hash {
        match self.slots {
            0 => EMPTY,
            // The root of a tree of one slot is the leaf itself.
            1 => self.top.as_deref().map_or(EMPTY, |top| top.children.hash_of(0, 1)),
            slots => hash_part(self.top.as_deref(), height_of(slots), slots),
        }
    }

    /// The digest of what the tree holds at `head`.
    #[must_use]
    pub(crate) fn digest(&self, head: Version) -> RegisterDigest {
        let mut hasher = Sha256::new();
        hasher.update(b"sorcha-register-digest-v1\0");
        hasher.update(head.get().to_be_bytes());
        hasher.update(self.root);
        RegisterDigest::from_bytes(hasher.finalize().into())
    }
}

/// The lowest level whose nodes cover this many slots.
const fn height_of(slots: u64) -> u32 {
    let bits = u64::BITS - slots.saturating_sub(1).leading_zeros();
    bits.div_ceil(BITS)
}

/// Which child of a node at a level leads to a slot.
const fn place(slot: u64, level: u32) -> u64 {
    // The level of the slots is 0, so that the shift is at most 60.
    (slot >> (BITS * (level - 1))) % FAN_OUT
}

/// Sets slots of one leaf node below `node`. A node without a leaf is dropped.
fn set(node: &mut Option<Arc<Node>>, level: u32, run: &Run) {
    let Some((slot, _)) = run.first() else { return };
    if node.is_none() && run.iter().all(|(_, leaf)| leaf.is_none()) {
        return;
    }
    let empty = || if level == 1 { Children::Leaves(0, Vec::new()) } else { Children::Nodes(0, Vec::new()) };
    let this = Arc::make_mut(node.get_or_insert_with(|| Arc::new(Node::of(empty()))));
    this.whole = OnceLock::new();
    let is_empty = match &mut this.children {
        Children::Leaves(held, leaves) => {
            leaves.reserve(run.len());
            run.iter().for_each(|(slot, leaf)| put(held, leaves, place(*slot, level), *leaf));
            leaves.is_empty()
        }
        Children::Nodes(held, nodes) => {
            let place = place(*slot, level);
            // Taken out, so that an unshared child is changed in place.
            let mut child = take(held, nodes, place);
            set(&mut child, level - 1, run);
            put(held, nodes, place, child);
            nodes.is_empty()
        }
    };
    if is_empty {
        *node = None;
    }
}

/// Index of the child at a place among those that exist.
const fn index(held: u64, place: u64) -> usize {
    (held & ((1 << place) - 1)).count_ones() as usize
}

fn take<T>(held: &mut u64, children: &mut Vec<T>, place: u64) -> Option<T> {
    if *held & (1 << place) == 0 {
        return None;
    }
    *held &= !(1 << place);
    Some(children.remove(index(*held, place)))
}

fn put<T>(held: &mut u64, children: &mut Vec<T>, place: u64, child: Option<T>) {
    let (at, is_held) = (index(*held, place), *held & (1 << place) != 0);
    match (child, is_held) {
        (Some(child), true) => children[at] = child,
        (Some(child), false) => {
            *held |= 1 << place;
            children.insert(at, child);
        }
        (None, true) => {
            *held &= !(1 << place);
            children.remove(at);
        }
        (None, false) => {}
    }
}

impl Node {
    const fn of(children: Children) -> Self {
        Self { children, whole: OnceLock::new() }
    }

    fn hash(&self, level: u32) -> Hash {
        *self.whole.get_or_init(|| {
            let mut hashes = [EMPTY; WIDTH];
            self.children.fill(&mut hashes, level);
            hash_children(&hashes)
        })
    }
}

impl Children {
    /// The hashes of the children of a node at a level, all of them or the first few; they are whole.
    fn fill(&self, hashes: &mut [Hash], level: u32) {
        let below = EMPTY_PARTS[level as usize - 1];
        match self {
            Self::Leaves(held, leaves) if held.trailing_ones() as usize == hashes.len() => {
                hashes.copy_from_slice(&leaves[..hashes.len()]);
            }
            _ => (0..).zip(hashes).for_each(|(place, hash)| {
                *hash = if self.has(place) { self.hash_of(place, level) } else { below };
            }),
        }
    }

    const fn has(&self, place: u64) -> bool {
        let (Self::Leaves(held, _) | Self::Nodes(held, _)) = self;
        *held & (1 << place) != 0
    }

    /// The hash of the whole child at a place of a node at a level.
    fn hash_of(&self, place: u64, level: u32) -> Hash {
        match self {
            _ if !self.has(place) => EMPTY_PARTS[level as usize - 1],
            Self::Leaves(held, leaves) => leaves[index(*held, place)],
            Self::Nodes(held, nodes) => nodes[index(*held, place)].hash(level - 1),
        }
    }

    fn node(&self, place: u64) -> Option<&Node> {
        match self {
            Self::Nodes(held, nodes) if self.has(place) => Some(&nodes[index(*held, place)]),
            _ => None,
        }
    }
}

/// The hash of a part that starts with the first of `slots` slots and has its node at a level. The last node of each level
/// has as many children as there are slots for.
fn hash_part(node: Option<&Node>, level: u32, slots: u64) -> Hash {
    let child = 1_u64 << (BITS * (level - 1));
    let count = slots.div_ceil(child);
    if slots == child.saturating_mul(FAN_OUT) {
        return node.map_or(EMPTY_PARTS[level as usize], |node| node.hash(level));
    }
    let mut hashes = [EMPTY_PARTS[level as usize - 1]; WIDTH];
    let hashes = &mut hashes[..usize::try_from(count).unwrap_or(WIDTH)];
    if let Some(node) = node {
        // The last one is hashed below, unless it is a slot.
        let whole = if level == 1 { hashes.len() } else { hashes.len() - 1 };
        node.children.fill(&mut hashes[..whole], level);
    }
    if level > 1
        && let Some(last) = hashes.last_mut()
    {
        let node = node.and_then(|node| node.children.node(count - 1));
        *last = hash_part(node, level - 1, slots - (count - 1) * child);
    }
    hash_children(hashes)
}

fn hash_children(children: &[Hash]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(children.as_flattened());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;
