//! What holds at every step of [`machine`](super::machine): pure predicates for tests, simulation and
//! `debug_assert!` in the shell.
//!
//! ```text
//! debug_assert_eq!(violated(&Step { before: &before, event: &event, after: &after, .. }), Vec::<&str>::new());
//! ```

use sorcha_register::clock::Monotonic;

use super::{
    failover::{CentralId, Policy},
    machine::{
        deadline,
        effect::{Effect, Report},
        event::Event,
        phase::{Progress, Search},
        state::{PeerState, Phase, State},
    },
};

/// One step of the machine, as seen from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    /// The state it started from.
    pub before: &'a State,
    /// The event it was given.
    pub event: &'a Event,
    /// The policy it was given.
    pub policy: &'a Policy,
    /// The instant it was given.
    pub now: Monotonic,
    /// The state it left.
    pub after: &'a State,
    /// What it asked for.
    pub effects: &'a [Effect],
}

/// A predicate over one step.
pub(crate) type Invariant = fn(&Step<'_>) -> bool;

/// All invariants, by name.
pub(crate) const ALL: [(&str, Invariant); 12] = [
    ("one_connection", one_connection),
    ("goodbye_then_close", goodbye_then_close),
    ("epoch_never_falls", epoch_never_falls),
    ("dials_listed_nodes", dials_listed_nodes),
    ("obeys_retry_hints", obeys_retry_hints),
    ("stale_is_ignored", stale_is_ignored),
    ("stopped_for_good", stopped_for_good),
    ("isolation_is_told_once", isolation_is_told_once),
    ("isolated_without_session", isolated_without_session),
    ("misses_below_limit", misses_below_limit),
    ("nodes_tried_once_a_pass", nodes_tried_once_a_pass),
    ("never_stuck", never_stuck),
];

/// Names of the invariants that a step breaks; none, if all is well.
#[must_use]
pub(crate) fn violated(step: &Step<'_>) -> Vec<&'static str> {
    ALL.iter().filter(|(_, holds)| !holds(step)).map(|(name, _)| *name).collect()
}

/// At most one attempt or session at any point within the step (protocol section 6.2): whatever is live is abandoned, closed or
/// over before the next dial, effects address only what is live, and the state agrees with the effects in the end.
#[must_use]
pub(crate) fn one_connection(step: &Step<'_>) -> bool {
    let mut live = match step.event {
        Event::ConnectFailed { epoch, .. } if is_dialling(step.before, *epoch) => None,
        _ => step.before.live_epoch(),
    };
    for effect in step.effects {
        let (allowed, next) = match effect {
            Effect::Dial { epoch, .. } => (live.is_none(), Some(*epoch)),
            Effect::AbandonDial { epoch } => (live == Some(*epoch), None),
            Effect::CloseSession { epoch } if live == Some(*epoch) => (true, None),
            // A session that came too late is given back beside the live one.
            Effect::CloseSession { epoch } | Effect::Disconnect { epoch, .. } => {
                (live == Some(*epoch) || step.event.epoch() == Some(*epoch), live)
            }
            Effect::OpenSession { epoch, .. }
            | Effect::SyncNow { epoch, .. }
            | Effect::SlowHeartbeat { epoch }
            | Effect::NormalHeartbeat { epoch }
            | Effect::Probe { epoch, .. } => (live == Some(*epoch), live),
            Effect::Report(_) => (true, live),
        };
        if !allowed {
            return false;
        }
        live = next;
    }
    live == step.after.live_epoch()
}

fn is_dialling(state: &State, attempt: u64) -> bool {
    matches!(
        &state.phase,
        Phase::Searching(Search { progress: Progress::Dialling { epoch, .. }, .. }) if *epoch == attempt
    )
}

/// A goodbye and the end of its session come together and in this order, before any dial (protocol section 6.2,
/// failover steps).
#[must_use]
pub(crate) fn goodbye_then_close(step: &Step<'_>) -> bool {
    let mut effects = step.effects.iter();
    while let Some(effect) = effects.next() {
        match effect {
            Effect::Disconnect { epoch, .. }
                if effects.next() != Some(&Effect::CloseSession { epoch: *epoch }) =>
            {
                return false;
            }
            Effect::CloseSession { .. } => return false,
            _ => {}
        }
    }
    true
}

/// Epochs rise: each dial takes a greater one than any before, and the memory never falls.
#[must_use]
pub(crate) fn epoch_never_falls(step: &Step<'_>) -> bool {
    let mut newest = step.before.memory.epoch;
    for effect in step.effects {
        if let Effect::Dial { epoch, .. } = effect {
            if *epoch <= newest {
                return false;
            }
            newest = *epoch;
        }
    }
    step.after.memory.epoch == newest && step.after.live_epoch().is_none_or(|live| live == newest)
}

/// Nobody outside the list is dialled, probed or kept as the central node.
#[must_use]
pub(crate) fn dials_listed_nodes(step: &Step<'_>) -> bool {
    let listed = |central: &CentralId| step.after.memory.centrals.contains(central);
    let asked = step.effects.iter().all(|effect| match effect {
        Effect::Dial { central, .. } | Effect::Probe { central, .. } => listed(central),
        _ => true,
    });
    asked && step.after.session().is_none_or(|session| listed(&session.central))
}

/// A node that said when to come back is not dialled sooner (ADR 36).
#[must_use]
pub(crate) fn obeys_retry_hints(step: &Step<'_>) -> bool {
    step.effects.iter().all(|effect| match effect {
        Effect::Dial { central, .. } => {
            step.before.memory.barred.get(central).is_none_or(|until| step.now >= *until)
        }
        _ => true,
    })
}

/// An event of another epoch leaves the state as it was.
#[must_use]
pub(crate) fn stale_is_ignored(step: &Step<'_>) -> bool {
    let stale = step.event.epoch().is_some_and(|epoch| step.before.live_epoch() != Some(epoch));
    !stale || step.before == step.after
}

/// Nothing follows a stop.
#[must_use]
pub(crate) fn stopped_for_good(step: &Step<'_>) -> bool {
    step.before.phase != Phase::Stopped || (step.after == step.before && step.effects.is_empty())
}

/// Isolation is reported exactly when the public state enters it, or leaves it for a session (protocol section 6.4).
#[must_use]
pub(crate) fn isolation_is_told_once(step: &Step<'_>) -> bool {
    let count = |wanted: fn(&Report) -> bool| {
        step.effects.iter().filter(|e| matches!(e, Effect::Report(report) if wanted(report))).count()
    };
    let entered = count(|report| matches!(report, Report::EnteredIsolated));
    let left = count(|report| matches!(report, Report::LeftIsolated { .. }));
    let before = step.before.isolated_since();
    let after = step.after.isolated_since();
    let opened = step.after.session().is_some();
    let continues = match (before, after) {
        (Some(since), Some(still)) => since == still,
        (Some(_), None) => opened || step.after.phase == Phase::Stopped,
        (None, _) => true,
    };
    continues
        && entered == usize::from(before.is_none() && after.is_some())
        && left == usize::from(before.is_some() && opened)
}

/// An isolated peer has no session, and a peer with a session shows it.
#[must_use]
pub(crate) fn isolated_without_session(step: &Step<'_>) -> bool {
    let shown = matches!(step.after.peer_state(), PeerState::Connected | PeerState::HeartbeatMonitoring);
    shown == step.after.session().is_some()
        && (step.after.peer_state() == PeerState::Isolated) == step.after.isolated_since().is_some()
}

/// A session with too many misses or failed syncs does not exist (protocol D7).
#[must_use]
pub(crate) fn misses_below_limit(step: &Step<'_>) -> bool {
    step.after.session().is_none_or(|session| {
        session.missed < step.policy.max_missed.max(1)
            && session.sync_failures < step.policy.max_sync_failures.max(1)
    })
}

/// A pass tries a node once: none is both behind and ahead of it.
#[must_use]
pub(crate) fn nodes_tried_once_a_pass(step: &Step<'_>) -> bool {
    let Phase::Searching(Search { queue, tally, .. }) = &step.after.phase else {
        return true;
    };
    let mut nodes: Vec<_> = tally.tried.iter().chain(queue).collect();
    let all = nodes.len();
    nodes.sort();
    nodes.dedup();
    nodes.len() == all
}

/// Something always moves the peer on: an attempt or session whose end is an event, or a deadline. Only a peer that
/// is not running or knows no central node may rest.
#[must_use]
pub(crate) fn never_stuck(step: &Step<'_>) -> bool {
    let resting = matches!(step.after.phase, Phase::Idle | Phase::Stopped);
    let alone = step.after.memory.centrals.is_empty() && step.after.isolated_since().is_some();
    let moving = step.after.live_epoch().is_some() || deadline(step.after).is_some();
    resting || if alone { !moving } else { moving }
}
