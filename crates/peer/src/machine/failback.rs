//! The way back to a better central node: probe the better ones in turn, and move after enough successes in a row
//! (ADR 33).

use super::{
    effect::{Cause, Effect},
    event::Event,
    pass,
    phase::{Passed, Session, Stage, Watch},
    session,
    state::Phase,
    turn::Turn,
};
use crate::failover::{CentralId, Failback, order_back_to};

/// A watch for better nodes than `central`; none when the policy wants none or there is no better one.
pub(super) fn watch(turn: &Turn<'_>, central: &CentralId) -> Option<Watch> {
    match turn.policy.failback {
        Failback::AfterStable(stable) if better_than(turn, central).next().is_some() => {
            Some(Watch { due: turn.now().plus(stable), awaiting: None, passed: None })
        }
        _ => None,
    }
}

fn better_than<'a>(turn: &'a Turn<'_>, central: &'a CentralId) -> impl Iterator<Item = &'a CentralId> {
    turn.memory.centrals.iter().take_while(move |c| *c != central)
}

/// An event of the watch; all others are ignored.
pub(super) fn on_event(turn: &mut Turn<'_>, session: Session, watch: Watch, event: &Event) -> Phase {
    match event {
        Event::Tick if turn.now() >= watch.due => start_round(turn, session, watch),
        Event::ProbeOk { central, .. } if watch.awaiting.as_ref() == Some(central) => {
            passed(turn, session, watch, central)
        }
        Event::ProbeFailed { central, .. } if watch.awaiting.as_ref() == Some(central) => {
            failed(turn, session, watch, central)
        }
        _late => keep(session, watch),
    }
}

const fn keep(session: Session, watch: Watch) -> Phase {
    Phase::Open(session, Stage::Monitored(Some(watch)))
}

/// Probes the best node first, every time. A probe still unanswered from the round before has failed.
fn start_round(turn: &mut Turn<'_>, session: Session, mut watch: Watch) -> Phase {
    if let Some(silent) = watch.awaiting.take() {
        forget(&mut watch, &silent);
    }
    let first = better_than(turn, &session.central).next().cloned();
    probe(turn, session, watch, first)
}

/// Asks the candidate; without one the round is over.
fn probe(turn: &mut Turn<'_>, session: Session, watch: Watch, candidate: Option<CentralId>) -> Phase {
    if let Some(central) = candidate.clone() {
        turn.emit(Effect::Probe { epoch: session.epoch, central });
    }
    let due = turn.now().plus(turn.policy.probe_interval);
    keep(session, Watch { due, awaiting: candidate, ..watch })
}

fn passed(turn: &mut Turn<'_>, session: Session, watch: Watch, central: &CentralId) -> Phase {
    let before = watch.passed.filter(|passed| passed.central == *central).map_or(0, |passed| passed.times);
    let passed = Passed { central: central.clone(), times: before.saturating_add(1) };
    if passed.times >= turn.policy.probe_successes {
        return move_to(turn, session, central);
    }
    probe(turn, session, Watch { passed: Some(passed), ..watch }, None)
}

/// A failure costs the node its successes; the next better one gets its chance in the same round.
fn failed(turn: &mut Turn<'_>, session: Session, mut watch: Watch, central: &CentralId) -> Phase {
    forget(&mut watch, central);
    let next = better_than(turn, &session.central).skip_while(|c| *c != central).nth(1).cloned();
    probe(turn, session, watch, next)
}

fn forget(watch: &mut Watch, central: &CentralId) {
    if watch.passed.as_ref().is_some_and(|passed| passed.central == *central) {
        watch.passed = None;
    }
}

/// Break before make, since a peer has one connection at a time (protocol section 6.2): the node just left is the second choice.
fn move_to(turn: &mut Turn<'_>, session: Session, target: &CentralId) -> Phase {
    let order = order_back_to(&turn.memory.centrals, target, &session.central);
    let outage = session::leave(turn, session, Cause::Failback);
    pass::begin(turn, order, std::time::Duration::ZERO, outage)
}
