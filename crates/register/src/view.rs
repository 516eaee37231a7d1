//! The register as one immutable value in memory: what central nodes serve and peers read from.
//!
//! A view is cheap to clone (its parts are shared), so a sync stream keeps the very snapshot it started with
//! while publications go on, and a push stream is a cursor into the newest view: nothing is queued per peer.

use std::{ops::Bound, sync::Arc, thread};

use imbl::{HashMap, OrdMap};
use sha2::{Digest as _, Sha256};

use super::{
    digest::VersionTree,
    entry::SealedEntry,
    lineage::Genesis,
    names::{BlueprintId, Lineage, RegisterDigest, Version},
};
use crate::clock::Timestamp;

/// How many recent versions a view remembers the digest of, for comparison with heartbeats.
const DIGEST_HISTORY: usize = 4096;
/// Batches up to this size record the digest of each version in them, larger ones only of the last.
const STEPWISE_BATCH: usize = 64;

/// From this many entries on a second thread saves more than it costs.
const WORTH_A_THREAD: usize = 2048;

/// The register at one moment.
#[derive(Clone, Debug, Default)]
pub struct RegisterView {
    genesis: Option<Arc<Genesis>>,
    head: Version,
    entries: OrdMap<Version, Arc<SealedEntry>>,
    versions: HashMap<BlueprintId, Version>,
    active: usize,
    memory: u64,
    active_tree: VersionTree,
    held_tree: VersionTree,
    digests: OrdMap<Version, RegisterDigest>,
    last_published_at: Timestamp,
}

/// A summary of everything held, inactive entries included; stores keep it beside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Head version.
    pub head: Version,
    /// Entries held.
    pub count: u64,
    /// Digest of all of them and of the lineage.
    pub held: RegisterDigest,
}

impl RegisterView {
    /// An empty register of a lineage (`None`: not known yet).
    #[must_use]
    pub fn new(genesis: Option<Arc<Genesis>>) -> Self {
        let mut view = Self { genesis, ..Self::default() };
        view.remember_digest();
        view
    }

    /// A register with these entries, at `head` or at the highest version among them, whichever is higher.
    #[must_use]
    pub fn with_entries(
        genesis: Option<Arc<Genesis>>,
        entries: Vec<Arc<SealedEntry>>,
        head: Version,
    ) -> Self {
        let mut view = Self::new(genesis);
        if entries.len() < WORTH_A_THREAD || !view.fill(&entries, head) {
            view.apply(entries, head);
        }
        view
    }

    /// As [`RegisterView::apply`] to an empty register, the parts of the view beside each other. False, with nothing done,
    /// where entries are not in the order of their versions or a blueprint is there more than once.
    fn fill(&mut self, entries: &[Arc<SealedEntry>], head: Version) -> bool {
        let version_of = |sealed: &Arc<SealedEntry>| sealed.entry().version;
        if !entries.is_sorted_by(|a, b| version_of(a) < version_of(b)) {
            return false;
        }
        let mut rest = Self { genesis: self.genesis.take(), ..Self::default() };
        let versions = thread::scope(|scope| {
            let named = |sealed: &Arc<SealedEntry>| (sealed.entry().blueprint_id.clone(), version_of(sealed));
            let versions = scope.spawn(move || entries.iter().map(named).collect::<HashMap<_, _>>());
            rest.fill_all_but_ids(entries, head);
            versions.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        if versions.len() < entries.len() {
            self.genesis = rest.genesis;
            return false;
        }
        *self = Self { versions, ..rest };
        self.remember_digest();
        true
    }

    fn fill_all_but_ids(&mut self, entries: &[Arc<SealedEntry>], head: Version) {
        let is_active = |sealed: &&Arc<SealedEntry>| sealed.entry().is_active;
        self.entries = entries.iter().map(|sealed| (sealed.entry().version, Arc::clone(sealed))).collect();
        self.active = entries.iter().filter(is_active).count();
        self.memory = entries.iter().map(|sealed| sealed.memory()).sum();
        let published = entries.iter().map(|sealed| sealed.entry().published_at).max();
        self.last_published_at = published.unwrap_or_default();
        self.head = entries.last().map_or(head, |last| head.max(last.entry().version));
        let leaves = |sealed: &Arc<SealedEntry>| (sealed.entry().version, Some(sealed.leaf()));
        self.active_tree.update(self.head, entries.iter().filter(is_active).map(leaves));
        if self.active == entries.len() {
            self.held_tree = self.active_tree.clone();
        } else {
            self.held_tree.update(self.head, entries.iter().map(leaves));
        }
    }

    /// Takes entries in: newer versions replace older ones of the same blueprint, older ones are ignored.
    ///
    /// `head` raises the head version beyond the entries (a full sync carries active entries only).
    pub fn apply(&mut self, entries: Vec<Arc<SealedEntry>>, head: Version) {
        if entries.len() <= STEPWISE_BATCH {
            for entry in entries {
                self.take(std::iter::once(entry), Version::ZERO);
                self.remember_digest();
            }
            if head > self.head {
                self.take(std::iter::empty(), head);
                self.remember_digest();
            }
        } else {
            self.take(entries.into_iter(), head);
            self.remember_digest();
        }
    }

    fn take(&mut self, entries: impl Iterator<Item = Arc<SealedEntry>>, head: Version) {
        let (mut active, mut held) = (Vec::new(), Vec::new());
        let mut new_head = self.head.max(head);
        for sealed in entries {
            let entry = sealed.entry();
            let version = entry.version;
            match self.versions.insert(entry.blueprint_id.clone(), version) {
                Some(known) if known >= version => {
                    self.versions.insert(entry.blueprint_id.clone(), known);
                    continue;
                }
                Some(superseded) => {
                    if let Some(old) = self.entries.remove(&superseded) {
                        self.active -= usize::from(old.entry().is_active);
                        self.memory -= old.memory();
                    }
                    active.push((superseded, None));
                    held.push((superseded, None));
                }
                None => {}
            }
            new_head = new_head.max(version);
            self.active += usize::from(entry.is_active);
            self.memory += sealed.memory();
            self.last_published_at = self.last_published_at.max(entry.published_at);
            active.push((version, entry.is_active.then(|| sealed.leaf())));
            held.push((version, Some(sealed.leaf())));
            self.entries.insert(version, sealed);
        }
        self.head = new_head;
        self.active_tree.update(new_head, active);
        if self.active == self.entries.len() {
            // Nothing inactive is held, so that both trees have the same leaves.
            self.held_tree = self.active_tree.clone();
        } else {
            self.held_tree.update(new_head, held);
        }
    }

    fn remember_digest(&mut self) {
        self.digests.insert(self.head, self.active_tree.digest(self.head));
        while self.digests.len() > DIGEST_HISTORY {
            self.digests.remove_with_key(&self.oldest_digest());
        }
    }

    fn oldest_digest(&self) -> Version {
        self.digests.get_min().map_or(Version::ZERO, |(version, _)| *version)
    }

    /// The same entries under a lineage, now that it is known.
    #[must_use]
    pub fn with_genesis(mut self, genesis: Arc<Genesis>) -> Self {
        self.genesis = Some(genesis);
        self
    }

    /// Newest version; 0 when empty.
    #[must_use]
    pub const fn head(&self) -> Version {
        self.head
    }

    /// The genesis record, when known.
    #[must_use]
    pub const fn genesis(&self) -> Option<&Arc<Genesis>> {
        self.genesis.as_ref()
    }

    /// The lineage, when known.
    #[must_use]
    pub fn lineage(&self) -> Option<Lineage> {
        self.genesis.as_ref().map(|genesis| genesis.lineage())
    }

    /// Digest over head version and active entries (ADR 2).
    #[must_use]
    pub fn digest(&self) -> RegisterDigest {
        self.active_tree.digest(self.head)
    }

    /// The digest as it was at an earlier version, if remembered.
    #[must_use]
    pub fn digest_at(&self, version: Version) -> Option<RegisterDigest> {
        self.digests.get(&version).copied()
    }

    /// Summary of everything held.
    #[must_use]
    pub fn seal(&self) -> Seal {
        let mut hasher = Sha256::new();
        hasher.update(b"sorcha-register-seal-v1\0");
        hasher.update(self.held_tree.digest(self.head).as_bytes());
        hasher.update(self.lineage().map_or([0; 32], |lineage| *lineage.as_bytes()));
        let held = RegisterDigest::from_bytes(hasher.finalize().into());
        Seal { head: self.head, count: self.entries.len() as u64, held }
    }

    /// Entries held, inactive ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries held up to a version, where no more than `most` lie on one side of it: all of them can't be counted in no time.
    #[must_use]
    pub fn len_up_to(&self, version: Version, most: usize) -> Option<usize> {
        let newer = self.after(version).take(most + 1).count();
        if newer <= most {
            return Some(self.len() - newer);
        }
        let older = self.entries.range(..=version).take(most + 1).count();
        (older <= most).then_some(older)
    }

    /// Active entries held.
    #[must_use]
    pub const fn active(&self) -> usize {
        self.active
    }

    /// Memory that the entries take, bytes.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.memory
    }

    /// Memory that the entries would take with newer ones, in the order in which they are to be applied.
    #[must_use]
    pub fn memory_with(&self, newer: &[Arc<SealedEntry>]) -> u64 {
        let held =
            |sealed: &Arc<SealedEntry>| self.get(&sealed.entry().blueprint_id).map(|held| held.memory());
        let (more, less) = newer.iter().fold((0_u64, 0_u64), |(more, less), sealed| {
            (more.saturating_add(sealed.memory()), less.saturating_add(held(sealed).unwrap_or_default()))
        });
        self.memory.saturating_add(more).saturating_sub(less)
    }

    /// Instant of the newest publication; the epoch when there is none.
    #[must_use]
    pub const fn last_published_at(&self) -> Timestamp {
        self.last_published_at
    }

    /// Entries with a version greater than `after`, ascending, inactive ones included.
    pub fn after(&self, after: Version) -> impl Iterator<Item = &Arc<SealedEntry>> {
        self.entries.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, entry)| entry)
    }

    /// The first entry with a version greater than `after`.
    #[must_use]
    pub fn next_after(&self, after: Version) -> Option<&Arc<SealedEntry>> {
        self.after(after).next()
    }

    /// The last entry with a version less than `below`.
    #[must_use]
    pub fn last_before(&self, below: Version) -> Option<&Arc<SealedEntry>> {
        self.entries.range(..below).next_back().map(|(_, entry)| entry)
    }

    /// All entries, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<SealedEntry>> {
        self.entries.values()
    }

    /// The entry at a version.
    #[must_use]
    pub fn at(&self, version: Version) -> Option<&Arc<SealedEntry>> {
        self.entries.get(&version)
    }

    /// The entry of a blueprint.
    #[must_use]
    pub fn get(&self, id: &BlueprintId) -> Option<&Arc<SealedEntry>> {
        self.entries.get(self.versions.get(id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(
            [counted(0), counted(1), counted(20), counted(21)],
            [Some(0), Some(0), Some(10), Some(10)]
        );
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
}
