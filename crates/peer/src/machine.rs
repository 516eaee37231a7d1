//! The peer's connection as a pure state machine (ADR 32): `state x event -> state x effects`.
//!
//! Nothing in here reads a clock, draws a random number, calls anybody or looks at the environment; the instant and
//! the draw come in as data. The machine is total: every event is allowed in every state, and one that comes too late
//! or makes no sense changes nothing. The shell turns effects into calls and results into events; it decides
//! nothing, except how a call's outcome maps to an event.
//!
//! ```text
//! phase            public state          leaves on
//! Idle             Disconnected          Start
//! Searching        Connecting, or        ConnectOk -> Open; whole pass failed -> Waiting
//!                  Isolated when it came out of Waiting
//! Open(Fresh)      Connected             first acknowledgement -> Open(Monitored); loss -> Searching
//! Open(Monitored)  HeartbeatMonitoring   misses, loss, advice, a better node, a request -> Searching
//! Waiting          Isolated              Tick, a request, a changed list -> Searching
//! Stopped          Disconnected          nothing; Stop leads here from everywhere
//! ```
//!
//! Invariant: at most one attempt or session exists, and it has the newest epoch. Each attempt takes a new epoch, a
//! session keeps the epoch of its attempt, and so an event of anything older is told apart and dropped.

pub(crate) mod effect;
pub(crate) mod event;
mod failback;
mod pass;
pub(crate) mod phase;
mod session;
pub mod state;
mod turn;

use sorcha_register::clock::Monotonic;

use self::{
    effect::{Cause, DisconnectReason, Effect},
    event::Event,
    phase::{Outage, Progress, Search, Session, Stage, Wait, Watch},
    state::{Phase, State},
    turn::Turn,
};
use super::failover::{CentralId, Policy, distinct};

/// What a step may know of the world besides its event (ADR 32).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Now.
    pub now: Monotonic,
    /// A fresh draw, uniform in [0, 1), for full jitter.
    pub draw: f64,
}

/// One step: the next state, and what the shell is to start, in this order.
#[must_use]
pub(crate) fn step(state: State, event: Event, policy: &Policy, moment: Moment) -> (State, Vec<Effect>) {
    let State { phase, memory } = state;
    let mut turn = Turn { policy, moment, memory, effects: Vec::new() };
    let phase = transition(&mut turn, phase, event);
    (State { phase, memory: turn.memory }, turn.effects)
}

/// When the shell is to send `Event::Tick`; to be asked again after every step.
#[must_use]
pub const fn deadline(state: &State) -> Option<Monotonic> {
    match &state.phase {
        Phase::Searching(Search { progress: Progress::Delayed { until }, .. }) => Some(*until),
        Phase::Open(_, Stage::Monitored(Some(Watch { due, .. }))) => Some(*due),
        Phase::Waiting(Wait { retry_at, .. }) => *retry_at,
        _ => None,
    }
}

fn transition(turn: &mut Turn<'_>, phase: Phase, event: Event) -> Phase {
    if event.epoch().is_some() && event.epoch() != phase.live_epoch() {
        return stale(turn, phase, event);
    }
    match (phase, event) {
        (Phase::Stopped, _late) => Phase::Stopped,
        (phase, Event::Stop) => stop(turn, phase),
        (phase, Event::CentralNodesChanged(centrals)) => relist(turn, phase, centrals),
        (Phase::Idle, Event::Start) => pass::from_the_top(turn, Outage::default()),
        (Phase::Idle, _early) => Phase::Idle,
        (Phase::Searching(search), event) => pass::on_event(turn, search, event),
        (Phase::Waiting(wait), event) => pass::on_wait_event(turn, wait, &event),
        (Phase::Open(session, stage), event) => session::on_event(turn, session, stage, event),
    }
}

/// An event of an attempt or session that is over changes nothing. A session won by an attempt that was abandoned in
/// the same instant is given back, so that the central node does not keep it until it expires.
fn stale(turn: &mut Turn<'_>, phase: Phase, event: Event) -> Phase {
    if let Event::ConnectOk { epoch, info } = event {
        let given_out = (1..=turn.memory.epoch).contains(&epoch);
        let in_use = matches!(&phase, Phase::Open(Session { id, .. }, _) if *id == info.session);
        if given_out && !in_use && phase != Phase::Stopped {
            session::close(turn, epoch, info.session, DisconnectReason::Error);
        }
    }
    phase
}

fn stop(turn: &mut Turn<'_>, phase: Phase) -> Phase {
    match phase {
        Phase::Searching(Search { progress, .. }) => pass::abandon(turn, &progress),
        Phase::Open(Session { epoch, id, .. }, _) => {
            session::close(turn, epoch, id, DisconnectReason::Shutdown);
        }
        Phase::Idle | Phase::Waiting(_) | Phase::Stopped => {}
    }
    Phase::Stopped
}

/// The list of central nodes changed: stay where the peer is, if that is still a central node.
fn relist(turn: &mut Turn<'_>, phase: Phase, centrals: Vec<CentralId>) -> Phase {
    turn.memory.centrals = distinct(centrals);
    let listed = &turn.memory.centrals;
    turn.memory.refusals.retain(|central, _| listed.contains(central));
    match phase {
        Phase::Idle | Phase::Stopped => phase,
        Phase::Searching(search) => pass::recast(turn, search),
        Phase::Waiting(wait) => pass::restart(turn, wait),
        Phase::Open(session, _) if !turn.memory.centrals.contains(&session.central) => {
            session::fail_over(turn, session, Cause::Delisted)
        }
        Phase::Open(session, Stage::Fresh) => Phase::Open(session, Stage::Fresh),
        Phase::Open(session, Stage::Monitored(_)) => {
            let watch = failback::watch(turn, &session.central);
            Phase::Open(session, Stage::Monitored(watch))
        }
    }
}

#[cfg(test)]
mod tests;
