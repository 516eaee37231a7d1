//! How a central node stands: a function of spec, objects, pod and the node's own report.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use sorcha_crds::{
    SorchaCentralNode, SorchaCentralNodeStatus,
    central_node::{CentralNodeReport, PeerCounts},
    conditions::{
        self, CONVERGED, ConditionStatus, Finding, PEERS_LAGGING, PROGRESSING, READY, REGISTER_VALID,
        STORE_REACHABLE,
    },
};

use super::{
    backups, lineages,
    observe::{CentralWorld, is_live},
    publishers,
};
use crate::{
    names,
    network::{self, Endpoint},
    pki::finding::{self, Found},
    reconcile::{Error, Progress, paused_finding, short},
    reports,
    workload::{is_ready, is_settled, why_not_ready},
};

/// The controller's part of the status.
pub(super) fn status(
    node: &SorchaCentralNode,
    world: &CentralWorld,
    result: &Result<Progress, Error>,
    now: &Time,
) -> SorchaCentralNodeStatus {
    let before = node.status.clone().unwrap_or_default();
    let told = before.node.as_ref().map(|told| reports::central(told, world.network.head(Some(node))));
    let (last, fault) = told.map_or((None, None), |told| (Some(told.report), told.fault));
    let report = last.as_ref().filter(|report| is_live(node, report, world.pod.as_deref()));
    let converged =
        lineages::finding(world, node, report).unwrap_or_else(|| converged(report, fault.as_deref(), world));
    let lineage = last.as_ref().and_then(|report| report.lineage.as_deref()).map(short);
    let version = last.as_ref().and_then(|report| report.version);
    let reached = reached(&before, lineage.as_ref(), version);
    let is_converged = converged.status == ConditionStatus::True;
    let Found { certificate, finding } = certificate(node, world, report, result, now);
    let backup = node.spec.backup.is_some().then(|| backups::status(world.backup.as_deref()));
    let mut findings = findings(node, world, report, result, [converged, finding]);
    findings.extend(backup.as_ref().map(backups::finding));
    let service = world.services.get(&node.name_any()).map(|service| &**service);
    let endpoint = network::external(node, &world.network.namespace, service);
    SorchaCentralNodeStatus {
        observed_generation: node.metadata.generation,
        endpoint: endpoint.as_ref().map(Endpoint::address),
        peers: Some(report.map(|report| report.peers).unwrap_or_default()),
        version,
        converged_version: if is_converged { version.max(reached) } else { reached },
        lineage,
        digest: last.as_ref().and_then(|report| report.digest.as_deref()).map(short),
        certificate,
        backup,
        node: None,
        conditions: conditions::merge(&before.conditions, findings, node.metadata.generation, now),
    }
}

fn findings(
    node: &SorchaCentralNode,
    world: &CentralWorld,
    report: Option<&CentralNodeReport>,
    result: &Result<Progress, Error>,
    [converged, certificate]: [Finding; 2],
) -> Vec<Finding> {
    vec![
        ready(node, world, report, result),
        progressing(world, result),
        store_reachable(report),
        register_valid(report),
        converged,
        publishers::finding(node, &world.reviews),
        certificate,
        paused_finding(result),
    ]
}

/// How its certificate stands, and which one its process uses.
fn certificate(
    node: &SorchaCentralNode,
    world: &CentralWorld,
    report: Option<&CentralNodeReport>,
    result: &Result<Progress, Error>,
    now: &Time,
) -> Found {
    let pod = names::pod(&node.name_any(), 0);
    let uses: Vec<_> =
        report.map(|report| (pod.as_str(), report.certificate_not_after.as_ref())).into_iter().collect();
    finding::found(&world.tls, &uses, result, now.0)
}

/// The highest version that all peers were known to hold. What was reached in one register says nothing of another one, and
/// nothing was reached beyond the register's head, whatever was once reported.
fn reached(before: &SorchaCentralNodeStatus, lineage: Option<&String>, head: Option<i64>) -> Option<i64> {
    let same = lineage == before.lineage.as_ref();
    before.converged_version.filter(|reached| same && head.is_none_or(|head| *reached <= head))
}

fn ready(
    node: &SorchaCentralNode,
    world: &CentralWorld,
    report: Option<&CentralNodeReport>,
    result: &Result<Progress, Error>,
) -> Finding {
    let pod_ready = world.pod.as_deref().is_some_and(is_ready);
    match result {
        Err(error) => return Finding::new(READY, false, error.reason(), error.to_string()),
        Ok(Progress::WaitingFor(other)) => {
            let message = format!("serving with the previous spec; waits until {other} is ready again");
            return Finding::new(READY, false, "WaitingForTurn", message);
        }
        Ok(Progress::Applied | Progress::Paused(_)) => {}
    }
    if !pod_ready {
        let told = report.and_then(|report| {
            let message = report.store_message.clone().or_else(|| report.message.clone())?;
            Some((
                if report.store_reachable == Some(false) { "StoreUnreachable" } else { "NotServing" },
                message,
            ))
        });
        let (reason, message) = told.unwrap_or_else(|| why_not_ready(world.pod.as_deref()));
        return Finding::new(READY, false, reason, message);
    }
    if !world.stateful_set.as_deref().is_some_and(is_settled) {
        return Finding::new(READY, false, "Updating", "the pod is being replaced");
    }
    Finding::new(READY, true, "Serving", format!("{} accepts peers", network::hostname(node)))
}

fn progressing(world: &CentralWorld, result: &Result<Progress, Error>) -> Finding {
    match result {
        Err(error) => Finding::new(
            PROGRESSING,
            false,
            error.reason(),
            "stopped by the fault that the condition Ready names",
        ),
        Ok(Progress::WaitingFor(other)) => {
            Finding::new(PROGRESSING, true, "WaitingForTurn", format!("after {other}"))
        }
        Ok(Progress::Paused(_)) => Finding::new(PROGRESSING, false, "Suspended", ""),
        Ok(Progress::Applied) if world.stateful_set.as_deref().is_some_and(is_settled) => {
            Finding::new(PROGRESSING, false, "Settled", "")
        }
        Ok(Progress::Applied) => Finding::new(PROGRESSING, true, "RollingOut", "the pod is coming up"),
    }
}

fn store_reachable(report: Option<&CentralNodeReport>) -> Finding {
    match report.and_then(|report| report.store_reachable) {
        None => {
            Finding::new(STORE_REACHABLE, ConditionStatus::Unknown, "NoReport", "the node has not reported")
        }
        Some(true) => Finding::new(STORE_REACHABLE, true, "Reachable", "the store answers"),
        Some(false) => {
            let why = report.and_then(|report| report.store_message.clone()).unwrap_or_default();
            let starting = report.is_some_and(|report| report.state == "Starting");
            let so = if starting {
                "the node waits for its store"
            } else {
                "publications are refused, peers are served from the log"
            };
            let message = format!("{so}: {why}");
            Finding::new(STORE_REACHABLE, false, "Unreachable", message)
        }
    }
}

/// Reasons that a node may give for a database which does not hold its register any more.
const REGISTER_FAULTS: [&str; 3] = ["RegisterLost", "RegisterExchanged", "RegisterRolledBack"];

fn register_valid(report: Option<&CentralNodeReport>) -> Finding {
    if let Some(fault) = report.and_then(|report| report.register_fault.as_deref()) {
        let reason = REGISTER_FAULTS.into_iter().find(|known| *known == fault).unwrap_or("RegisterExchanged");
        let why = report.and_then(|report| report.message.clone()).unwrap_or_default();
        return Finding::new(REGISTER_VALID, false, reason, why);
    }
    if let Some(why) = report.and_then(|report| report.refusal.as_deref()) {
        let message = format!(
            "the store contradicts what the node serves; the node does not serve that, and publications are refused: {why}"
        );
        return Finding::new(REGISTER_VALID, false, "Contradicted", message);
    }
    match report.and_then(|report| report.findings) {
        None => Finding::new(
            REGISTER_VALID,
            ConditionStatus::Unknown,
            "NoReport",
            "the register was not checked yet",
        ),
        Some(0) => Finding::new(REGISTER_VALID, true, "Verified", "every stored byte was checked at start"),
        Some(findings) => {
            let why = report.and_then(|report| report.message.clone()).unwrap_or_default();
            let message = format!(
                "the integrity check has {findings} findings; mend the register by `sorcha-node register restore` or `reseed`: {why}"
            );
            Finding::new(REGISTER_VALID, false, "Damaged", message)
        }
    }
}

/// Every connected peer holds the newest version. The message and `convergedVersion` tell which.
fn converged(report: Option<&CentralNodeReport>, fault: Option<&str>, world: &CentralWorld) -> Finding {
    let Some(report) = report.filter(|_| world.is_ready()) else {
        return Finding::new(
            CONVERGED,
            ConditionStatus::Unknown,
            "NotServing",
            "the node does not serve peers",
        );
    };
    if let Some(fault) = fault {
        let message = format!("pod {} reports what can't be true: {fault}", report.name);
        return Finding::new(CONVERGED, ConditionStatus::Unknown, "ImplausibleReport", message);
    }
    let PeerCounts { connected, up_to_date, lagging } = report.peers;
    let version = report.version.unwrap_or_default();
    if up_to_date >= connected {
        let message = format!("all {connected} connected peers hold version {version}");
        return Finding::new(CONVERGED, true, "Converged", message);
    }
    let message = format!("{up_to_date} of {connected} connected peers hold version {version}");
    if lagging > 0 {
        let message = format!(
            "{message}; {lagging} have been behind for too long: the node's log and GET /api/peers say which"
        );
        return Finding::new(CONVERGED, false, PEERS_LAGGING, message);
    }
    Finding::new(CONVERGED, false, "Replicating", message)
}
