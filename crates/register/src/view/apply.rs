//! Entries enter a view: one by one, in batches, or a whole register at once.

use std::{sync::Arc, thread};

use imbl::HashMap;

use super::{
    super::{entry::SealedEntry, lineage::Genesis, names::Version},
    RegisterView,
    by_id::ById,
};

/// Recent versions whose digests a view remembers, for comparison with heartbeats.
const DIGEST_HISTORY: usize = 4096;
/// Batches up to this size record the digest of each version in them, larger ones only of the last.
const STEPWISE_BATCH: usize = 64;
/// From this many entries on a second thread saves more than it costs.
pub(super) const WORTH_A_THREAD: usize = 2048;

impl RegisterView {
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

    /// As [`RegisterView::apply`] to an empty register, on two threads. False, with nothing changed, where entries are not in the
    /// order of their versions or a blueprint occurs twice.
    fn fill(&mut self, entries: &[Arc<SealedEntry>], head: Version) -> bool {
        let version_of = |sealed: &Arc<SealedEntry>| sealed.entry().version;
        if !entries.is_sorted_by(|a, b| version_of(a) < version_of(b)) {
            return false;
        }
        let mut rest = Self { genesis: self.genesis.take(), ..Self::default() };
        let ids = thread::scope(|scope| {
            let named = |sealed: &Arc<SealedEntry>| (ById(Arc::clone(sealed)), ());
            let ids = scope.spawn(move || entries.iter().map(named).collect::<HashMap<_, _>>());
            rest.fill_all_but_ids(entries, head);
            ids.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        if ids.len() < entries.len() {
            self.genesis = rest.genesis;
            return false;
        }
        *self = Self { ids, ..rest };
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

    /// Applies entries: newer versions replace older ones of the same blueprint, older ones are ignored.
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
            if let Some(old) = self.get(&entry.blueprint_id).cloned() {
                let superseded = old.entry().version;
                if superseded >= version {
                    continue;
                }
                self.ids.remove(&entry.blueprint_id);
                self.entries.remove(&superseded);
                self.active -= usize::from(old.entry().is_active);
                self.memory -= old.memory();
                active.push((superseded, None));
                held.push((superseded, None));
            }
            self.ids.insert(ById(Arc::clone(&sealed)), ());
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
            // Without inactive entries both trees have the same leaves.
            self.held_tree = self.active_tree.clone();
        } else {
            self.held_tree.update(new_head, held);
        }
    }

    pub(super) fn remember_digest(&mut self) {
        self.digests.insert(self.head, self.active_tree.digest(self.head));
        while self.digests.len() > DIGEST_HISTORY {
            self.digests.remove_with_key(&self.oldest_digest());
        }
    }

    fn oldest_digest(&self) -> Version {
        self.digests.get_min().map_or(Version::ZERO, |(version, _)| *version)
    }
}
