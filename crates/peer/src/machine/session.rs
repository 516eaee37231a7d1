//! With a session: heartbeats, sync faults, and the ways in which a session ends.

use std::time::Duration;

use super::{
    effect::{Cause, DisconnectReason, Effect, Report, SyncPlan},
    event::{Action, Event, Fault},
    failback, pass,
    phase::{Beat, Departure, Outage, Session, SessionId, Stage},
    state::Phase,
    turn::Turn,
};
use crate::failover::{full_jitter, order_after, order_from, round_base};

/// An event during a session; what belongs to another session has been sorted out before.
pub(super) fn on_event(turn: &mut Turn<'_>, mut session: Session, stage: Stage, event: Event) -> Phase {
    match (event, stage) {
        (Event::HeartbeatAcked { action, .. }, stage) => acked(turn, session, stage, action),
        (Event::HeartbeatMissed { .. }, stage) => missed(turn, session, stage),
        (Event::ConnectionLost { loss, .. }, _) => fail_over(turn, session, Cause::ConnectionLost(loss)),
        (Event::SessionRejected { .. }, _) => fail_over(turn, session, Cause::SessionRejected),
        (Event::SyncSucceeded { .. }, stage) => {
            session.sync_failures = 0;
            turn.memory.refusals.remove(&session.central);
            Phase::Open(session, stage)
        }
        (Event::SyncFailed { fault, message, .. }, stage) => {
            sync_failed(turn, session, stage, fault, message)
        }
        (Event::ReplicaDiverged { .. }, stage) => {
            turn.emit(Effect::SyncNow { epoch: session.epoch, plan: SyncPlan::Full });
            Phase::Open(session, stage)
        }
        (Event::ReconnectRequested, _) => fail_over(turn, session, Cause::Requested),
        (event, Stage::Monitored(Some(watch))) => failback::on_event(turn, session, watch, &event),
        (_late, stage) => Phase::Open(session, stage),
    }
}

fn acked(turn: &mut Turn<'_>, mut session: Session, stage: Stage, action: Action) -> Phase {
    let epoch = session.epoch;
    match action {
        Action::Failover => return fail_over(turn, session, Cause::Advised),
        Action::Reconnect => return fail_over(turn, session, Cause::SessionRejected),
        Action::ReduceFrequency => {
            session.beat = Beat::Slowed;
            turn.emit(Effect::SlowHeartbeat { epoch });
        }
        Action::None | Action::Sync => {
            if session.beat == Beat::Slowed {
                session.beat = Beat::Normal;
                turn.emit(Effect::NormalHeartbeat { epoch });
            }
            if action == Action::Sync {
                turn.emit(Effect::SyncNow { epoch, plan: SyncPlan::Resume });
            }
        }
    }
    session.missed = 0;
    let stage = match stage {
        Stage::Fresh => Stage::Monitored(failback::watch(turn, &session.central)),
        monitored @ Stage::Monitored(_) => monitored,
    };
    Phase::Open(session, stage)
}

fn missed(turn: &mut Turn<'_>, mut session: Session, stage: Stage) -> Phase {
    session.missed = session.missed.saturating_add(1);
    if session.missed >= turn.policy.max_missed {
        return fail_over(turn, session, Cause::HeartbeatTimeout);
    }
    turn.report(Report::HeartbeatMissed { central: session.central.clone(), missed: session.missed });
    Phase::Open(session, stage)
}

fn sync_failed(
    turn: &mut Turn<'_>,
    mut session: Session,
    stage: Stage,
    fault: Fault,
    message: String,
) -> Phase {
    if fault == Fault::Refused {
        turn.refuse(&session.central);
        return fail_over(turn, session, Cause::Refused);
    }
    if fault == Fault::Fatal {
        turn.report(Report::ConfigurationFault { central: session.central.clone(), message });
    }
    session.sync_failures = session.sync_failures.saturating_add(1);
    if session.sync_failures >= turn.policy.max_sync_failures {
        return fail_over(turn, session, Cause::SyncFailed);
    }
    Phase::Open(session, stage)
}

/// Ends the session and looks for another one (protocol section 6.2, failover steps).
pub(super) fn fail_over(turn: &mut Turn<'_>, session: Session, cause: Cause) -> Phase {
    let centrals = &turn.memory.centrals;
    let order = match cause {
        Cause::SessionRejected => order_from(centrals, &session.central),
        Cause::Requested | Cause::Delisted => centrals.clone(),
        _ => order_after(centrals, &session.central),
    };
    let delay = first_dial_delay(turn, &session, cause);
    let outage = leave(turn, session, cause);
    pass::begin(turn, order, delay, outage)
}

/// Ends the session for a cause that is followed by a pass.
pub(super) fn leave(turn: &mut Turn<'_>, session: Session, cause: Cause) -> Outage {
    let Session { epoch, central: from, id, .. } = session;
    close(turn, epoch, id, cause.disconnect_reason());
    Outage { departure: Some(Departure { from, cause, noticed_at: turn.now() }), isolation: None }
}

/// Goodbye, then the end of the session's tasks.
pub(super) fn close(turn: &mut Turn<'_>, epoch: u64, session: SessionId, reason: DisconnectReason) {
    turn.emit(Effect::Disconnect { epoch, session, reason });
    turn.emit(Effect::CloseSession { epoch });
}

/// None as a rule. Two things hold back the first dial: the policy's jitter after a lost connection, and sessions
/// that keep ending as soon as they are open, which would otherwise make the peer circle at full speed. A refused register
/// holds back nothing and counts for nothing: its central node is barred, longer each time, and others are not to blame.
fn first_dial_delay(turn: &mut Turn<'_>, session: &Session, cause: Cause) -> Duration {
    if matches!(cause, Cause::Requested | Cause::Delisted | Cause::Refused) {
        return Duration::ZERO;
    }
    let short = turn.now().since(session.since) < turn.policy.settle_after;
    turn.memory.short_sessions = if short { turn.memory.short_sessions.saturating_add(1) } else { 0 };
    let settling = match turn.memory.short_sessions.checked_sub(2) {
        Some(round) => round_base(turn.policy, round),
        None => Duration::ZERO,
    };
    let spread = match cause {
        Cause::ConnectionLost(_) => turn.policy.failover_jitter,
        _ => Duration::ZERO,
    };
    full_jitter(settling.max(spread), turn.moment.draw)
}
