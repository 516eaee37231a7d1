//! The register as one immutable value in memory: what central nodes serve and peers read from.
//!
//! A view is cheap to clone (its parts are shared), so a sync stream keeps the very snapshot it started with
//! while publications go on, and a push stream is a cursor into the newest view: nothing is queued per peer.

mod apply;
mod by_id;

use std::{ops::Bound, sync::Arc};

use imbl::{HashMap, OrdMap};
use sha2::{Digest as _, Sha256};

use self::by_id::ById;
use super::{
    digest::VersionTree,
    entry::SealedEntry,
    lineage::Genesis,
    names::{BlueprintId, Lineage, RegisterDigest, Version},
};
use crate::clock::Timestamp;

/// The register at one moment.
#[derive(Clone, Debug, Default)]
pub struct RegisterView {
    genesis: Option<Arc<Genesis>>,
    head: Version,
    entries: OrdMap<Version, Arc<SealedEntry>>,
    /// A set that is searched by id.
    ids: HashMap<ById, ()>,
    active: usize,
    memory: u64,
    active_tree: VersionTree,
    held_tree: VersionTree,
    digests: OrdMap<Version, RegisterDigest>,
    last_published_at: Timestamp,
}

/// A summary of all entries, inactive ones included; stores keep it beside the data.
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

    /// The same entries under a lineage.
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

    /// Entries held up to a version; `None` where more than `most` are on either side of it, to bound the time.
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

    /// Memory of the entries, bytes.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.memory
    }

    /// Memory of the entries after newer ones are applied in this order, bytes.
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
        self.ids.get_key_value(id).map(|(ById(entry), ())| entry)
    }
}

#[cfg(test)]
mod tests;
