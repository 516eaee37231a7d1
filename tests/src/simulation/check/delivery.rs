//! What is acknowledged reaches every peer that is connected, within a heartbeat whatever else has gone wrong before.

use std::{collections::BTreeMap, time::Duration};

use sorcha_register::names::Version;

use super::{Violation, active::Active, lies::Liars};
use crate::simulation::{
    history::{Event, PeerSample, What},
    plan::Fault,
};

/// A peer with one session for this long after an acknowledgement must hold it: a heartbeat's interval and its jitter, its
/// time-out's worth of a lost push stream, and the pull that follows.
const WITHIN: Duration = Duration::from_secs(45);

/// What a central node said while it lied makes peers ask for everything, and it lets them do that so often only.
const AFTER_LIES: Duration = Duration::from_secs(120);

const RULE: &str = "what is acknowledged reaches every connected peer";

/// How long a peer has had one good session.
#[derive(Clone, Copy)]
struct Spell {
    central: u8,
    since: Duration,
}

pub(super) fn violations(events: &[Event]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut spells: BTreeMap<u8, Spell> = BTreeMap::new();
    let (mut active, mut liars) = (Active::default(), Liars::default());
    let mut acknowledged: Vec<(Duration, Version)> = Vec::new();
    for event in events {
        active.see(&event.what);
        liars.see(event);
        match &event.what {
            What::Acknowledged { version, .. } => acknowledged.push((event.at, *version)),
            What::Sample(peers) => {
                let due = acknowledged.iter().filter(|(at, _)| *at + WITHIN <= event.at);
                // Later acknowledgements may have lower versions.
                let best = |since: Duration| {
                    due.clone().filter(|(at, _)| *at >= since).map(|(_, version)| *version).max()
                };
                if active.any(|fault| matches!(fault, Fault::Database(_))) {
                    spells.clear();
                }
                for peer in peers {
                    if active.any(|fault| *fault == Fault::FullDisk(peer.peer)) {
                        spells.remove(&peer.peer);
                    }
                    if peer.central.is_some_and(|central| liars.have_told(central, event.at, AFTER_LIES)) {
                        spells.remove(&peer.peer);
                        continue;
                    }
                    let Some(spell) = spell(&mut spells, peer, event.at) else { continue };
                    let Some(expected) = best(spell.since).filter(|expected| *expected > peer.head) else {
                        continue;
                    };
                    let what = format!(
                        "edge-{} has had a session with n{} since {:.0} s and holds version {}, not {expected}",
                        peer.peer,
                        spell.central,
                        spell.since.as_secs_f64(),
                        peer.head
                    );
                    found.push(Violation::at(RULE, event.at, what));
                }
            }
            What::Fault { fault: Fault::FullDisk(_) | Fault::Database(_), .. } => spells.clear(),
            _ => {}
        }
    }
    found
}

/// The good session that a peer has, and since when.
fn spell(spells: &mut BTreeMap<u8, Spell>, peer: &PeerSample, now: Duration) -> Option<Spell> {
    let good = peer.central.filter(|central| peer.alive && peer.reachable.contains(central));
    let Some(central) = good else {
        spells.remove(&peer.peer);
        return None;
    };
    let spell = spells.entry(peer.peer).or_insert(Spell { central, since: now });
    if spell.central != central {
        *spell = Spell { central, since: now };
    }
    Some(*spell)
}
