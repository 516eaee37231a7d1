//! The state of the register at one version, from the results of cursors.
//!
//! A cursor is not a snapshot: other nodes publish meanwhile, and a blueprint that they deprecate or reactivate takes a new
//! version, so that a cursor may return it twice. A server may even return it at its old position with its new version, and skip
//! the versions in between. So the order of results does not matter here, and missing versions are read again.

use std::collections::BTreeSet;

use mongodb::bson::doc;
use sorcha_register::{integrity::Finding, names::Version};

use super::{Outcome, database::Database, entry_codec::Stored, read::Verified};

#[derive(Default)]
pub(super) struct Contents {
    /// Ascending, one per blueprint: the newest.
    pub(super) sound: Vec<Stored>,
    /// Damaged documents, with the versions that they claim.
    pub(super) unsound: Vec<(Finding, Vec<Version>)>,
}

impl Contents {
    pub(super) fn new(read: Vec<Verified>) -> Self {
        let mut contents = Self::default();
        contents.add(read);
        contents
    }

    /// Adds the results of another read.
    pub(super) fn add(&mut self, read: Vec<Verified>) {
        for verified in read {
            match verified {
                Verified::Sound(stored) => self.sound.push(stored),
                Verified::Unsound { finding, versions } => {
                    self.unsound.retain(|(known, _)| *known != finding);
                    self.unsound.push((finding, versions));
                }
            }
        }
        let version_of = |stored: &Stored| stored.sealed.entry().version;
        if !self.sound.is_sorted_by_key(version_of) {
            self.sound.sort_by_key(version_of);
        }
        drop_moved(&mut self.sound);
    }

    /// The newest version of a sound entry.
    pub(super) fn newest(&self) -> Version {
        self.sound.last().map(|stored| stored.sealed.entry().version).unwrap_or_default()
    }

    /// Versions after one that documents have, had, or claim; ascending.
    pub(super) fn accounted(&self, after: Version) -> Vec<Version> {
        let of =
            |stored: &Stored| stored.supersedes.clone().into_iter().chain([stored.sealed.entry().version]);
        let claims = self.unsound.iter().flat_map(|(finding, claimed)| finding.version.iter().chain(claimed));
        let mut versions: Vec<_> = self
            .sound
            .iter()
            .flat_map(of)
            .chain(claims.copied())
            .filter(|version| *version > after)
            .collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// The first version between `after` and the newest that is not accounted for.
    fn first_missing(&self, after: Version) -> Option<Version> {
        let mut expected = after.next()?;
        for version in self.accounted(after) {
            if version > expected {
                break;
            }
            expected = version.next()?;
        }
        (expected < self.newest()).then_some(expected)
    }

    /// Number of versions between `after` and the newest that are not accounted for.
    pub(super) fn missing(&self, after: Version) -> i64 {
        let newest = self.newest();
        if newest <= after {
            return 0;
        }
        let accounted = self.accounted(after).into_iter().take_while(|version| *version <= newest).count();
        newest.get() - after.get() - i64::try_from(accounted).unwrap_or(i64::MAX)
    }
}

impl Database {
    /// Completes a read of entries after `after` against concurrent publications, with further reads of at most `limit` entries.
    ///
    /// A node stores a version only after it has seen the one before, and only once. So a version below one that an earlier read
    /// has returned, and that a later read does not find, is not there, or belongs to a blueprint that has moved beyond `limit`.
    pub(super) async fn complete(
        &self,
        contents: &mut Contents,
        after: Version,
        limit: usize,
    ) -> Outcome<()> {
        let mut seen = after;
        while let Some(missing) = contents.first_missing(seen) {
            seen = contents.newest();
            tracing::debug!(%missing, newest = %seen, "the register changed while it was read; looking again");
            contents.add(self.read(doc! { "version": { "$gte": missing.get() } }, limit).await?);
        }
        Ok(())
    }
}

/// Keeps the newest state of each blueprint.
fn drop_moved(stored: &mut Vec<Stored>) {
    let mut seen = BTreeSet::new();
    let mut is_newest: Vec<bool> =
        stored.iter().rev().map(|s| seen.insert(s.sealed.entry().blueprint_id.clone())).collect();
    stored.retain(|_| is_newest.pop().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::version;
    use sorcha_register::testing::entry;

    fn found(id: &str, number: i64, supersedes: &[i64]) -> Verified {
        Verified::Sound(Stored {
            sealed: entry(id, number).seal(),
            supersedes: supersedes.iter().map(|n| version(*n)).collect(),
        })
    }

    fn versions(contents: &Contents) -> Vec<i64> {
        contents.sound.iter().map(|stored| stored.sealed.entry().version.get()).collect()
    }

    #[test]
    fn superseded_versions_are_no_gap() {
        let all = || vec![found("b", 2, &[]), found("a", 5, &[1, 3]), found("c", 6, &[4])];
        assert_eq!(Contents::new(all()).missing(Version::ZERO), 0);
        let later = Contents::new(all().split_off(1));
        assert_eq!((later.missing(version(2)), later.first_missing(version(2))), (0, None));
        assert_eq!((later.missing(Version::ZERO), later.first_missing(Version::ZERO)), (1, Some(version(2))));
        assert_eq!((later.missing(version(9)), later.first_missing(version(9))), (0, None));
    }

    #[test]
    fn of_a_blueprint_that_moved_the_newer_state_counts_wherever_it_is_found() {
        let contents = Contents::new(vec![
            found("a", 1, &[]),
            found("b", 4, &[2]),
            found("a", 3, &[1]),
            found("b", 2, &[]),
            found("c", 5, &[]),
        ]);
        assert_eq!(versions(&contents), [3, 4, 5]);
    }

    /// A server that shows "b" in its old place with its new version, and not what was published before it moved.
    #[test]
    fn versions_that_a_moved_blueprint_jumped_over_are_missed() {
        let mut contents = Contents::new(vec![found("a", 1, &[]), found("b", 5, &[2]), found("c", 3, &[])]);
        assert_eq!(
            (contents.first_missing(Version::ZERO), contents.missing(Version::ZERO)),
            (Some(version(4)), 1)
        );
        contents.add(vec![found("d", 4, &[]), found("b", 5, &[2]), found("a", 6, &[1])]);
        assert_eq!((contents.first_missing(version(5)), versions(&contents)), (None, vec![3, 4, 5, 6]));
    }
}
