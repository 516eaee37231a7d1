//! The whole transition table: each kind of state against each kind of event. `table.txt` is the specification; it is
//! written for people and compared to the letter, so that an unintended change shows as a changed line.

use std::fmt::Write as _;

use super::*;
use crate::{
    replication::state::Patience,
    status::{PullEvent, PushEvent, ReplicationEvent, StatusEvent},
};

const LEGEND: &str = "\
state
  event -> next state | effects
Settings: a pull every 300 s, the push stream open again after 5 s, another central node after 3 failures. Times count from the event on.
May push: the push stream may be opened. UPPER CASE: an event for the connection's machine; lower case: what is logged, shown and woken.
";

/// Each kind of state, reached the way a session reaches it.
fn states() -> Vec<(&'static str, Trial)> {
    let begins = |full| SyncEvent::PullBegins { full, damaged: false };
    let complete = || [begins(false), SyncEvent::PullFetched, SyncEvent::PullEnded(PullOutcome::Complete)];
    let level = Trial::begin(SyncPlan::Resume, Relation::Level, true);
    let behind = Trial::begin(SyncPlan::Resume, Relation::Unproven, true);
    let empty = Trial::begin(SyncPlan::Full, Relation::Open, true);
    let steady = behind.after(0, complete()).after(1, [SyncEvent::PushOpened { sound: true }]);
    let stalled = || SyncEvent::PushClosed(Closing::Stalled { why: "why".into(), central_nodes: 2 });
    let failed = |fault| SyncEvent::PullEnded(PullOutcome::Failed(failure(fault, None)));
    let central = SyncFault::Central(Fault::Passing);
    vec![
        ("level with the central node", level),
        ("level, something is to be put right", Trial::begin(SyncPlan::Resume, Relation::Level, false)),
        ("behind the central node", behind),
        ("nothing held", empty),
        ("pulling what is newer", behind.after(0, [begins(false)])),
        ("pulling everything", empty.after(0, [begins(true)])),
        (
            "pulling everything, what is pushed waits",
            empty.after(0, [begins(true), SyncEvent::PushArrived { received: 10 }]),
        ),
        ("pulled and pushed to, 100 s after the pull", steady.after(99, [])),
        (
            "two syncs failed",
            behind.after(0, [begins(false), failed(central.clone()), begins(false), failed(central)]),
        ),
        (
            "ahead of the central node",
            behind.after(0, [begins(false), SyncEvent::PullEnded(PullOutcome::Behind)]),
        ),
        ("two pushes stalled", steady.after(99, [stalled(), stalled()])),
        (
            "what was pushed could not be taken",
            steady.after(99, [SyncEvent::PushFailed(failure(SyncFault::Blameless, None))]),
        ),
    ]
}

/// Each kind of event that can happen while a pull runs, or while none does.
fn events(is_pulling: bool) -> Vec<(&'static str, SyncEvent)> {
    let mut events = if is_pulling { ends_of_pull() } else { beginnings_of_pull() };
    events.extend(push_events());
    events
}

fn beginnings_of_pull() -> Vec<(&'static str, SyncEvent)> {
    vec![
        ("pull begins", SyncEvent::PullBegins { full: false, damaged: false }),
        ("full pull begins", SyncEvent::PullBegins { full: true, damaged: false }),
        ("repair begins", SyncEvent::PullBegins { full: false, damaged: true }),
        ("pull died", SyncEvent::PullDied("why".into())),
    ]
}

fn ends_of_pull() -> Vec<(&'static str, SyncEvent)> {
    let ended = SyncEvent::PullEnded;
    let failed = |fault, hint| SyncEvent::PullEnded(PullOutcome::Failed(failure(fault, hint)));
    vec![
        ("pull has fetched", SyncEvent::PullFetched),
        ("pull complete", ended(PullOutcome::Complete)),
        ("pull: it is behind", ended(PullOutcome::Behind)),
        ("pull diverged", ended(PullOutcome::Diverged)),
        ("pull overtaken", ended(PullOutcome::Overtaken)),
        ("pull failed", failed(SyncFault::Central(Fault::Passing), None)),
        ("pull failed, retry after 90 s", failed(SyncFault::Central(Fault::Passing), Some(hint(90)))),
        ("pull failed for good", failed(SyncFault::Central(Fault::Fatal), None)),
        ("pull limited, retry after 90 s", failed(SyncFault::Blameless, Some(hint(90)))),
        ("pull stalled", failed(SyncFault::Stalled, None)),
        ("pull refused by the peer", failed(refused(), None)),
        ("pull lost its connection", failed(SyncFault::Lost(Loss::Closed), None)),
        ("pull: session rejected", failed(SyncFault::Rejected, None)),
        ("pull died", SyncEvent::PullDied("why".into())),
    ]
}

fn push_events() -> Vec<(&'static str, SyncEvent)> {
    let closed = SyncEvent::PushClosed;
    let failed = |fault| SyncEvent::PushFailed(failure(fault, None));
    vec![
        ("push opened", SyncEvent::PushOpened { sound: true }),
        ("push opened, more is missing", SyncEvent::PushOpened { sound: false }),
        ("pushed", SyncEvent::PushArrived { received: 10 }),
        ("pushed, held, nothing pulled", SyncEvent::PushHeld { received: 10 }),
        ("pushed, held, some pulled", SyncEvent::PushHeld { received: 11 }),
        ("push stored", SyncEvent::PushStored),
        ("push notices something", SyncEvent::PushNoticed),
        ("push not taken", failed(SyncFault::Central(Fault::Passing))),
        ("push not stored", failed(SyncFault::Blameless)),
        ("push refused by the peer", failed(refused())),
        ("push ended", closed(Closing::Ended { retry_after: None })),
        ("push ended, retry after 60 s", closed(Closing::Ended { retry_after: Some(secs(60)) })),
        ("push not offered", closed(Closing::Unoffered)),
        ("push stalled", closed(Closing::Stalled { why: "why".into(), central_nodes: 2 })),
        ("push lost its connection", closed(Closing::Lost(Loss::Closed))),
        ("push: session rejected", closed(Closing::Rejected)),
        ("push died", SyncEvent::PushDied("why".into())),
    ]
}

#[test]
fn every_state_against_every_event() {
    let mut table = LEGEND.to_owned();
    for (name, before) in states() {
        writeln!(table, "\n{name} ({})", state_text(&before)).unwrap_or_default();
        let mut ignored = Vec::new();
        for (name, event) in events(before.state.pull_at().is_none()) {
            let mut ways = before;
            let effects = ways.send(event);
            if ways.state == before.state && effects.is_empty() {
                ignored.push(name);
                continue;
            }
            let effects: Vec<_> = effects.iter().map(effect_text).collect();
            let line = format!("  {name:30} -> {} | {}", state_text(&ways), effects.join(", "));
            writeln!(table, "{}", line.trim_end_matches([' ', '|'])).unwrap_or_default();
        }
        if !ignored.is_empty() {
            writeln!(table, "  nothing happens on\n    {};", ignored.join("; ")).unwrap_or_default();
        }
    }
    assert!(table == include_str!("table.txt"), "the table is now:\n{table}");
}

fn state_text(ways: &Trial) -> String {
    let (state, push) = (&ways.state, &ways.state.push);
    let until = |at: Monotonic| format!("{} s", at.since(ways.now).as_secs_f64());
    let mut text = match state.plan() {
        SyncPlan::Full => "full".to_owned(),
        SyncPlan::Resume => "resume".to_owned(),
    };
    text += &state.pull_at().map_or(" now running".to_owned(), |at| format!(" in {}", until(at)));
    text += if state.is_replacing { ", replacing" } else { "" };
    text += if state.may_push() { ", may push" } else { "" };
    text += &push.open_at.map_or(", open when asked".to_owned(), |at| format!(", open in {}", until(at)));
    for (count, what) in [(state.failures, "failed"), (push.stalls, "stalled"), (push.moves, "moved")] {
        text += &if count > 0 { format!(", {what}={count}") } else { String::new() };
    }
    text += if push.has_failed { ", not taken" } else { "" };
    text + match push.patience {
        Patience::Fresh => "",
        Patience::Waiting(_) => ", waits",
        Patience::Gone(_) => ", waits no more",
    }
}

fn effect_text(effect: &SyncEffect) -> String {
    match effect {
        SyncEffect::RetimePull => "retime".into(),
        SyncEffect::LetPush => "let push".into(),
        SyncEffect::LetStore => "let store".into(),
        SyncEffect::Hold(time) => format!("hold {} s", time.as_secs()),
        SyncEffect::Settle => "settle".into(),
        SyncEffect::Refuse(_) => "refuse".into(),
        SyncEffect::PullAgain { wait, .. } => format!("again in {} s", wait.as_secs_f64()),
        SyncEffect::PullInstead { wait, .. } => format!("pull instead in {} s", wait.as_secs_f64()),
        SyncEffect::OpenAgain { pause, .. } => format!("open again in {} s", pause.as_secs()),
        SyncEffect::Show(event) => format!("show {}", status_text(event)),
        SyncEffect::Tell(event) => match event {
            Event::SyncSucceeded { .. } => "SYNC SUCCEEDED".into(),
            Event::SyncFailed { fault, .. } => format!("SYNC FAILED {fault:?}"),
            Event::ConnectionLost { loss, .. } => format!("LOST {loss:?}"),
            Event::SessionRejected { .. } => "SESSION REJECTED".into(),
            other => format!("{other:?}"),
        },
    }
}

fn status_text(event: &StatusEvent) -> &'static str {
    match event {
        StatusEvent::Replication(ReplicationEvent::Works) => "works",
        StatusEvent::Replication(ReplicationEvent::Fails(_)) => "trouble",
        StatusEvent::Pull(PullEvent::Died(_)) => "pull died",
        StatusEvent::Push(PushEvent::Opened(_)) => "open",
        StatusEvent::Push(PushEvent::Closed) => "closed",
        StatusEvent::Push(PushEvent::Stalled(_)) => "stalled",
        StatusEvent::Push(PushEvent::Died(_)) => "push died",
        StatusEvent::Push(PushEvent::Failed(_)) => "not taken",
        StatusEvent::Push(PushEvent::Recovered) => "taken",
        _ => "?",
    }
}
