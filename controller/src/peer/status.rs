//! How peers stand: a function of spec, pods and the peers' own reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use sorcha_crds::{
    SorchaPeer, SorchaPeerStatus,
    conditions::{
        self, CONNECTED, ConditionStatus, Finding, HISTORY_INTACT, ISOLATED, PROGRESSING, READY, SPLIT_BRAIN,
        SYNCED,
    },
    peer::PeerReport,
};

use super::{
    certificate,
    observe::{self, Observed},
};
use crate::{
    context::Ctx,
    names::{self, Component},
    reconcile::{Error, Progress, paused_finding, short},
    reports,
    workload::{is_ready, is_running, is_settled, why_not_ready},
};

/// `freshAsOf` alone is not worth a write before it has moved this far, seconds: an unchanged peer costs at most one
/// write a minute, its own report every two minutes included (ADR 39).
const FRESH_STEP: i64 = 110;
/// Condition messages name at most this many pods.
const NAMED: usize = 3;

/// What one peer is, in the eyes of the controller: a pod that does not run has no state, whatever it said last.
pub(super) struct Replica {
    pub(super) name: String,
    running: bool,
    pub(super) report: Option<PeerReport>,
    /// What in its report can't be true.
    fault: Option<String>,
}

impl Replica {
    fn state(&self) -> &str {
        match self.report.as_ref().and_then(|report| report.state.as_deref()) {
            _ if !self.running => "Down",
            Some(state) => state,
            None => "Starting",
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state(), "Connected" | "HeartbeatMonitoring")
    }

    /// Why replication does not work.
    fn replication_fault(&self) -> Option<&str> {
        self.report.as_ref()?.replication_fault.as_deref().filter(|_| self.is_connected())
    }

    fn is_synced(&self) -> bool {
        self.is_connected()
            && self.fault.is_none()
            && self.report.as_ref().is_some_and(|report| report.lag == Some(0))
    }
}

/// States from worst to best.
const ORDER: [&str; 7] =
    ["Down", "Starting", "Isolated", "Disconnected", "Connecting", "Connected", "HeartbeatMonitoring"];

/// The controller's part of the status.
pub(super) fn status(
    peer: &SorchaPeer,
    observed: &Observed,
    ctx: &Ctx,
    result: &Result<Progress, Error>,
    now: &Time,
) -> SorchaPeerStatus {
    let before = peer.status.clone().unwrap_or_default();
    let replicas = replicas(peer, observed, observe::head(&ctx.caches, peer), now);
    let reports = || replicas.iter().filter_map(|replica| replica.report.as_ref());
    let all = |value: fn(&PeerReport) -> Option<i64>| {
        let values: Option<Vec<i64>> =
            replicas.iter().map(|replica| value(replica.report.as_ref()?)).collect();
        values.unwrap_or_default()
    };
    let count = |wanted: fn(&Replica) -> bool| {
        i32::try_from(replicas.iter().filter(|replica| wanted(replica)).count()).unwrap_or(i32::MAX)
    };
    let held = observed.stateful_set.as_ref().and_then(|set| set.status.as_ref());
    let fresh: Option<Vec<_>> =
        replicas.iter().map(|replica| Some(replica.report.as_ref()?.fresh_as_of.as_ref()?.0)).collect();
    let rtt = reports().filter_map(|report| report.rtt_ms).reduce(f64::max);
    let certificate = certificate::found(peer, observed, ctx, result, now);
    let mut findings = findings(peer, observed, &replicas, result);
    findings.push(certificate.finding);
    findings.push(paused_finding(result));
    SorchaPeerStatus {
        observed_generation: peer.metadata.generation,
        replicas: Some(held.map_or(0, |status| status.replicas)),
        ready_replicas: Some(observed.ready),
        ready: Some(format!("{}/{}", observed.ready, peer.spec.replicas)),
        connected: Some(count(|replica| replica.is_connected())),
        isolated: Some(count(|replica| replica.state() == "Isolated")),
        state: state(&replicas),
        central: common(
            replicas
                .iter()
                .filter(|r| r.is_connected())
                .filter_map(|r| r.report.as_ref()?.central_node.clone()),
            "mixed",
        ),
        min_version: all(|report| report.version).into_iter().min(),
        max_lag: all(|report| report.lag).into_iter().max(),
        fresh_as_of: fresh.unwrap_or_default().into_iter().min().map(Time),
        failovers: Some(reports().filter_map(|report| report.failovers).fold(0, i64::saturating_add)),
        rtt: rtt.map(|ms| format!("{ms:.1}ms")),
        digest: common(reports().filter_map(|report| report.digest.as_deref().map(short)), "differs"),
        force_resync: resync_done(peer, &replicas).or(before.force_resync),
        certificate: certificate.certificate,
        selector: Some(names::selector_text(Component::Peer, &peer.name_any())),
        nodes: Vec::new(),
        conditions: conditions::merge(&before.conditions, findings, peer.metadata.generation, now),
    }
}

pub(super) fn replicas(
    peer: &SorchaPeer,
    observed: &Observed,
    head: Option<i64>,
    now: &Time,
) -> Vec<Replica> {
    let told: &[PeerReport] = peer.status.as_ref().map_or(&[], |status| &status.nodes);
    (0..peer.spec.replicas)
        .map(|ordinal| {
            let name = names::pod(&peer.name_any(), ordinal);
            let running = observed.pods.get(&name).is_some_and(|pod| is_running(pod));
            let told = told.iter().find(|report| report.name == name);
            let told = told.map(|report| reports::peer(report, head, now));
            let (report, fault) = told.map_or((None, None), |told| (Some(told.report), told.fault));
            Replica { name, running, report, fault }
        })
        .collect()
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

fn findings(
    peer: &SorchaPeer,
    observed: &Observed,
    replicas: &[Replica],
    result: &Result<Progress, Error>,
) -> Vec<Finding> {
    vec![
        ready(peer, observed, replicas, result),
        progressing(observed, result),
        every(replicas, CONNECTED, "Connected", "NotConnected", |replica| replica.is_connected()),
        synced(replicas),
        isolated(replicas),
        split_brain(replicas),
        history_intact(replicas),
    ]
}

fn ready(
    peer: &SorchaPeer,
    observed: &Observed,
    replicas: &[Replica],
    result: &Result<Progress, Error>,
) -> Finding {
    if let Err(error) = result {
        return Finding::new(READY, false, error.reason(), error.to_string());
    }
    let wanted = peer.spec.replicas;
    if observed.ready < wanted {
        let first = replicas.iter().find(|r| !observed.pods.get(&r.name).is_some_and(|pod| is_ready(pod)));
        let (reason, why) =
            first.map_or(("PodMissing", String::new()), |replica| not_ready(replica, observed));
        let message = format!("{} of {wanted} replicas are ready; {why}", observed.ready);
        return Finding::new(READY, false, reason, message);
    }
    if !observed.stateful_set.as_deref().is_some_and(is_settled) {
        return Finding::new(READY, false, "Updating", "replicas are being replaced, one at a time");
    }
    Finding::new(READY, true, "Serving", format!("{wanted} of {wanted} replicas serve reads"))
}

/// Why a replica is not ready: what it says itself is better than what the kubelet says.
fn not_ready(replica: &Replica, observed: &Observed) -> (&'static str, String) {
    let told = replica.report.as_ref().and_then(|report| report.message.as_deref());
    match told {
        Some(message) if replica.running => ("NotServing", format!("{}: {message}", replica.name)),
        _ => why_not_ready(observed.pods.get(&replica.name).map(AsRef::as_ref)),
    }
}

fn progressing(observed: &Observed, result: &Result<Progress, Error>) -> Finding {
    match result {
        Err(error) => {
            Finding::new(PROGRESSING, false, error.reason(), "stopped by the fault that Ready tells")
        }
        Ok(Progress::Paused(_)) => Finding::new(PROGRESSING, false, "Suspended", ""),
        Ok(_) if observed.stateful_set.as_deref().is_some_and(is_settled) => {
            Finding::new(PROGRESSING, false, "Settled", "")
        }
        Ok(_) => Finding::new(PROGRESSING, true, "RollingOut", "pods are coming up"),
    }
}

/// True when it holds of every replica; else the message names some of those of which it does not.
fn every(
    replicas: &[Replica],
    type_: &'static str,
    good: &'static str,
    bad: &'static str,
    holds: fn(&Replica) -> bool,
) -> Finding {
    let not: Vec<&Replica> = replicas.iter().filter(|replica| !holds(replica)).collect();
    if not.is_empty() {
        return Finding::new(type_, true, good, format!("{} of {} replicas", replicas.len(), replicas.len()));
    }
    if replicas.iter().all(|replica| replica.report.is_none()) {
        return Finding::new(type_, ConditionStatus::Unknown, "NoReport", "no replica has reported yet");
    }
    Finding::new(type_, false, bad, format!("not {}: {}", type_.to_lowercase(), named(&not)))
}

/// Every replica holds its central node's newest version, and gets those to come. A report that can't be true says nothing of
/// what a replica holds.
fn synced(replicas: &[Replica]) -> Finding {
    let lying = replicas.iter().find_map(|replica| Some((&replica.name, replica.fault.as_ref()?)));
    if let Some((pod, fault)) = lying {
        let message = format!("pod {pod} reports what can't be true: {fault}");
        return Finding::new(SYNCED, false, "ImplausibleReport", message);
    }
    let failing = replicas.iter().find_map(|replica| Some((&replica.name, replica.replication_fault()?)));
    if let Some((pod, why)) = failing {
        return Finding::new(SYNCED, false, "ReplicationFailed", format!("{pod}: {why}"));
    }
    every(replicas, SYNCED, "Synced", "Behind", Replica::is_synced)
}

fn named(replicas: &[&Replica]) -> String {
    let shown: Vec<String> =
        replicas.iter().take(NAMED).map(|r| format!("{} ({})", r.name, r.state())).collect();
    match replicas.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn isolated(replicas: &[Replica]) -> Finding {
    let cut_off: Vec<&Replica> = replicas.iter().filter(|r| r.state() == "Isolated").collect();
    if cut_off.is_empty() {
        return Finding::new(ISOLATED, false, "NotIsolated", "no replica is cut off");
    }
    let message = format!(
        "{} of {} replicas reach no central node and serve the last good register: {}",
        cut_off.len(),
        replicas.len(),
        named(&cut_off)
    );
    Finding::new(ISOLATED, true, "NoCentralNode", message)
}

fn split_brain(replicas: &[Replica]) -> Finding {
    let met = replicas.iter().find_map(|replica| {
        let central = replica.report.as_ref()?.split_brain.as_ref().filter(|_| replica.running)?;
        Some((replica.name.clone(), central.clone()))
    });
    match met {
        None => Finding::new(SPLIT_BRAIN, false, "OneLineage", ""),
        Some((peer, central)) => Finding::new(
            SPLIT_BRAIN,
            true,
            "ForeignLineage",
            format!(
                "{central} holds a register of another lineage than {peer}; nothing was merged (`sorcha-node register adopt`)"
            ),
        ),
    }
}

/// No central node contradicts what a replica holds, and none has lost it.
fn history_intact(replicas: &[Replica]) -> Finding {
    let reports =
        || replicas.iter().filter(|replica| replica.running).filter_map(|replica| replica.report.as_ref());
    let refused = reports().find_map(|report| Some((report, report.refused.as_deref()?)));
    let ahead = reports().find_map(|report| Some((report, report.ahead?)));
    match (refused, ahead) {
        (Some((report, central)), _) => {
            let why = report.refusal.as_deref().unwrap_or("the node's log says what");
            let message = format!(
                "the register of {central} contradicts what {} holds, and nothing of it is taken: {why}",
                report.name
            );
            Finding::new(HISTORY_INTACT, false, "RegisterRefused", message)
        }
        (None, Some((report, by))) => {
            let central = report.central_node.as_deref().unwrap_or("its central node");
            let message = format!(
                "{} is ahead of {central} by {by} versions: that register has lost what the replica holds, or can't be read there",
                report.name
            );
            Finding::new(HISTORY_INTACT, false, "AheadOfCentralNode", message)
        }
        (None, None) if reports().next().is_none() => {
            let message = "no replica has reported yet";
            Finding::new(HISTORY_INTACT, ConditionStatus::Unknown, "NoReport", message)
        }
        (None, None) => Finding::new(HISTORY_INTACT, true, "Intact", "what was replicated is as it was"),
    }
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
