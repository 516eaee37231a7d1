//! Rules of succession: whether entries may follow what is held. A published blueprint is immutable except for its state, which
//! changes at a new version; versions rise; a version belongs to one blueprint; the head never falls.
//!
//! Peers check entries of a central node before they take them, and central nodes those of their database before they serve
//! them. Only an administrator can replace a register by one that contradicts it.

mod contradiction;
mod whole;

use std::{collections::HashMap, sync::Arc};

pub use self::{
    contradiction::Contradiction,
    whole::{Successor, differences},
};
use super::{
    entry::{EntryHeader, SealedEntry},
    lineage::Genesis,
    names::{BlueprintId, Version},
    view::RegisterView,
};

/// Whether a node that states this genesis, or none, may add to what is held.
///
/// # Errors
/// [`Contradiction::NoLineage`] and [`Contradiction::OtherLineage`]; a register whose lineage is not known yet may follow
/// any node.
pub fn check_lineage(held: &RegisterView, stated: Option<&Genesis>) -> Result<(), Contradiction> {
    let stated = stated.map(Genesis::lineage);
    match (held.lineage(), stated) {
        (None, _) => Ok(()),
        (Some(held), None) => Err(Contradiction::NoLineage { held }),
        (Some(held), Some(stated)) if held == stated => Ok(()),
        (Some(held), Some(stated)) => Err(Contradiction::OtherLineage { held, stated }),
    }
}

/// Checks the memory that would be held, bytes.
///
/// # Errors
/// [`Contradiction::TooLarge`].
pub const fn check_memory(memory: u64, most: u64) -> Result<(), Contradiction> {
    if memory > most { Err(Contradiction::TooLarge { memory, most }) } else { Ok(()) }
}

/// The new ones among some entries, if all of them may follow what is held.
///
/// The entries come from a stream that is past `position`. Exact repeats are not new. Neither are older states that were in
/// flight on the stream when a pull brought the newer one.
///
/// # Errors
/// The first [`Contradiction`].
pub fn news(
    held: &RegisterView,
    position: Version,
    entries: &[Arc<SealedEntry>],
) -> Result<Vec<Arc<SealedEntry>>, Contradiction> {
    let mut extension = Extension { held, last: position, taken: HashMap::new() };
    let mut news = Vec::with_capacity(entries.len());
    for sealed in entries {
        if extension.takes(sealed)? {
            if entries.len() > 1 {
                extension.taken.insert(&sealed.entry().blueprint_id, sealed);
            }
            news.push(Arc::clone(sealed));
        }
    }
    Ok(news)
}

/// What is held, and the entries taken so far.
struct Extension<'a> {
    held: &'a RegisterView,
    /// Position of the stream.
    last: Version,
    taken: HashMap<&'a BlueprintId, &'a Arc<SealedEntry>>,
}

impl Extension<'_> {
    /// Whether an entry is new.
    fn takes(&mut self, sealed: &Arc<SealedEntry>) -> Result<bool, Contradiction> {
        let entry = sealed.entry();
        let (id, version, last) = (&entry.blueprint_id, entry.version, self.last);
        let known = self.taken.get(id).copied().or_else(|| self.held.get(id));
        if known.is_some_and(|known| known.leaf() == sealed.leaf()) {
            self.last = last.max(version);
            return Ok(false);
        }
        if let Some(known) = known {
            check_same_blueprint(known.entry(), entry, false)?;
        }
        if version <= last {
            return Err(self.passed(entry, last));
        }
        self.last = version;
        match known {
            Some(known) if version < known.entry().version && self.held.at(version).is_none() => Ok(false),
            _ if version <= self.held.head() => Err(self.passed(entry, self.held.head())),
            Some(known) => check_changed(known.entry(), entry).map(|()| true),
            None => Ok(true),
        }
    }

    /// The contradiction of an entry whose version was passed: another blueprint has it, or none.
    fn passed(&self, entry: &EntryHeader, after: Version) -> Contradiction {
        let taken = self.taken.values().find(|taken| taken.entry().version == entry.version).copied();
        passed(taken.or_else(|| self.held.at(entry.version)), entry, after)
    }
}

fn passed(owner: Option<&Arc<SealedEntry>>, entry: &EntryHeader, after: Version) -> Contradiction {
    let (id, version) = (entry.blueprint_id.clone(), entry.version);
    match owner.map(|owner| &owner.entry().blueprint_id) {
        Some(owner) if *owner != id => Contradiction::Taken { version, owner: owner.clone(), id },
        _ => Contradiction::OutOfOrder { id, version, after },
    }
}

/// The first immutable field in which two entries of a blueprint differ, by its name on the wire.
fn changed_field(held: &EntryHeader, new: &EntryHeader) -> Option<&'static str> {
    let fields = [
        ("blueprint_document", held.document == new.document),
        ("published_at", held.published_at == new.published_at),
        ("published_by", held.published_by() == new.published_by()),
        ("metadata", held.metadata().eq(new.metadata())),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

/// The first field of the state in which two entries differ. The original contract has no `trace_parent`: entries that came by
/// it have none.
fn changed_state(held: &EntryHeader, new: &EntryHeader, by_original: bool) -> Option<&'static str> {
    let lost = by_original && held.trace_parent().is_empty();
    let fields = [
        ("is_active", held.is_active == new.is_active),
        ("publication_transaction_id", held.transaction_id() == new.transaction_id()),
        ("trace_parent", lost || held.trace_parent() == new.trace_parent()),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

/// Two entries of one blueprint have the same immutable fields, and at the same version all fields.
fn check_same_blueprint(
    held: &EntryHeader,
    new: &EntryHeader,
    by_original: bool,
) -> Result<(), Contradiction> {
    let state = if held.version == new.version { changed_state(held, new, by_original) } else { None };
    match changed_field(held, new).or(state) {
        None => Ok(()),
        Some(field) => Err(Contradiction::Rewritten {
            id: new.blueprint_id.clone(),
            field,
            held: held.version,
            version: new.version,
        }),
    }
}

/// A new version changes the state. Without transaction ids skipped states do not show.
fn check_changed(held: &EntryHeader, new: &EntryHeader) -> Result<(), Contradiction> {
    if changed_state(held, new, false).is_some() || new.transaction_id().is_empty() {
        return Ok(());
    }
    Err(Contradiction::Unchanged { id: new.blueprint_id.clone(), held: held.version, version: new.version })
}

#[cfg(test)]
mod tests;
