//! What is reported: pure functions from what a node knows to the report, and what of a change matters.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sorcha_central::CentralNode;
use sorcha_crds::{
    central_node::{CentralNodeReport, PeerCounts},
    peer::PeerReport,
};
use sorcha_http::Stage;
use sorcha_peer::{machine::state::PeerState, status::PeerStatus};
use sorcha_register::{clock::Timestamp, integrity, names::Version};
use sorcha_store::Loaded;

use super::Report;

/// Longest message, characters.
const MESSAGE_CHARS: usize = 512;
/// Stands for any instant, where only matters whether there is one.
const SOME_INSTANT: Time = Time(jiff::Timestamp::UNIX_EPOCH);

/// How much a new report differs from the one written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// In nothing worth a write.
    Nothing,
    /// The replica was fresh at a later instant, or a message goes into other details.
    Detail,
    /// Versions, digests, who is up to date: what publications move.
    Progress,
    /// The node went over into another state.
    Transition,
}

impl Report {
    /// The same with the end of the node's TLS certificate.
    #[must_use]
    pub(crate) fn with_certificate(mut self, not_after: Option<Timestamp>) -> Self {
        let at = not_after.and_then(time);
        match &mut self {
            Self::Peer(report) => report.certificate_not_after = at,
            Self::Central(report) => report.certificate_not_after = at,
        }
        self
    }

    /// The same with what is wrong with the node's tasks, where it has nothing else to say.
    #[must_use]
    pub(crate) fn with_trouble(mut self, trouble: Option<String>) -> Self {
        let message = match &mut self {
            Self::Peer(report) => &mut report.message,
            Self::Central(report) => &mut report.message,
        };
        *message = message.take().or_else(|| trouble.map(shortened));
        self
    }

    /// What changed since `before`.
    #[must_use]
    pub(crate) fn change_since(&self, before: &Self) -> Difference {
        match (before, self) {
            (Self::Peer(before), Self::Peer(after)) => {
                compare(before, after, [without_round_trip, without_details, without_progress])
            }
            (Self::Central(before), Self::Central(after)) => {
                compare(before, after, [CentralNodeReport::clone, without_texts, without_counts])
            }
            _ => Difference::Transition,
        }
    }
}

/// The first view under which the two are equal tells how little they differ.
fn compare<R: PartialEq>(before: &R, after: &R, views: [fn(&R) -> R; 3]) -> Difference {
    let changes = [Difference::Nothing, Difference::Detail, Difference::Progress];
    let equal = views.iter().position(|view| view(before) == view(after));
    equal.map_or(Difference::Transition, |first| changes[first])
}

fn without_round_trip(report: &PeerReport) -> PeerReport {
    PeerReport { rtt_ms: None, ..report.clone() }
}

fn without_details(report: &PeerReport) -> PeerReport {
    let mut kept = without_round_trip(report);
    kept.fresh_as_of = kept.fresh_as_of.map(|_| SOME_INSTANT);
    kept.message = kept.message.as_deref().map(headline);
    kept.replication_fault = kept.replication_fault.map(|_| String::new());
    kept
}

fn without_progress(report: &PeerReport) -> PeerReport {
    PeerReport {
        version: None,
        lag: None,
        ahead: report.ahead.map(|_| 0),
        refusal: None,
        digest: None,
        lineage: None,
        fresh_as_of: None,
        missed_heartbeats: None,
        message: None,
        replication_fault: report.replication_fault.as_ref().map(|_| String::new()),
        ..without_round_trip(report)
    }
}

fn without_texts(report: &CentralNodeReport) -> CentralNodeReport {
    let mut kept = report.clone();
    kept.message = kept.message.as_deref().map(headline);
    kept.store_message = kept.store_message.as_deref().map(headline);
    kept
}

fn without_counts(report: &CentralNodeReport) -> CentralNodeReport {
    let mut kept = report.clone();
    (kept.message, kept.store_message) = (None, None);
    (kept.version, kept.digest, kept.lineage) = (None, None, None);
    kept.peers.up_to_date = 0;
    kept
}

/// What a message says before it goes into details: everything up to the first colon.
fn headline(message: &str) -> String {
    message.split(':').next().unwrap_or_default().to_owned()
}

/// What a peer says of itself.
#[must_use]
pub(crate) fn peer_report(pod: &str, status: &PeerStatus, replica: &Loaded) -> PeerReport {
    let (view, heard) =
        (&replica.view, status.session_id.is_some() || status.central_version > Version::ZERO);
    PeerReport {
        name: pod.to_owned(),
        state: Some(status.state.as_str().to_owned()),
        since: time(status.since),
        central_node: status.central_node_id.clone(),
        version: Some(view.head().get()),
        lag: heard.then(|| status.lag(view.head())).filter(|_| status.ahead.is_none()),
        ahead: status.ahead_by(view.head()),
        refused: status.refused.as_ref().map(|refused| refused.central_node_id.clone()),
        refusal: status.refused.as_ref().map(|refused| shortened(refused.contradiction.to_string())),
        fresh_as_of: status.fresh_as_of.and_then(|moment| time(moment.wall)),
        missed_heartbeats: Some(i32::try_from(status.heartbeat.missed).unwrap_or(i32::MAX)),
        failovers: Some(i64::try_from(status.failovers).unwrap_or(i64::MAX)),
        rtt_ms: status.heartbeat.last_round_trip().map(|_| tenths(status.heartbeat.average_ms())),
        digest: Some(view.digest().to_string()),
        lineage: view.lineage().map(|lineage| lineage.to_string()),
        split_brain: status.split_brain.clone(),
        findings: Some(count(replica.findings.len())),
        replication_fault: status.replication_trouble().map(|why| shortened(why.to_owned())),
        force_resync: status.force_resync.clone(),
        message: trouble(status, replica).map(shortened),
        certificate_not_after: None,
    }
}

/// A peer that has not started.
#[must_use]
pub(crate) fn starting_peer_report(pod: &str, since: Timestamp, stage: &Stage) -> PeerReport {
    PeerReport {
        name: pod.to_owned(),
        state: Some(PeerState::Disconnected.as_str().to_owned()),
        since: time(since),
        message: stage.waits_for().map(shortened),
        ..PeerReport::default()
    }
}

fn dial_errors(status: &PeerStatus) -> String {
    let errors = status.central_nodes.iter().filter_map(|central| {
        let error = central.last_error.as_ref()?;
        Some(format!("{}: {error}", central.address.id()))
    });
    errors.collect::<Vec<_>>().join("; ")
}

/// What is wrong with a peer now; a headline, a colon, the details.
fn trouble(status: &PeerStatus, replica: &Loaded) -> Option<String> {
    if let Some(central) = &status.split_brain {
        return Some(format!("split brain: {central} serves another lineage; nothing was merged"));
    }
    if status.central_nodes.is_empty() && status.state != PeerState::Disconnected {
        let why = status.central_nodes_fault.as_deref().unwrap_or("none is configured");
        return Some(format!("no central nodes known: {why}"));
    }
    if let Some(refused) = &status.refused {
        return Some(refused.to_string());
    }
    if let Some(fault) = &status.configuration_fault {
        return Some(format!("configuration fault: {fault}"));
    }
    if status.state == PeerState::Isolated {
        return Some(format!("no central node can be reached: {}", dial_errors(status)));
    }
    if let Some(ahead) = status.ahead_in_words(replica.view.head()) {
        return Some(ahead);
    }
    if !replica.findings.is_empty() {
        return Some(format!("damaged replica: {}", integrity::summary(&replica.findings)));
    }
    if let Some(fault) = &status.heartbeat.fault {
        return Some(format!("heartbeats are missed: {fault}"));
    }
    if let Some(why) = status.replication_trouble() {
        return Some(format!("replication does not work: {why}"));
    }
    if let Some(error) = &status.last_sync_error {
        return Some(format!("the last sync failed: {error}"));
    }
    if let Some(why) = &status.push_fault {
        return Some(format!("nothing is pushed, pulls bring what is new: {why}"));
    }
    let fault = status.central_nodes_fault.as_ref()?;
    Some(format!("the file of central nodes is not usable: {fault}"))
}

/// What a central node says of itself.
#[must_use]
pub(crate) fn central_report(pod: &str, since: Timestamp, node: &CentralNode) -> CentralNodeReport {
    let (condition, view, outage) = (node.condition(), node.log.view(), node.log.outage());
    let (connected, up_to_date) = node.peer_counts();
    CentralNodeReport {
        name: pod.to_owned(),
        state: condition.as_str().to_owned(),
        message: condition.reason().map(shortened),
        since: time(since),
        version: Some(view.head().get()),
        lineage: view.lineage().map(|lineage| lineage.to_string()),
        digest: Some(view.digest().to_string()),
        peers: PeerCounts {
            connected: count(connected),
            up_to_date: count(up_to_date),
            lagging: count(node.lagging_peers()),
        },
        store_reachable: Some(outage.is_none()),
        store_message: outage.map(shortened),
        findings: Some(count(node.findings().len())),
        refusal: node.log.refused().map(|contradiction| shortened(contradiction.to_string())),
        register_fault: node.log.exchange().map(|exchange| exchange.reason().to_owned()),
        certificate_not_after: None,
    }
}

/// A central node that has not started.
#[must_use]
pub(crate) fn starting_central_report(pod: &str, since: Timestamp, stage: &Stage) -> CentralNodeReport {
    let outage = match stage {
        Stage::Opening { store_fault } => store_fault.clone(),
        _ => None,
    };
    CentralNodeReport {
        name: pod.to_owned(),
        state: "Starting".to_owned(),
        message: stage.waits_for().map(shortened),
        since: time(since),
        store_reachable: outage.as_ref().map(|_| false),
        store_message: outage.map(shortened),
        ..CentralNodeReport::default()
    }
}

/// In whole seconds, as Kubernetes writes instants.
fn time(at: Timestamp) -> Option<Time> {
    jiff::Timestamp::from_second(at.as_millis().div_euclid(1000)).ok().map(Time)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn shortened(message: String) -> String {
    if message.chars().count() > MESSAGE_CHARS {
        let kept: String = message.chars().take(MESSAGE_CHARS - 1).collect();
        return kept + "…";
    }
    message
}
