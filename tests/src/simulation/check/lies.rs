//! A lie is refused, and the peer says so: in its status, and in its health.

use std::{collections::BTreeMap, time::Duration};

use super::{Violation, active::Active};
use crate::simulation::{
    history::{Event, What},
    net::Host,
    plan::Fault,
};

/// From the answer that lies to the peer's words: it has to arrive, and a stream of it to be read.
const WITHIN: Duration = Duration::from_secs(30);
/// What was on its way when a lie was over has arrived, or its connection is gone.
const ON_ITS_WAY: Duration = Duration::from_secs(60);

const SHOWN: &str = "a lie is refused and told";
const DEGRADED: &str = "health says that a central node lies";

/// An answer that lies, on its way to a peer.
struct Pending {
    since: Duration,
    peer: u8,
    central: u8,
    call: &'static str,
}

pub(super) fn violations(events: &[Event]) -> Vec<Violation> {
    let mut found = Vec::new();
    let (mut active, mut pending) = (Active::default(), Vec::<Pending>::new());
    let mut doubts: BTreeMap<u8, &str> = BTreeMap::new();
    for event in events {
        active.see(&event.what);
        match &event.what {
            What::Lied { central, peer, call, must_show: true } => {
                // One that is told to be behind again has nothing new to say.
                let is_known =
                    *call == "heartbeat" && doubts.get(peer).is_some_and(|what| names(what, *central));
                let lie = Pending { since: event.at, peer: *peer, central: *central, call };
                if !is_known && !may_be_lost(&lie, &active) {
                    pending.push(lie);
                }
            }
            What::Doubts { peer, what: Some(what), health } => {
                doubts.insert(*peer, what);
                pending.retain(|lie| lie.peer != *peer || !names(what, lie.central));
                if let Some(health) = health.as_ref().filter(|health| hides(health)) {
                    let what = format!("the health of edge-{peer} is {health:?}, and it says: {what}");
                    found.push(Violation::at(DEGRADED, event.at, what));
                }
            }
            What::Doubts { peer, what: None, .. } => drop(doubts.remove(peer)),
            What::Ended(Host::Peer(gone), _) => {
                doubts.remove(gone);
                pending.retain(|lie| lie.peer != *gone);
            }
            What::Ended(Host::Central(gone), _) => pending.retain(|lie| lie.central != *gone),
            What::Disturbed(peer) | What::Damaged(peer) => pending.retain(|lie| lie.peer != *peer),
            What::Sample(_) | What::Fault { .. } => {
                pending.retain(|lie| !may_be_lost(lie, &active));
                let is_due = |lie: &Pending| lie.since + WITHIN < event.at;
                found.extend(pending.iter().filter(|lie| is_due(lie)).map(|lie| told(lie, event.at)));
                pending.retain(|lie| !is_due(lie));
            }
            _ => {}
        }
    }
    found
}

/// Whether a health says something of less weight, or nothing, in the place of a doubt.
fn hides(health: &str) -> bool {
    const OF_LESS_WEIGHT: [&str; 6] = [
        "no central node",
        "heartbeats are missed",
        "the replica was synced at",
        "replication does not work",
        "the last sync failed",
        "nothing is pushed",
    ];
    match health.strip_prefix("Degraded: ") {
        Some(reason) => OF_LESS_WEIGHT.iter().any(|beginning| reason.starts_with(beginning)),
        None => true,
    }
}

/// Whether something else goes on that may have kept an answer from arriving.
fn may_be_lost(lie: &Pending, active: &Active) -> bool {
    active.any(|fault| !matches!(fault, Fault::Lies(..)) && fault.touches(lie.peer, Some(lie.central)))
}

fn told(lie: &Pending, now: Duration) -> Violation {
    let Pending { since, peer, central, call } = lie;
    let since = since.as_secs_f64();
    Violation::at(
        SHOWN,
        now,
        format!("n{central} lied to edge-{peer} at {since:.3} s ({call}), and edge-{peer} does not say so"),
    )
}

/// Whether a peer's words are about a central node.
fn names(what: &str, central: u8) -> bool {
    named(what).any(|named| named == central)
}

/// The central nodes that a line names.
fn named(what: &str) -> impl Iterator<Item = u8> + '_ {
    what.split([' ', ',', '"', '=']).filter_map(|word| word.strip_prefix('n')?.parse().ok())
}

/// Which central nodes lie, or did until a moment ago.
#[derive(Default)]
pub(super) struct Liars {
    active: Active,
    over: BTreeMap<u8, Duration>,
}

impl Liars {
    /// Takes in what happened next.
    pub(super) fn see(&mut self, event: &Event) {
        self.active.see(&event.what);
        if let What::Fault { fault: Fault::Lies(central, _), begins: false } = &event.what {
            self.over.insert(*central, event.at);
        }
    }

    /// Whether a central node lies, or did so long ago at the most.
    pub(super) fn have_told(&self, central: u8, now: Duration, within: Duration) -> bool {
        let lies = |fault: &Fault| matches!(fault, Fault::Lies(liar, _) if *liar == central);
        self.active.any(lies) || self.over.get(&central).is_some_and(|over| now < *over + within)
    }

    /// Whether a line that a node logged is about one of them.
    pub(super) fn are_named_in(&self, text: &str, now: Duration) -> bool {
        named(text).any(|central| self.have_told(central, now, ON_ITS_WAY))
    }
}
