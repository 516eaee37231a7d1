//! How peers stand: a function of spec, pods and the peers' own reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use sorcha_crds::{SorchaPeer, SorchaPeerStatus, conditions, peer::PeerReport};

use super::{
    findings::findings,
    observe::PeerWorld,
    replica::{Replica, replicas},
};
use crate::{
    names::{self, Component},
    pki::finding::{self, Found, Use},
    reconcile::{Error, Progress, short},
    workload::is_running,
};

/// `freshAsOf` alone is not worth a write before it has moved this far, seconds: an unchanged peer costs at most one
/// write a minute, its own report every two minutes included (ADR 39).
const FRESH_STEP: i64 = 110;

/// States from worst to best.
const ORDER: [&str; 7] =
    ["Down", "Starting", "Isolated", "Disconnected", "Connecting", "Connected", "HeartbeatMonitoring"];

/// The controller's part of the status.
pub(super) fn status(
    peer: &SorchaPeer,
    world: &PeerWorld,
    result: &Result<Progress, Error>,
    now: &Time,
) -> SorchaPeerStatus {
    let before = peer.status.clone().unwrap_or_default();
    let replicas = replicas(peer, world, now);
    let Found { certificate, finding } = certificate(peer, world, result, now);
    let findings = findings(peer, world, &replicas, result, finding);
    let set = world.stateful_set.as_ref().and_then(|set| set.status.as_ref());
    SorchaPeerStatus {
        observed_generation: peer.metadata.generation,
        replicas: Some(set.map_or(0, |status| status.replicas)),
        ready_replicas: Some(world.ready),
        ready: Some(format!("{}/{}", world.ready, peer.spec.replicas)),
        force_resync: resync_done(peer, &replicas).or(before.force_resync),
        certificate,
        selector: Some(names::selector_text(Component::Peer, &peer.name_any())),
        nodes: Vec::new(),
        conditions: conditions::merge(&before.conditions, findings, peer.metadata.generation, now),
        ..reported(&replicas)
    }
}

/// What follows from the peers' reports alone.
fn reported(replicas: &[Replica]) -> SorchaPeerStatus {
    let reports = || replicas.iter().filter_map(|replica| replica.report.as_ref());
    let all = |value: fn(&PeerReport) -> Option<i64>| {
        let values: Option<Vec<i64>> =
            replicas.iter().map(|replica| value(replica.report.as_ref()?)).collect();
        values.unwrap_or_default()
    };
    let count = |wanted: fn(&Replica) -> bool| {
        i32::try_from(replicas.iter().filter(|replica| wanted(replica)).count()).unwrap_or(i32::MAX)
    };
    let fresh: Option<Vec<_>> =
        replicas.iter().map(|replica| Some(replica.report.as_ref()?.fresh_as_of.as_ref()?.0)).collect();
    let connected = replicas.iter().filter(|replica| replica.is_connected());
    let rtt = reports().filter_map(|report| report.rtt_ms).reduce(f64::max);
    SorchaPeerStatus {
        connected: Some(count(|replica| replica.is_connected())),
        isolated: Some(count(|replica| replica.state() == "Isolated")),
        state: state(replicas),
        central: common(connected.filter_map(|r| r.report.as_ref()?.central_node.clone()), "mixed"),
        min_version: all(|report| report.version).into_iter().min(),
        max_lag: all(|report| report.lag).into_iter().max(),
        fresh_as_of: fresh.unwrap_or_default().into_iter().min().map(Time),
        failovers: Some(reports().filter_map(|report| report.failovers).fold(0, i64::saturating_add)),
        rtt: rtt.map(|ms| format!("{ms:.1}ms")),
        digest: common(reports().filter_map(|report| report.digest.as_deref().map(short)), "differs"),
        ..SorchaPeerStatus::default()
    }
}

/// How their certificate stands: theirs, and whether the central nodes that are published for them fit.
fn certificate(peer: &SorchaPeer, world: &PeerWorld, result: &Result<Progress, Error>, now: &Time) -> Found {
    let reports = peer.status.iter().flat_map(|status| &status.nodes);
    let running = reports.filter(|report| world.pods.get(&report.name).is_some_and(|pod| is_running(pod)));
    let uses: Vec<Use<'_>> =
        running.map(|report| (report.name.as_str(), report.certificate_not_after.as_ref())).collect();
    finding::found(&world.tls, &uses, result, now.0)
}

/// The state of all, or the worst one with its count.
fn state(replicas: &[Replica]) -> Option<String> {
    let rank = |replica: &Replica| ORDER.iter().position(|state| *state == replica.state()).unwrap_or(0);
    let worst = replicas.iter().min_by_key(|replica| rank(replica))?.state().to_owned();
    let so = replicas.iter().filter(|replica| replica.state() == worst).count();
    Some(if so == replicas.len() { worst } else { format!("{worst} {so}/{}", replicas.len()) })
}

fn common(mut values: impl Iterator<Item = String>, otherwise: &str) -> Option<String> {
    let first = values.next()?;
    Some(if values.all(|value| value == first) { first } else { otherwise.to_owned() })
}

fn resync_done(peer: &SorchaPeer, replicas: &[Replica]) -> Option<String> {
    let wanted = peer.spec.force_resync.as_ref()?;
    let done =
        |replica: &Replica| replica.report.as_ref().is_some_and(|r| r.force_resync.as_ref() == Some(wanted));
    (!replicas.is_empty() && replicas.iter().all(done)).then(|| wanted.clone())
}

/// Whether a change is worth a write: freshness and round trips move all the time.
pub(super) fn differs(before: &SorchaPeerStatus, after: &SorchaPeerStatus) -> bool {
    let steady =
        |status: &SorchaPeerStatus| SorchaPeerStatus { fresh_as_of: None, rtt: None, ..status.clone() };
    if steady(before) != steady(after) {
        return true;
    }
    match (&before.fresh_as_of, &after.fresh_as_of) {
        (Some(then), Some(now)) => (now.0.as_second() - then.0.as_second()).abs() >= FRESH_STEP,
        (then, now) => then.is_some() != now.is_some(),
    }
}
