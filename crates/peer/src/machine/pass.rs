//! Without a session: passes over the central nodes, and the waits between them in isolation.

use std::{collections::VecDeque, time::Duration};

use super::{
    effect::{DisconnectReason, Effect, Report, SyncPlan},
    event::{Event, Fault, Holdings, LineageMatch, SessionInfo},
    phase::{Beat, Departure, Isolation, Outage, Progress, Search, Session, Stage, Tally, Wait},
    state::Phase,
    turn::Turn,
};
use crate::failover::{CentralId, Pace, wait_after_pass};

/// A pass over all central nodes in priority order, at once (ADR 33).
pub(super) fn from_the_top(turn: &mut Turn<'_>, outage: Outage) -> Phase {
    let order = turn.memory.centrals.clone();
    begin(turn, order, Duration::ZERO, outage)
}

/// A pass in the order given; `delay` holds back its first dial only.
pub(super) fn begin(turn: &mut Turn<'_>, order: Vec<CentralId>, delay: Duration, outage: Outage) -> Phase {
    let queue = VecDeque::from(order);
    if delay.is_zero() || queue.is_empty() {
        return advance(turn, queue, Tally::default(), outage);
    }
    let progress = Progress::Delayed { until: turn.now().plus(delay) };
    Phase::Searching(Search { progress, queue, tally: Tally::default(), outage })
}

/// Dials the next node that may be dialled; past the last one the pass has failed.
fn advance(turn: &mut Turn<'_>, mut queue: VecDeque<CentralId>, mut tally: Tally, outage: Outage) -> Phase {
    while let Some(central) = queue.pop_front() {
        tally.tried.push(central.clone());
        if turn.barred_for(&central).is_some() {
            tally.barred += 1;
            continue;
        }
        let epoch = turn.dial(&central);
        let progress = Progress::Dialling { epoch, central };
        return Phase::Searching(Search { progress, queue, tally, outage });
    }
    exhausted(turn, &tally, outage)
}

/// A whole pass without success: isolated, until the next one (protocol section 6.4).
fn exhausted(turn: &mut Turn<'_>, tally: &Tally, outage: Outage) -> Phase {
    let isolation = outage.isolation.unwrap_or_else(|| {
        turn.report(Report::EnteredIsolated);
        Isolation { since: turn.now(), rounds: 0 }
    });
    let retry_at = (!turn.memory.centrals.is_empty()).then(|| {
        let rounds = (isolation.rounds, turn.now().since(isolation.since));
        let wait = wait_after_pass(turn.policy, rounds, pace(tally), floor(turn, tally), turn.moment.draw);
        turn.now().plus(wait)
    });
    // A pass that hints kept from dialling anybody is no round.
    let dialled = u32::from(tally.tried.len() > tally.barred);
    let isolation = Isolation { rounds: isolation.rounds.saturating_add(dialled), ..isolation };
    Phase::Waiting(Wait { isolation, departure: outage.departure, retry_at })
}

fn pace(tally: &Tally) -> Pace {
    if tally.fatal > 0 && tally.fatal == tally.tried.len() { Pace::Slowest } else { Pace::Backoff }
}

/// The smallest hint given in the pass; where hints kept it from dialling anybody, the time to the first one's end.
fn floor(turn: &Turn<'_>, tally: &Tally) -> Option<Duration> {
    if tally.barred == tally.tried.len() {
        return turn.memory.centrals.iter().filter_map(|central| turn.barred_for(central)).min();
    }
    tally.hint
}

/// An event during a pass; what belongs to another attempt has been sorted out before.
pub(super) fn on_event(turn: &mut Turn<'_>, search: Search, event: Event) -> Phase {
    match (search.progress, event) {
        (Progress::Delayed { until }, Event::Tick) if turn.now() >= until => {
            advance(turn, search.queue, search.tally, search.outage)
        }
        (Progress::Dialling { epoch, central }, Event::ConnectOk { info, .. }) => {
            if info.lineage == LineageMatch::Foreign {
                refuse_foreign(turn, epoch, central, info);
                return advance(turn, search.queue, search.tally, search.outage);
            }
            open(turn, epoch, central, info, search.outage)
        }
        (Progress::Dialling { central, .. }, Event::ConnectFailed { fault, message, retry_after, .. }) => {
            let mut tally = search.tally;
            let refused = (fault == Fault::Refused).then(|| turn.refuse(&central));
            if let Some(hint) = refused.or_else(|| Some(turn.bar(&central, retry_after?))) {
                tally.hint = Some(tally.hint.map_or(hint, |least| least.min(hint)));
            }
            if fault == Fault::Fatal {
                tally.fatal += 1;
                turn.report(Report::ConfigurationFault { central, message });
            }
            advance(turn, search.queue, tally, search.outage)
        }
        (progress, Event::ReconnectRequested) => {
            abandon(turn, &progress);
            from_the_top(turn, search.outage)
        }
        (progress, _late) => Phase::Searching(Search { progress, ..search }),
    }
}

/// Drops the attempt in flight, if there is one.
pub(super) fn abandon(turn: &mut Turn<'_>, progress: &Progress) {
    if let Progress::Dialling { epoch, .. } = progress {
        turn.emit(Effect::AbandonDial { epoch: *epoch });
    }
}

/// Another lineage is never merged (ADR 26): leave it, and tell.
fn refuse_foreign(turn: &mut Turn<'_>, epoch: u64, central: CentralId, info: SessionInfo) {
    turn.emit(Effect::Disconnect { epoch, session: info.session, reason: DisconnectReason::Error });
    turn.emit(Effect::CloseSession { epoch });
    turn.memory.split_brain = Some(central.clone());
    turn.report(Report::SplitBrain { central });
}

fn open(turn: &mut Turn<'_>, epoch: u64, central: CentralId, info: SessionInfo, outage: Outage) -> Phase {
    if matches!(info.lineage, LineageMatch::Same | LineageMatch::FirstVisit) {
        turn.memory.split_brain = None;
    }
    let sync = sync_plan(&central, info.lineage, &info.replica);
    turn.emit(Effect::OpenSession { epoch, central: central.clone(), session: info.session.clone(), sync });
    if let Some(Isolation { since, .. }) = outage.isolation {
        turn.report(Report::LeftIsolated { since });
    }
    if let Some(departure) = outage.departure {
        turn.report(arrival(departure, central.clone()));
    }
    let session = Session {
        epoch,
        central,
        id: info.session,
        central_version: info.central_version,
        since: turn.now(),
        missed: 0,
        sync_failures: 0,
        beat: Beat::Normal,
    };
    Phase::Open(session, Stage::Fresh)
}

fn arrival(departure: Departure, to: CentralId) -> Report {
    let Departure { from, cause, noticed_at } = departure;
    if from == to {
        Report::Reconnected { central: to, cause, noticed_at }
    } else {
        Report::FailedOver { from, to, cause, noticed_at }
    }
}

/// Full only where the version held proves nothing at this node (ADR 41); a node of the original
/// contract proves nothing but its own checkpoint (protocol section 6.7, reset).
fn sync_plan(central: &CentralId, lineage: LineageMatch, replica: &Holdings) -> SyncPlan {
    match (replica, lineage) {
        (Holdings::Held { .. }, LineageMatch::Same) => SyncPlan::Resume,
        (Holdings::Held { checkpoint_of: Some(owner) }, LineageMatch::Unknown) if owner == central => {
            SyncPlan::Resume
        }
        _ => SyncPlan::Full,
    }
}

/// An event between two passes.
pub(super) fn on_wait_event(turn: &mut Turn<'_>, wait: Wait, event: &Event) -> Phase {
    let due = match event {
        Event::Tick => wait.retry_at.is_some_and(|at| turn.now() >= at),
        Event::ReconnectRequested => wait.retry_at.is_some(),
        _late => false,
    };
    if due { from_the_top(turn, wait.into_outage()) } else { Phase::Waiting(wait) }
}

/// A changed list during a pass: who has left is not tried, who is new is tried last, the attempt in flight goes on
/// unless its node has left.
pub(super) fn recast(turn: &mut Turn<'_>, search: Search) -> Phase {
    let Search { progress, mut queue, tally, outage } = search;
    queue.retain(|central| turn.memory.centrals.contains(central));
    let new = turn.memory.centrals.iter().filter(|c| !queue.contains(c) && !tally.tried.contains(c));
    let new: Vec<_> = new.cloned().collect();
    queue.extend(new);
    match &progress {
        Progress::Dialling { central, .. } if !turn.memory.centrals.contains(central) => {
            abandon(turn, &progress);
            advance(turn, queue, tally, outage)
        }
        Progress::Delayed { .. } if queue.is_empty() => advance(turn, queue, tally, outage),
        _ => Phase::Searching(Search { progress, queue, tally, outage }),
    }
}

/// A changed list between two passes: a new situation, so at once and with the delays from the start.
pub(super) fn restart(turn: &mut Turn<'_>, wait: Wait) -> Phase {
    let mut outage = wait.into_outage();
    outage.isolation = outage.isolation.map(|isolation| Isolation { rounds: 0, ..isolation });
    from_the_top(turn, outage)
}
