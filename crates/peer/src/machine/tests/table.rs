//! The whole transition table: each kind of state against each kind of event. `table.txt` is the specification; it is
//! written for people and compared to the letter, so that an unintended change shows as a changed line.

use std::fmt::Write as _;

use super::*;
use crate::{
    failover::Failback,
    machine::{
        effect::SyncPlan,
        phase::{Beat, Progress, Search, Session, Stage, Wait, Watch},
        state::Phase,
    },
};

const LEGEND: &str = "\
state (public state, value of its gauge)
  event -> next state | effects
[n1 n2]: the nodes still to be tried in the pass; #2: the epoch; CAPITALS: a report
";

/// Each kind of state, reached the way a peer reaches it.
fn states() -> Vec<(&'static str, Peer)> {
    let mut dialling = Peer::new();
    dialling.start();
    let mut held = Peer::monitoring(Policy { failover_jitter: secs(3.0), ..Policy::default() });
    held.advance(100.0);
    held.lose();
    let mut fresh = Peer::new();
    fresh.start();
    fresh.accept();
    let mut retrying = Peer::isolated();
    retrying.tick();
    let mut alone = Peer::knowing("");
    alone.start();
    let mut stopped = Peer::monitoring(Policy::default());
    stopped.send(Event::Stop);
    vec![
        ("idle", Peer::new()),
        ("connecting, n0 in flight", dialling),
        ("connecting, held back", held),
        ("connected to n0", fresh),
        ("monitoring n0", Peer::monitoring(Policy::default())),
        ("monitoring n0, one miss, two failed syncs, slowed", strained()),
        ("monitoring n1, probing n0 for the second time", probing()),
        ("isolated, waiting", Peer::isolated()),
        ("isolated, n0 in flight", retrying),
        ("isolated, without central nodes", alone),
        ("stopped", stopped),
    ]
}

fn strained() -> Peer {
    let mut peer = Peer::monitoring(Policy::default());
    peer.ack(Action::ReduceFrequency);
    peer.miss();
    peer.fail_sync(Fault::Passing);
    peer.fail_sync(Fault::Passing);
    peer
}

fn probing() -> Peer {
    let mut peer = Peer::with(Policy { failback: Failback::AfterStable(secs(600.0)), ..Policy::default() });
    peer.start();
    peer.refuse();
    peer.accept();
    peer.ack(Action::None);
    peer.tick();
    peer.probe("n0", true);
    peer.tick();
    peer
}

/// Each kind of event, made for the peer's own epoch.
fn events(peer: &Peer) -> Vec<(&'static str, Event)> {
    let mut events = vec![
        ("start", Event::Start),
        ("list n2 n1 n0", Event::CentralNodesChanged(nodes("n2 n1 n0"))),
        ("list n3", Event::CentralNodesChanged(nodes("n3"))),
        ("list empty", Event::CentralNodesChanged(Vec::new())),
        ("reconnect", Event::ReconnectRequested),
        ("tick early", Event::Tick),
        ("tick", Event::Tick),
        ("stop", Event::Stop),
    ];
    events.extend(attempt_events(peer.epoch()));
    events.extend(session_events(peer.epoch()));
    events
}

fn attempt_events(epoch: u64) -> Vec<(&'static str, Event)> {
    let ok = |lineage| Event::ConnectOk { epoch, info: info(epoch, lineage) };
    let failed = |fault, retry_after: Option<f64>| Event::ConnectFailed {
        epoch,
        fault,
        message: "refused".into(),
        retry_after: retry_after.map(secs),
    };
    vec![
        ("connect ok, same lineage", ok(LineageMatch::Same)),
        ("connect ok, first visit", ok(LineageMatch::FirstVisit)),
        ("connect ok, no lineage", ok(LineageMatch::Unknown)),
        ("connect ok, foreign lineage", ok(LineageMatch::Foreign)),
        ("connect failed", failed(Fault::Passing, None)),
        ("connect failed, retry after 9 s", failed(Fault::Passing, Some(9.0))),
        ("connect failed for good", failed(Fault::Fatal, None)),
        ("connect refused by the peer", failed(Fault::Refused, None)),
    ]
}

fn session_events(epoch: u64) -> Vec<(&'static str, Event)> {
    let acked = |action| Event::HeartbeatAcked { epoch, action };
    let lost = |loss| Event::ConnectionLost { epoch, loss };
    let sync_failed = |fault| Event::SyncFailed { epoch, fault, message: "refused".into() };
    let n0 = CentralId::new("n0");
    vec![
        ("acked", acked(Action::None)),
        ("acked, sync", acked(Action::Sync)),
        ("acked, reduce frequency", acked(Action::ReduceFrequency)),
        ("acked, failover", acked(Action::Failover)),
        ("acked, reconnect", acked(Action::Reconnect)),
        ("missed", Event::HeartbeatMissed { epoch }),
        ("lost, closed", lost(Loss::Closed)),
        ("lost, unavailable", lost(Loss::Unavailable)),
        ("lost, keepalive", lost(Loss::Keepalive)),
        ("session rejected", Event::SessionRejected { epoch }),
        ("sync succeeded", Event::SyncSucceeded { epoch }),
        ("sync failed", sync_failed(Fault::Passing)),
        ("sync failed for good", sync_failed(Fault::Fatal)),
        ("sync refused by the peer", sync_failed(Fault::Refused)),
        ("diverged", Event::ReplicaDiverged { epoch }),
        ("probe ok", Event::ProbeOk { epoch, central: n0.clone() }),
        ("probe failed", Event::ProbeFailed { epoch, central: n0 }),
    ]
}

#[test]
fn every_state_against_every_event() {
    let mut table = LEGEND.to_owned();
    for (index, (state, peer)) in states().into_iter().enumerate() {
        let shown = peer.shown();
        writeln!(table, "\n{state} ({shown}, {})", shown.gauge()).unwrap_or_default();
        let mut ignored = Vec::new();
        for (name, event) in events(&peer) {
            let (_, mut peer) = states().swap_remove(index);
            let before = peer.state.clone();
            let effects = if name == "tick" { peer.tick() } else { peer.send(event) };
            if peer.state == before && effects.is_empty() {
                ignored.push(name);
            } else {
                let effects: Vec<_> = effects.iter().map(effect_text).collect();
                let after = phase_text(&peer);
                let line = format!("  {name:31} -> {after:44} | {}", effects.join(", "));
                writeln!(table, "{}", line.trim_end_matches([' ', '|'])).unwrap_or_default();
            }
        }
        write!(table, "  nothing happens on").unwrap_or_default();
        for line in ignored.chunks(7) {
            write!(table, "\n    {};", line.join("; ")).unwrap_or_default();
        }
        table.push('\n');
    }
    assert!(table == include_str!("table.txt"), "the table is now:\n{table}");
}

/// Same states, same events, but of an attempt or session that is over: nothing changes.
#[test]
fn every_state_ignores_events_of_the_past_and_the_future() {
    for (index, (state, peer)) in states().iter().enumerate() {
        for epoch in [0, 1, peer.epoch() + 1, u64::MAX] {
            for (name, event) in events(peer) {
                let Some(event) = event.epoch().map(|_| with_epoch(event, epoch)) else {
                    continue;
                };
                if peer.state.live_epoch() == Some(epoch) {
                    continue;
                }
                let (_, mut peer) = states().swap_remove(index);
                let before = peer.state.clone();
                let effects = peer.send(event);
                assert_eq!(peer.state, before, "{state}: {name}");
                let given_back = |effect: &Effect| match effect {
                    Effect::Disconnect { epoch: of, .. } | Effect::CloseSession { epoch: of } => *of == epoch,
                    _ => false,
                };
                assert!(effects.iter().all(given_back), "{state}: {name}: {effects:?}");
            }
        }
    }
}

/// The event, as an attempt or session of another epoch would have sent it.
pub(super) fn with_epoch(event: Event, epoch: u64) -> Event {
    match event {
        Event::ConnectOk { mut info, .. } => {
            info.session = SessionId::new(format!("s{epoch}"));
            Event::ConnectOk { epoch, info }
        }
        Event::ConnectFailed { fault, message, retry_after, .. } => {
            Event::ConnectFailed { epoch, fault, message, retry_after }
        }
        Event::HeartbeatAcked { action, .. } => Event::HeartbeatAcked { epoch, action },
        Event::HeartbeatMissed { .. } => Event::HeartbeatMissed { epoch },
        Event::ConnectionLost { loss, .. } => Event::ConnectionLost { epoch, loss },
        Event::SessionRejected { .. } => Event::SessionRejected { epoch },
        Event::SyncSucceeded { .. } => Event::SyncSucceeded { epoch },
        Event::SyncFailed { fault, message, .. } => Event::SyncFailed { epoch, fault, message },
        Event::ReplicaDiverged { .. } => Event::ReplicaDiverged { epoch },
        Event::ProbeOk { central, .. } => Event::ProbeOk { epoch, central },
        Event::ProbeFailed { central, .. } => Event::ProbeFailed { epoch, central },
        other @ (Event::Start
        | Event::CentralNodesChanged(_)
        | Event::ReconnectRequested
        | Event::Tick
        | Event::Stop) => other,
    }
}

fn phase_text(peer: &Peer) -> String {
    let names = |centrals: &mut dyn Iterator<Item = &CentralId>| {
        centrals.map(CentralId::as_str).collect::<Vec<_>>().join(" ")
    };
    match &peer.state.phase {
        Phase::Idle => format!("idle [{}]", names(&mut peer.state.memory.centrals.iter())),
        Phase::Stopped => "stopped".into(),
        Phase::Searching(Search { progress, queue, .. }) => {
            let step = match progress {
                Progress::Delayed { .. } => format!("held {:.1} s", peer.wait().unwrap_or(-1.0)),
                Progress::Dialling { central, .. } => central.to_string(),
            };
            format!("{} {step} [{}]", peer.shown(), names(&mut queue.iter()))
        }
        Phase::Waiting(Wait { isolation, .. }) => match peer.wait() {
            Some(wait) => format!("Isolated, waits {wait:.1} s, {} failed", isolation.rounds),
            None => "Isolated for want of nodes".into(),
        },
        Phase::Open(session, stage) => format!("{} {}", peer.shown(), session_text(session, stage)),
    }
}

fn session_text(session: &Session, stage: &Stage) -> String {
    let mut text = session.central.to_string();
    if session.missed > 0 {
        text += &format!(" missed={}", session.missed);
    }
    if session.sync_failures > 0 {
        text += &format!(" unsynced={}", session.sync_failures);
    }
    if session.beat == Beat::Slowed {
        text += " slowed";
    }
    if let Stage::Monitored(Some(Watch { awaiting, passed, .. })) = stage {
        text += &awaiting.as_ref().map_or(String::new(), |central| format!(" probes {central}"));
        text += &passed.as_ref().map_or(String::new(), |p| format!(" {} ok={}", p.central, p.times));
    }
    text
}

fn effect_text(effect: &Effect) -> String {
    let plan = |plan: &SyncPlan| format!("{plan:?}").to_lowercase();
    match effect {
        Effect::Dial { epoch, central } => format!("dial {central} #{epoch}"),
        Effect::AbandonDial { epoch } => format!("abandon #{epoch}"),
        Effect::OpenSession { epoch, sync, .. } => format!("open #{epoch} {}", plan(sync)),
        Effect::Disconnect { epoch, reason, .. } => format!("goodbye #{epoch} {reason:?}"),
        Effect::CloseSession { epoch } => format!("close #{epoch}"),
        Effect::SyncNow { plan: how, .. } => format!("sync {}", plan(how)),
        Effect::SlowHeartbeat { .. } => "slow down".into(),
        Effect::NormalHeartbeat { .. } => "normal pace".into(),
        Effect::Probe { central, .. } => format!("probe {central}"),
        Effect::Report(report) => match report {
            Report::EnteredIsolated => "ENTERED ISOLATION".into(),
            Report::LeftIsolated { .. } => "LEFT ISOLATION".into(),
            Report::SplitBrain { central } => format!("SPLIT BRAIN {central}"),
            Report::ConfigurationFault { central, .. } => format!("CONFIGURATION FAULT {central}"),
            Report::HeartbeatMissed { central, missed } => format!("MISSED {missed} by {central}"),
            Report::FailedOver { from, to, .. } => format!("FAILED OVER {from} to {to}"),
            Report::Reconnected { central, .. } => format!("RECONNECTED {central}"),
        },
    }
}
