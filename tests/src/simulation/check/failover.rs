//! Connections: found again in time, and one for each peer.

use std::{collections::BTreeMap, time::Duration};

use super::{Violation, active::Active};
use crate::simulation::{
    history::{End, Event, PeerSample, What},
    net::Host,
};

/// From a closed connection to the next session, where another central node is well all the time.
const AFTER_CLOSE: Duration = Duration::from_secs(8);
/// The same from silence: keepalive finds it within 15 s, other silent nodes cost a dial's time-out each.
const AFTER_SILENCE: Duration = Duration::from_secs(30);
/// From whatever state: a wait of an isolated peer, a pass over hung nodes, an old session that must be taken for dead.
const AT_LAST: Duration = Duration::from_secs(200);
/// Looks in a row, a second apart, in which a peer may have two connections: one that it leaves and one that it enters.
const TWO_CONNECTIONS: u32 = 8;

/// Every other central node that is gone at the same time costs a dial's time-out, and one that stands still keepalive's.
const EACH_OTHER: Duration = Duration::from_secs(16);
/// A session is not lost without a reason: what went wrong before is over for this long.
const CALM: Duration = Duration::from_secs(100);

const REASON: &str = "no session is lost without a reason";
const IN_TIME: &str = "failover within the promised time";
const AT_ALL: &str = "a peer connects if it can";
const ONE: &str = "one connection a peer";
const BEST: &str = "a peer begins with its best central node";

/// What runs measure.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Times from the loss of a central node to the next session, another one being well.
    pub failovers: Vec<Duration>,
    /// Publications that were acknowledged.
    pub acknowledged: usize,
    /// Sessions lost.
    pub losses: usize,
    /// Reads answered.
    pub reads: usize,
}

/// What one peer is going through.
#[derive(Default)]
struct Peer {
    has_begun: bool,
    central: Option<u8>,
    session: Option<String>,
    /// Central nodes that have been well for it, and since when.
    well: BTreeMap<u8, Duration>,
    alone_since: Option<Duration>,
    lost: Option<Lost>,
    twice: u32,
    /// Nothing has gone wrong for its session since.
    calm_since: Option<Duration>,
}

/// A central node that a peer had a session with is gone.
struct Lost {
    at: Duration,
    within: Duration,
    central: u8,
}

pub(super) fn violations(events: &[Event]) -> Vec<Violation> {
    walk(events).0
}

pub(super) fn figures(events: &[Event]) -> Figures {
    walk(events).1
}

fn walk(events: &[Event]) -> (Vec<Violation>, Figures) {
    let (mut found, mut figures) = (Vec::new(), Figures::default());
    let mut peers: BTreeMap<u8, Peer> = BTreeMap::new();
    let mut closed: BTreeMap<u8, Duration> = BTreeMap::new();
    let mut active = Active::default();
    let mut quiet = true;
    for event in events {
        active.see(&event.what);
        match &event.what {
            What::Ended(Host::Central(central), End::Killed | End::Stopped) => {
                closed.insert(*central, event.at);
            }
            What::Disturbed(peer) => {
                let peer = peers.entry(*peer).or_default();
                (peer.calm_since, peer.lost) = (None, None);
            }
            What::Fault { fault, .. } => {
                quiet = false;
                for (number, peer) in &mut peers {
                    if fault.touches(*number, peer.central) {
                        peer.calm_since = None;
                    }
                }
            }
            What::Acknowledged { .. } => figures.acknowledged += 1,
            What::Read { .. } => figures.reads += 1,
            What::Sample(samples) => {
                for sample in samples {
                    let peer = peers.entry(sample.peer).or_default();
                    if active.any(|fault| fault.touches(sample.peer, peer.central)) {
                        peer.calm_since = None;
                    }
                    found.extend(peer.begins(sample, event.at).filter(|_| quiet));
                    found.extend(peer.look(sample, event.at, &closed, &mut figures));
                }
            }
            _ => {}
        }
    }
    (found, figures)
}

impl Peer {
    fn look(
        &mut self,
        sample: &PeerSample,
        now: Duration,
        closed: &BTreeMap<u8, Duration>,
        figures: &mut Figures,
    ) -> Vec<Violation> {
        let mut found = Vec::new();
        if !sample.alive {
            *self = Self::default();
            return found;
        }
        self.well.retain(|central, _| sample.reachable.contains(central));
        for central in &sample.reachable {
            self.well.entry(*central).or_insert(now);
        }
        found.extend(self.for_a_reason(sample, now));
        found.extend(self.in_time(sample, now, closed, figures));
        found.extend(self.at_last(sample, now));
        self.twice = if sample.connections > 1 { self.twice + 1 } else { 0 };
        if self.twice == TWO_CONNECTIONS {
            let what = format!("edge-{} has had {} for {TWO_CONNECTIONS} s", sample.peer, sample.connections);
            found.push(Violation::at(ONE, now, what));
        }
        self.central = sample.central;
        self.session.clone_from(&sample.session);
        found
    }

    /// Where all are well, the first session is with the first of the list.
    fn begins(&mut self, sample: &PeerSample, now: Duration) -> Option<Violation> {
        let (central, best) = (sample.central?, sample.reachable.iter().min()?);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let what = format!("edge-{} is at n{central}, though n{best} is well", sample.peer);
        (is_first && *best < central).then(|| Violation::at(BEST, now, what))
    }

    /// While nothing goes wrong, a session goes on.
    fn for_a_reason(&mut self, sample: &PeerSample, now: Duration) -> Option<Violation> {
        let is_another = sample.central != self.central || sample.session != self.session;
        let since = *self.calm_since.get_or_insert(now);
        let central = self.central.filter(|_| is_another && since + CALM < now)?;
        let what = format!(
            "edge-{} has left its session with n{central} and is {} at {:?}",
            sample.peer, sample.state, sample.central
        );
        Some(Violation::at(REASON, now, what))
    }

    /// A central node that was well since before the loss is found in time.
    fn in_time(
        &mut self,
        sample: &PeerSample,
        now: Duration,
        closed: &BTreeMap<u8, Duration>,
        figures: &mut Figures,
    ) -> Option<Violation> {
        let gone = self.central.filter(|central| sample.gone.contains(central));
        if let Some(central) = gone.filter(|_| self.lost.is_none()) {
            let recently = closed.get(&central).is_some_and(|at| *at + Duration::from_secs(2) > now);
            let others = u32::try_from(sample.gone.len().saturating_sub(1)).unwrap_or(u32::MAX);
            let within = if recently { AFTER_CLOSE } else { AFTER_SILENCE } + EACH_OTHER * others;
            figures.losses += 1;
            self.lost = Some(Lost { at: now, within, central });
        }
        let lost = self.lost.as_ref()?;
        let well = self.well.values().any(|since| *since < lost.at);
        let found_another = sample.central.is_some_and(|central| !sample.gone.contains(&central));
        if found_another || !well {
            if found_another && well {
                figures.failovers.push(now.saturating_sub(lost.at));
            }
            self.lost = None;
            return None;
        }
        if now < lost.at + lost.within {
            return None;
        }
        let what = format!(
            "edge-{} lost n{} at {:.0} s and is {} {:.0} s later, though {:?} were well",
            sample.peer,
            lost.central,
            lost.at.as_secs_f64(),
            sample.state,
            (now - lost.at).as_secs_f64(),
            self.well.keys().collect::<Vec<_>>(),
        );
        self.lost = None;
        Some(Violation::at(IN_TIME, now, what))
    }

    /// With somebody well for long enough, no peer stays alone.
    fn at_last(&mut self, sample: &PeerSample, now: Duration) -> Option<Violation> {
        if sample.central.is_some() {
            self.alone_since = None;
            return None;
        }
        let since = *self.alone_since.get_or_insert(now);
        let well = self.well.values().any(|well| *well + AT_LAST < now);
        if since + AT_LAST >= now || !well {
            return None;
        }
        self.alone_since = None;
        let what =
            format!("edge-{} has been {} since {:.0} s", sample.peer, sample.state, since.as_secs_f64());
        Some(Violation::at(AT_ALL, now, what))
    }
}
