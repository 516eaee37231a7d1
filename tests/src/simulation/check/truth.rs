//! What really happened to the register, and whether clients were told the truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sorcha_register::{
    entry::{EntryHeader, SealedEntry},
    names::{BlueprintId, Checksum, RegisterDigest, Version},
    view::RegisterView,
};

use super::Violation;
use crate::simulation::history::{Change, Event, What};

/// One state of a blueprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) version: Version,
    pub(super) checksum: Checksum,
    pub(super) active: bool,
}

impl State {
    pub(super) fn of(entry: &EntryHeader) -> Self {
        Self { version: entry.version, checksum: entry.document.checksum(), active: entry.is_active }
    }
}

/// Every state that every blueprint has had, by what the database holds.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) states: BTreeMap<BlueprintId, Vec<State>>,
    by_version: BTreeMap<Version, BlueprintId>,
    /// The entry with which each blueprint was published.
    published: BTreeMap<BlueprintId, Arc<SealedEntry>>,
    /// Digest of the register at each version.
    digests: BTreeMap<Version, RegisterDigest>,
}

impl Truth {
    pub(super) fn of(events: &[Event]) -> Self {
        let (mut truth, mut view) = (Self::default(), RegisterView::new(None));
        for event in events {
            if let What::Stored(sealed) = &event.what {
                let entry = sealed.entry();
                view.apply(vec![Arc::clone(sealed)], Version::ZERO);
                truth.digests.insert(entry.version, view.digest());
                truth.states.entry(entry.blueprint_id.clone()).or_default().push(State::of(entry));
                truth.published.entry(entry.blueprint_id.clone()).or_insert_with(|| Arc::clone(sealed));
                truth.by_version.insert(entry.version, entry.blueprint_id.clone());
            }
        }
        truth
    }

    pub(super) fn head(&self) -> Version {
        self.by_version.keys().next_back().copied().unwrap_or_default()
    }

    /// Whether a view has the register's digest at its version: then its active entries are the register's.
    pub(super) fn has_digest_of(&self, view: &RegisterView) -> bool {
        self.digests.get(&view.head()) == Some(&view.digest())
    }

    /// A blueprint as it was published.
    pub(super) fn published(&self, id: &BlueprintId) -> Option<&EntryHeader> {
        self.published.get(id).map(|sealed| sealed.entry())
    }

    /// The state of a blueprint at a version of the register.
    pub(super) fn at(&self, id: &BlueprintId, version: Version) -> Option<State> {
        self.states.get(id)?.iter().rev().find(|state| state.version <= version).copied()
    }

    /// The next state after a version.
    pub(super) fn after(&self, id: &BlueprintId, version: Version) -> Option<State> {
        self.states.get(id)?.iter().find(|state| state.version > version).copied()
    }

    /// Clients were told the truth: nothing acknowledged is lost, nothing is there that nobody asked for, versions
    /// are given out without gaps and once.
    pub(super) fn violations(&self, events: &[Event]) -> Vec<Violation> {
        let mut found = Vec::new();
        let (mut asked, mut given) = (BTreeSet::new(), BTreeMap::new());
        for event in events {
            match &event.what {
                What::Asked { id, change } => {
                    asked.insert((id.clone(), key(change)));
                }
                What::Acknowledged { id, change, version } => {
                    if !self.holds(id, change, *version) {
                        let what = format!(
                            "{change} {id} was acknowledged at {version}; the database has {:?}",
                            self.states.get(id)
                        );
                        found.push(Violation::at("nothing acknowledged is lost", event.at, what));
                    }
                    if let Some(other) = given.insert(*version, id.clone())
                        && other != *id
                    {
                        let what = format!("{other} and {id} both got version {version}");
                        found.push(Violation::at("a version is given once", event.at, what));
                    }
                }
                What::Refused { id, change: Change::Publish(_), answer } if self.states.contains_key(id) => {
                    let what = format!("{id} was refused ({answer}) and is stored");
                    found.push(Violation::at("what is refused is not stored", event.at, what));
                }
                _ => {}
            }
        }
        found.extend(self.invented(&asked));
        found.extend(self.gaps());
        found
    }

    fn holds(&self, id: &BlueprintId, change: &Change, version: Version) -> bool {
        let states = self.states.get(id).map_or(&[][..], Vec::as_slice);
        states.iter().any(|state| {
            state.version == version
                && match change {
                    Change::Publish(checksum) => state.checksum == *checksum,
                    Change::SetActive(active) => state.active == *active,
                }
        })
    }

    fn invented(&self, asked: &BTreeSet<(BlueprintId, &'static str)>) -> Vec<Violation> {
        let seed = Version::FIRST;
        let not_asked = |(id, states): (&BlueprintId, &Vec<State>)| {
            let first = states.first().map(|state| state.version);
            let wanted = |state: &State, index: usize| match index {
                0 => asked.contains(&(id.clone(), "publish")) || first == Some(seed),
                _ => asked.contains(&(id.clone(), if state.active { "reactivate" } else { "deprecate" })),
            };
            let state = states.iter().enumerate().find(|(index, state)| !wanted(state, *index));
            state.map(|(_, state)| {
                Violation::of_all(
                    "nothing is invented",
                    format!("nobody asked for {id} at version {}", state.version),
                )
            })
        };
        self.states.iter().filter_map(not_asked).collect()
    }

    fn gaps(&self) -> Vec<Violation> {
        let mut last = Version::ZERO;
        for version in self.by_version.keys() {
            if last.next() != Some(*version) {
                let what = format!("after {last} comes {version}");
                return vec![Violation::of_all("versions have no gaps", what)];
            }
            last = *version;
        }
        Vec::new()
    }
}

const fn key(change: &Change) -> &'static str {
    match change {
        Change::Publish(_) => "publish",
        Change::SetActive(true) => "reactivate",
        Change::SetActive(false) => "deprecate",
    }
}
