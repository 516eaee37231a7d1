//! What is found of peers: a function of spec, pods and the peers' own reports.

use sorcha_crds::{
    SorchaPeer,
    conditions::{
        CONNECTED, ConditionStatus, Finding, HISTORY_INTACT, ISOLATED, PROGRESSING, READY, SPLIT_BRAIN,
        SYNCED,
    },
};

use super::{observe::PeerWorld, replica::Replica};
use crate::{
    reconcile::{Error, Progress, paused_finding},
    workload::{is_ready, is_settled, why_not_ready},
};

/// Condition messages name at most this many pods.
const NAMED: usize = 3;

pub(super) fn findings(
    peer: &SorchaPeer,
    world: &PeerWorld,
    replicas: &[Replica],
    result: &Result<Progress, Error>,
    certificate: Finding,
) -> Vec<Finding> {
    vec![
        ready(peer, world, replicas, result),
        progressing(world, result),
        every(replicas, CONNECTED, "Connected", "NotConnected", |replica| replica.is_connected()),
        synced(replicas),
        isolated(replicas),
        split_brain(replicas),
        history_intact(replicas),
        certificate,
        paused_finding(result),
    ]
}

fn ready(
    peer: &SorchaPeer,
    world: &PeerWorld,
    replicas: &[Replica],
    result: &Result<Progress, Error>,
) -> Finding {
    if let Err(error) = result {
        return Finding::new(READY, false, error.reason(), error.to_string());
    }
    let wanted = peer.spec.replicas;
    if world.ready < wanted {
        let first = replicas.iter().find(|r| !world.pods.get(&r.name).is_some_and(|pod| is_ready(pod)));
        let (reason, why) = first.map_or(("PodMissing", String::new()), |replica| not_ready(replica, world));
        let message = format!("{} of {wanted} replicas are ready; {why}", world.ready);
        return Finding::new(READY, false, reason, message);
    }
    if !world.stateful_set.as_deref().is_some_and(is_settled) {
        return Finding::new(READY, false, "Updating", "replicas are being replaced, one at a time");
    }
    Finding::new(READY, true, "Serving", format!("{wanted} of {wanted} replicas serve reads"))
}

/// Why a replica is not ready: what it says itself is better than what the kubelet says.
fn not_ready(replica: &Replica, world: &PeerWorld) -> (&'static str, String) {
    let told = replica.report.as_ref().and_then(|report| report.message.as_deref());
    match told {
        Some(message) if replica.running => ("NotServing", format!("{}: {message}", replica.name)),
        _ => why_not_ready(world.pods.get(&replica.name).map(AsRef::as_ref)),
    }
}

fn progressing(world: &PeerWorld, result: &Result<Progress, Error>) -> Finding {
    match result {
        Err(error) => Finding::new(
            PROGRESSING,
            false,
            error.reason(),
            "stopped by the fault that the condition Ready names",
        ),
        Ok(Progress::Paused(_)) => Finding::new(PROGRESSING, false, "Suspended", ""),
        Ok(_) if world.stateful_set.as_deref().is_some_and(is_settled) => {
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
        (None, None) => {
            Finding::new(HISTORY_INTACT, true, "Intact", "no central node contradicts what the replicas hold")
        }
    }
}
