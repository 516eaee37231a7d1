//! Reads are always answered, never go back, and tell what the register holds.

use std::{collections::BTreeMap, time::Duration};

use sorcha_register::names::Version;

use super::{Violation, truth::Truth};
use crate::simulation::{
    history::{Answer, Event, What},
    net::Host,
};

/// Time in which a damaged file is mended, if a central node can be reached.
const REPAIR: Duration = Duration::from_secs(400);

const ANSWERED: &str = "reads are answered";
const FORWARD: &str = "reads never go back";
const TRUE: &str = "reads tell what the register holds";

pub(super) fn violations(events: &[Event], truth: &Truth) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut newest: BTreeMap<u8, Version> = BTreeMap::new();
    // Until damaged entries are fetched again, they are not found.
    let mut damaged: BTreeMap<u8, Duration> = BTreeMap::new();
    for event in events {
        match &event.what {
            // What a power cut or a damaged file may undo is checked with the replica itself.
            What::Ended(Host::Peer(peer), _) => {
                newest.remove(peer);
            }
            What::Damaged(peer) => {
                newest.remove(peer);
                damaged.insert(*peer, event.at);
            }
            What::Read { peer, answer } => {
                if let Answer::Failed(why) = answer {
                    found.push(Violation::at(ANSWERED, event.at, format!("edge-{peer}: {why}")));
                    continue;
                }
                let (version, lie) = judge(answer, truth);
                let before = newest.insert(*peer, version).unwrap_or_default();
                if version < before {
                    let what = format!("edge-{peer} answers from version {version} after {before}");
                    found.push(Violation::at(FORWARD, event.at, what));
                }
                let excused = damaged.get(peer).is_some_and(|since| event.at < *since + REPAIR);
                if let Some(lie) = lie.filter(|_| !excused) {
                    found.push(Violation::at(TRUE, event.at, format!("edge-{peer}: {lie}")));
                }
            }
            _ => {}
        }
    }
    found
}

/// The version that an answer is from, and what of it is not true.
fn judge(answer: &Answer, truth: &Truth) -> (Version, Option<String>) {
    match answer {
        Answer::Found { version, blueprint: Some((id, checksum, active)) } => {
            let states = truth.states.get(id).map_or(&[][..], Vec::as_slice);
            let real = states.iter().any(|state| {
                state.version <= *version && state.checksum == *checksum && state.active == *active
            });
            (*version, (!real).then(|| format!("{id} was never like that up to version {version}")))
        }
        Answer::Found { version, blueprint: None } => (*version, None),
        Answer::Unknown(id, version) => {
            // Known for certain: it was published before, active then and ever since.
            let states = truth.states.get(id).map_or(&[][..], Vec::as_slice);
            let held = states.first().is_some_and(|first| first.version <= *version)
                && states.iter().all(|state| state.active);
            (*version, held.then(|| format!("{id} is not found at version {version}")))
        }
        Answer::Failed(_) => (Version::ZERO, None),
    }
}
