//! Every state that a replica ever shows is one that the register had, and a replica only moves forward.

use std::{collections::BTreeMap, time::Duration};

use sorcha_register::{names::Version, view::RegisterView};

use super::{
    Violation,
    truth::{State, Truth},
};
use crate::simulation::{
    history::{End, Event, What},
    net::Host,
};

/// A replica's batches may be undone by a power cut for this long (ADR 31).
const FLUSH: Duration = Duration::from_millis(1500);

/// One in so many views is compared entry by entry though its digest is right.
const THOROUGH: u32 = 32;

const CONTENT: &str = "a replica shows the register and nothing else";
const FORWARD: &str = "a replica never goes back";

/// What is known of one peer so far.
#[derive(Default)]
struct Seen {
    /// Heads with their times.
    heads: Vec<(Duration, Version)>,
    /// Less than this it may not show.
    floor: Version,
    /// Its file was damaged: it may have lost anything, once.
    excused: bool,
    looks: u32,
}

pub(super) fn violations(events: &[Event], truth: &Truth) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut peers: BTreeMap<u8, Seen> = BTreeMap::new();
    for event in events {
        match &event.what {
            What::Replica { peer, view, .. } => {
                let seen = peers.entry(*peer).or_default();
                found.extend(seen.look(*peer, event.at, view, truth));
            }
            What::Damaged(peer) => peers.entry(*peer).or_default().excused = true,
            What::Ended(Host::Peer(peer), End::PowerCut) => {
                // What was there a moment before the cut was synced, and so was what was loaded at the start. What a
                // process wrote that was killed is all there.
                let seen = peers.entry(*peer).or_default();
                let synced = event.at.saturating_sub(FLUSH);
                let before = seen.heads.iter().rev().find(|(at, _)| *at <= synced).or(seen.heads.first());
                seen.floor = before.map_or(seen.floor, |(_, head)| *head);
                seen.heads.clear();
            }
            _ => {}
        }
    }
    found
}

impl Seen {
    fn look(&mut self, peer: u8, at: Duration, view: &RegisterView, truth: &Truth) -> Vec<Violation> {
        let head = view.head();
        // Equal digests are equal active entries; all of a view is looked at now and then, and where digests differ.
        self.looks += 1;
        let known = !self.excused && truth.has_digest_of(view) && !self.looks.is_multiple_of(THOROUGH);
        let (wrong, back) = (if known { None } else { wrong(view, truth) }, head < self.floor);
        self.heads.push((at, head));
        if self.excused {
            // What is left of a damaged file is true all the same; it may only lack something until that is fetched.
            self.excused = wrong.is_some() || back;
            let lie = lie(view, truth);
            return lie
                .map(|why| Violation::at(CONTENT, at, format!("edge-{peer}: {why}")))
                .into_iter()
                .collect();
        }
        let mut found = Vec::new();
        if let Some(why) = wrong {
            found.push(Violation::at(CONTENT, at, format!("edge-{peer} at version {head}: {why}")));
        }
        if back {
            found.push(Violation::at(
                FORWARD,
                at,
                format!("edge-{peer} shows version {head} after {}", self.floor),
            ));
        }
        self.floor = self.floor.max(head);
        found
    }
}

/// An entry that the register never had.
fn lie(view: &RegisterView, truth: &Truth) -> Option<String> {
    let head = view.head();
    if head > truth.head() {
        return Some(format!("the register was never beyond {}, it shows {head}", truth.head()));
    }
    view.iter().find_map(|sealed| {
        let (id, held) = (&sealed.entry().blueprint_id, State::of(sealed.entry()));
        let right = truth.at(id, held.version);
        let lies = right != Some(held) || held.version > head;
        lies.then(|| format!("{id} is {held:?}, the register had {right:?}"))
    })
}

/// What of a view is not the register at the view's version. An entry that was superseded later may be missing, for
/// pulls carry the newest state of each blueprint only, and what they are on the way to comes with it.
fn wrong(view: &RegisterView, truth: &Truth) -> Option<String> {
    let head = view.head();
    let lacks = || {
        truth.states.keys().find_map(|id| {
            let right = truth.at(id, head)?;
            let held = view.get(id).map(|sealed| State::of(sealed.entry()));
            let on_the_way = truth.after(id, head).is_some();
            // A full sync carries active entries only.
            let left_out = held.is_none() && !right.active;
            let lacks = held != Some(right) && !on_the_way && !left_out;
            lacks.then(|| format!("{id} is {held:?}, the register had {right:?}"))
        })
    };
    lie(view, truth).or_else(lacks)
}
