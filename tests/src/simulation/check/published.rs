//! What was published stays as it was, in every replica, whoever says something else; and a replica stands where it says.

use sorcha_register::{entry::EntryHeader, view::RegisterView};

use super::{Violation, truth::Truth};
use crate::simulation::history::{Event, What};

const NEVER: &str = "what is published never changes";
const POSITION: &str = "a position is that of what is held";

pub(super) fn violations(events: &[Event], truth: &Truth) -> Vec<Violation> {
    let mut found = Vec::new();
    for event in events {
        let What::Replica { peer, view, position } = &event.what else { continue };
        let changed = if truth.has_digest_of(view) { None } else { changed(view, truth) };
        if let Some(what) = changed {
            found.push(Violation::at(NEVER, event.at, format!("edge-{peer}: {what}")));
        }
        if let Some(position) = position.filter(|position| *position != view.head()) {
            let what = format!("edge-{peer} is at {position} and holds {}", view.head());
            found.push(Violation::at(POSITION, event.at, what));
        }
    }
    found
}

/// A blueprint that was published, and not like this.
fn changed(view: &RegisterView, truth: &Truth) -> Option<String> {
    view.iter().find_map(|sealed| {
        let held = sealed.entry();
        let published = truth.published(&held.blueprint_id)?;
        let field = difference(held, published)?;
        Some(format!("{} has another {field} at version {}", held.blueprint_id, held.version))
    })
}

fn difference(held: &EntryHeader, published: &EntryHeader) -> Option<&'static str> {
    let fields = [
        ("document", held.document == published.document),
        ("publication time", held.published_at == published.published_at),
        ("publisher", held.published_by() == published.published_by()),
        ("metadata", held.metadata().eq(published.metadata())),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}
