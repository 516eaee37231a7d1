//! The register that a lying central node shows to one peer: pure, from the truth and from what that peer holds.

use std::sync::Arc;

use sorcha_register::{
    canonical::Document,
    clock::Timestamp,
    entry::{Entry, SealedEntry},
    names::{BlueprintId, RegisterDigest, Version},
    view::RegisterView,
};
use sorcha_store::Loaded;

use super::lie::{Lie, Part, Tale};

/// How far beyond the head an entry lies that goes beyond it.
const BEYOND: u32 = 5;

/// A register that is not the true one.
#[derive(Debug)]
pub(super) struct Forgery {
    /// What is sent, ascending.
    entries: Vec<Arc<SealedEntry>>,
    /// The head and the digest that are stated for it.
    pub(super) stated: (Version, RegisterDigest),
    /// The same in the answers to connects and heartbeats.
    pub(super) greeting: (Version, RegisterDigest),
    /// The entry that contradicts what the peer holds, where one alone does.
    pub(super) pushed: Option<Arc<SealedEntry>>,
    /// A full sync of it ends in a refusal, whatever happens meanwhile.
    pub(super) is_refused_whole: bool,
}

impl Forgery {
    /// The entries of a stream.
    pub(super) fn after(
        &self,
        after: Version,
        active_only: bool,
        cap: usize,
    ) -> impl Iterator<Item = &Arc<SealedEntry>> {
        let wanted = move |sealed: &&Arc<SealedEntry>| {
            sealed.entry().version > after && (sealed.entry().is_active || !active_only)
        };
        self.entries.iter().filter(wanted).take(cap)
    }
}

/// What the peer that holds `held` is told in the place of the truth; nothing, where it could not see through it.
pub(super) fn forge(tale: Tale, truth: &RegisterView, past: &RegisterView, held: &Loaded) -> Option<Forgery> {
    Forger { tale, truth, past, held: &held.view, is_sound: held.findings.is_empty() }.forge()
}

struct Forger<'a> {
    tale: Tale,
    truth: &'a RegisterView,
    past: &'a RegisterView,
    held: &'a RegisterView,
    is_sound: bool,
}

impl Forger<'_> {
    fn forge(&self) -> Option<Forgery> {
        let next = self.next(1);
        match self.tale.lie {
            Lie::Rewrites(part) => {
                self.altered(|entry| Some(rewritten(entry, part, entry.version, &entry.transaction_id)))
            }
            Lie::RewritesAgain(part) => self.altered(|entry| Some(rewritten(entry, part, next, "lie"))),
            Lie::Retakes => self.altered(|entry| invented(entry, entry.version)),
            Lie::Repeats => self.altered(|entry| Some(Entry { version: next, ..entry.clone() })),
            Lie::Forgets => self.altered(|_| None),
            Lie::Backdates => self.backdated(),
            Lie::RollsBack => self.rolled_back(),
            Lie::GivesAgain => self.given_again(),
            Lie::LowersHead => self.lowered(),
            Lie::Invents => {
                let mut forgery = self.with_more(invented(&self.any()?.whole().ok()?, next)?);
                forgery.stated.0 = next;
                Some(Forgery { greeting: forgery.stated, ..forgery })
            }
            Lie::GoesBeyond => {
                let forgery = self.with_more(invented(&self.any()?.whole().ok()?, self.next(BEYOND))?);
                Some(Forgery { is_refused_whole: true, greeting: self.provocation(), ..forgery })
            }
            Lie::Overstates => {
                Some(self.stating(Version::new("version", i64::MAX).ok()?, self.truth.digest()))
            }
            Lie::LeavesOut => {
                let left_out = self.any()?;
                let entries = self.truth.iter().filter(|sealed| sealed.leaf() != left_out.leaf());
                Some(Forgery {
                    entries: entries.cloned().collect(),
                    greeting: self.provocation(),
                    ..self.truthful()
                })
            }
            Lie::Misstates => Some(self.stating(self.truth.head(), other(self.truth.digest()))),
        }
    }

    /// The peer holds enough to see by that alone what contradicts it; one that holds nothing, or lost something, needs the
    /// digest.
    fn is_anchored(&self) -> bool {
        self.is_sound && self.held.head() > Version::ZERO
    }

    /// The peer holds all that is true, so that no sync has to look for what became of anything.
    fn is_level(&self) -> bool {
        self.held.is_empty() || (self.is_sound && self.held.head() == self.truth.head())
    }

    /// A version that neither the peer nor the register has reached.
    fn next(&self, by: u32) -> Version {
        self.held.head().max(self.truth.head()).plus(by)
    }

    /// An active blueprint that the peer holds as it is, where it holds enough; any active one otherwise.
    fn any(&self) -> Option<&Arc<SealedEntry>> {
        let is_held = |sealed: &Arc<SealedEntry>| {
            self.held.get(&sealed.entry().blueprint_id).is_some_and(|held| held.leaf() == sealed.leaf())
        };
        let fits =
            |sealed: &&Arc<SealedEntry>| sealed.entry().is_active && (!self.is_anchored() || is_held(sealed));
        self.tale.choose(self.truth.iter().filter(fits).collect())
    }

    /// What makes a peer that is level ask for everything.
    fn provocation(&self) -> (Version, RegisterDigest) {
        (self.truth.head(), other(self.truth.digest()))
    }

    fn truthful(&self) -> Forgery {
        let stated = (self.truth.head(), self.truth.digest());
        Forgery {
            entries: self.truth.iter().cloned().collect(),
            stated,
            greeting: stated,
            pushed: None,
            is_refused_whole: self.is_level(),
        }
    }

    fn stating(&self, head: Version, digest: RegisterDigest) -> Forgery {
        Forgery { stated: (head, digest), greeting: (head, digest), ..self.truthful() }
    }

    /// The truth and one entry more, which no digest covers.
    fn with_more(&self, entry: Entry) -> Forgery {
        let mut forgery = self.truthful();
        forgery.entries.push(entry.seal());
        forgery
    }

    /// A blueprint is not there, or something else is in its place. To a peer that can't see that by what it holds, the
    /// digest is that of the truth.
    fn altered(&self, alter: impl FnOnce(&Entry) -> Option<Entry>) -> Option<Forgery> {
        let before = self.any()?;
        let after = alter(&before.whole().ok()?).map(Entry::seal);
        let is_there = after.is_some();
        let mut entries: Vec<_> =
            self.truth.iter().filter(|sealed| sealed.leaf() != before.leaf()).cloned().collect();
        entries.extend(after.clone());
        entries.sort_by_key(|sealed| sealed.entry().version);
        if !self.is_anchored() {
            let entries = entries.into_iter().filter(|sealed| sealed.entry().version <= self.truth.head());
            return Some(Forgery { entries: entries.collect(), ..self.truthful() });
        }
        Some(Forgery { pushed: after, is_refused_whole: is_there || self.is_level(), ..self.own(entries) })
    }

    /// Entries that are stated for what they are.
    fn own(&self, entries: Vec<Arc<SealedEntry>>) -> Forgery {
        self.own_up_to(entries, self.truth.head())
    }

    fn own_up_to(&self, entries: Vec<Arc<SealedEntry>>, head: Version) -> Forgery {
        let view = RegisterView::with_entries(None, entries.clone(), head);
        let stated = (view.head(), view.digest());
        Forgery { entries, stated, greeting: stated, pushed: None, is_refused_whole: true }
    }

    fn backdated(&self) -> Option<Forgery> {
        let is_free =
            |version: &Version| self.truth.at(*version).is_none() && self.held.at(*version).is_none();
        let passed = (1..self.held.head().get()).filter_map(|number| Version::new("version", number).ok());
        let version = self.tale.choose(passed.filter(is_free).collect())?;
        let entry = invented(&self.any()?.whole().ok()?, version)?.seal();
        let mut entries: Vec<_> = self.truth.iter().cloned().collect();
        entries.push(Arc::clone(&entry));
        entries.sort_by_key(|sealed| sealed.entry().version);
        if !self.is_anchored() {
            return Some(Forgery { entries, is_refused_whole: false, ..self.truthful() });
        }
        Some(Forgery { pushed: Some(entry), ..self.own(entries) })
    }

    fn rolled_back(&self) -> Option<Forgery> {
        let falls = self.held.head() > self.past.head();
        let mut forgery = self.own_up_to(self.past.iter().cloned().collect(), self.past.head());
        let is_old = |sealed: &&Arc<SealedEntry>| {
            let held = self.held.get(&sealed.entry().blueprint_id);
            held.is_some_and(|held| held.entry().version > sealed.entry().version)
        };
        forgery.pushed = self.past.iter().find(is_old).filter(|_| self.is_anchored()).cloned();
        forgery.is_refused_whole = falls;
        if falls && self.tale.pick.is_multiple_of(2) {
            // What makes the peer ask for everything.
            forgery.greeting = (self.held.head(), forgery.stated.1);
        }
        Some(forgery)
    }

    /// A peer that holds nothing of what is lost could not see it.
    fn given_again(&self) -> Option<Forgery> {
        if !self.is_anchored() || self.held.head() <= self.past.head() {
            return self.rolled_back();
        }
        let template = &self.past.iter().next()?.whole().ok()?;
        let mut entries: Vec<_> = self.past.iter().cloned().collect();
        let numbers = self.past.head().get() + 1..=self.next(1).get();
        let versions = numbers.filter_map(|number| Version::new("version", number).ok());
        entries.extend(versions.filter_map(|version| Some(invented(template, version)?.seal())));
        Some(self.own(entries))
    }

    /// The true register without the versions from some deprecation on, which a full sync does not carry anyhow.
    fn lowered(&self) -> Option<Forgery> {
        let below = |sealed: &&Arc<SealedEntry>| {
            sealed.entry().is_active && sealed.entry().version < self.held.head()
        };
        let head = self.truth.iter().rfind(below)?.entry().version;
        let entries = self.truth.iter().filter(|sealed| sealed.entry().version <= head).cloned().collect();
        let forgery = self.own_up_to(entries, head);
        let greeting = (self.held.head(), forgery.stated.1);
        Some(Forgery { greeting, ..forgery })
    }
}

fn rewritten(entry: &Entry, part: Part, version: Version, transaction_id: &str) -> Entry {
    let entry = Entry { version, transaction_id: transaction_id.to_owned(), ..entry.clone() };
    match part {
        Part::Document => match Document::canonicalize(br#"{"id":"lie"}"#) {
            Ok(document) => Entry { document, ..entry },
            Err(_) => entry,
        },
        Part::Time => Entry { published_at: Timestamp::from_millis(1), ..entry },
        Part::Publisher => Entry { published_by: "mallory".to_owned(), ..entry },
    }
}

/// A blueprint that was never published.
fn invented(template: &Entry, version: Version) -> Option<Entry> {
    let blueprint_id = BlueprintId::new(format!("lie-{version}")).ok()?;
    let transaction_id = format!("lie-{version}");
    Some(Entry { blueprint_id, version, transaction_id, is_active: true, ..template.clone() })
}

fn other(digest: RegisterDigest) -> RegisterDigest {
    let mut bytes = *digest.as_bytes();
    bytes[0] ^= 1;
    RegisterDigest::from_bytes(bytes)
}

#[cfg(test)]
mod tests;
