//! Succession of a whole register: whether it may replace what is held, entry by entry, before anything is replaced.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    super::{
        entry::SealedEntry,
        lineage::Genesis,
        names::{BlueprintId, Version},
        view::RegisterView,
    },
    Contradiction, check_changed, check_lineage, check_same_blueprint, passed,
};

/// A register that is to replace the one that is held. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Successor {
    held: RegisterView,
    /// Part of what was held is damaged: entries below the head may be new.
    has_holes: bool,
    /// The sender states a lineage.
    has_lineage: bool,
}

impl Successor {
    /// A register from a node that states this genesis, or none.
    ///
    /// # Errors
    /// As [`check_lineage`].
    pub fn of(held: RegisterView, has_holes: bool, genesis: Option<&Genesis>) -> Result<Self, Contradiction> {
        check_lineage(&held, genesis)?;
        Ok(Self { held, has_holes, has_lineage: genesis.is_some() })
    }

    /// Whether what is held came by the original contract, without trace parents.
    fn by_original(&self) -> bool {
        self.held.lineage().is_none()
    }

    /// Checks one entry of the register.
    ///
    /// # Errors
    /// The [`Contradiction`].
    pub fn check(&self, sealed: &Arc<SealedEntry>) -> Result<(), Contradiction> {
        let (entry, head) = (sealed.entry(), self.held.head());
        let version = entry.version;
        let Some(held) = self.held.get(&entry.blueprint_id) else {
            let owner = self.held.at(version);
            let is_passed = owner.is_some() || (version <= head && !self.has_holes);
            return if is_passed { Err(passed(owner, entry, head)) } else { Ok(()) };
        };
        check_same_blueprint(held.entry(), entry, self.by_original())?;
        let known = held.entry().version;
        if version < known {
            return Err(Contradiction::RolledBack { id: entry.blueprint_id.clone(), held: known, version });
        }
        if version > known {
            if version <= head && !self.has_holes {
                return Err(passed(self.held.at(version), entry, head));
            }
            return check_changed(held.entry(), entry);
        }
        Ok(())
    }

    /// Entries held that are not among those sent up to a head. Each is now deprecated, or the register contradicts it: a change
    /// of state takes a version of its own.
    ///
    /// # Errors
    /// [`Contradiction::HeadFell`], [`Contradiction::Missing`].
    pub fn absent(
        &self,
        sent: &[Arc<SealedEntry>],
        head: Version,
    ) -> Result<Vec<Arc<SealedEntry>>, Contradiction> {
        let held = self.held.head();
        if head < held {
            return Err(Contradiction::HeadFell { head, held });
        }
        if self.held.is_empty() {
            return Ok(Vec::new());
        }
        let ids: HashSet<&BlueprintId> = sent.iter().map(|sealed| &sealed.entry().blueprint_id).collect();
        let absent: Vec<_> =
            self.held.iter().filter(|held| !ids.contains(&held.entry().blueprint_id)).cloned().collect();
        let is_active = |sealed: &&Arc<SealedEntry>| sealed.entry().is_active;
        let gone = absent.iter().filter(is_active).count();
        let new = sent.iter().filter(|sealed| sealed.entry().version > held).count();
        let room = u64::try_from(head.get() - held.get()).unwrap_or_default().saturating_sub(new as u64);
        match absent.iter().find(is_active) {
            Some(first) if gone as u64 > room && !self.has_holes => Err(missing(first)),
            _ => Ok(absent),
        }
    }

    /// The absent entries whose later states must explain their absence.
    #[must_use]
    pub fn unexplained(&self, absent: &[Arc<SealedEntry>]) -> Vec<Arc<SealedEntry>> {
        // A node without a lineage has no more to send.
        let wanted =
            |sealed: &&Arc<SealedEntry>| self.has_lineage && (sealed.entry().is_active || self.by_original());
        absent.iter().filter(wanted).cloned().collect()
    }

    /// The version after which the later states of entries are found.
    #[must_use]
    pub fn explained_after(&self, unexplained: &[Arc<SealedEntry>]) -> Option<Version> {
        let oldest = unexplained.iter().map(|sealed| sealed.entry().version).min()?;
        Some(if self.has_holes || self.by_original() { oldest.previous() } else { self.held.head() })
    }

    /// The states up to a head, among later ones, that explain the absence of entries.
    ///
    /// # Errors
    /// [`Contradiction::Missing`] for an entry without an explanation; others for an invalid one.
    pub fn explain(
        &self,
        unexplained: &[Arc<SealedEntry>],
        later: &[Arc<SealedEntry>],
        head: Version,
    ) -> Result<Vec<Arc<SealedEntry>>, Contradiction> {
        let within = later.iter().filter(|sealed| sealed.entry().version <= head);
        let states: HashMap<_, _> = within.map(|sealed| (&sealed.entry().blueprint_id, sealed)).collect();
        let explain = |held: &Arc<SealedEntry>| {
            let state = states.get(&held.entry().blueprint_id).filter(|state| !state.entry().is_active);
            let state = state.ok_or_else(|| missing(held))?;
            self.check(state).map(|()| Arc::clone(state))
        };
        unexplained.iter().map(explain).collect()
    }

    /// The absent entries that are kept beside those sent: deprecated ones.
    #[must_use]
    pub fn kept(&self, absent: &[Arc<SealedEntry>]) -> Vec<Arc<SealedEntry>> {
        let kept = |sealed: &&Arc<SealedEntry>| !sealed.entry().is_active && !self.by_original();
        absent.iter().filter(kept).cloned().collect()
    }
}

fn missing(held: &Arc<SealedEntry>) -> Contradiction {
    Contradiction::Missing { id: held.entry().blueprint_id.clone(), held: held.entry().version }
}

/// Differences of a register to the one that it replaced by force.
#[must_use]
pub fn differences(before: &RegisterView, after: &RegisterView) -> Vec<Contradiction> {
    let fell = (after.head() < before.head())
        .then(|| Contradiction::HeadFell { head: after.head(), held: before.head() });
    let changed = before.iter().filter_map(|held| match after.get(&held.entry().blueprint_id) {
        None => held.entry().is_active.then(|| missing(held)),
        Some(new) if new.entry().version < held.entry().version => Some(Contradiction::RolledBack {
            id: held.entry().blueprint_id.clone(),
            held: held.entry().version,
            version: new.entry().version,
        }),
        Some(new) => check_same_blueprint(held.entry(), new.entry(), before.lineage().is_none()).err(),
    });
    fell.into_iter().chain(changed).collect()
}
