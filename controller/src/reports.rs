//! What nodes say of themselves, bounded: a node is believed what it says of itself, within what can be true; pure.
//!
//! A version or time that can't be true is left out, a number or text that is too large is cut, and the condition that rests
//! on it says so. Nothing that follows from a report outlives the report. Each field is named here, so that one that is added to
//! a report does not get past these bounds: without it this does not compile.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sorcha_crds::{
    central_node::{CentralNodeReport, PeerCounts},
    peer::PeerReport,
    text::{NAME, SAID, cut},
};

/// Highest number that is taken for a version or a count: what JSON carries exactly. At a million publications a second a
/// register would reach it in 285 years.
const MOST: i64 = (1 << 53) - 1;
/// Most peers that a central node can have.
const MOST_PEERS: i64 = 100_000;
/// Reports of different nodes are of different moments: one may be so many publications ahead of another.
const AHEAD: i64 = 100_000;
/// Longest request for a resync that the schema takes, characters.
const RESYNC: usize = 100;
/// Longest round trip, milliseconds.
const ROUND_TRIP: f64 = 600_000.0;
/// Clocks of nodes may be ahead by this, seconds.
const CLOCK: i64 = 300;
/// States that a peer may be in.
pub(crate) const PEER_STATES: [&str; 5] =
    ["Isolated", "Disconnected", "Connecting", "Connected", "HeartbeatMonitoring"];

/// A report within bounds, and what in it was beyond them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bounded<R> {
    /// What is taken.
    pub report: R,
    /// What can't be true, in words.
    pub fault: Option<String>,
}

/// Cuts values and collects what was wrong with them.
#[derive(Default)]
struct Bounds {
    faults: Vec<String>,
}

impl Bounds {
    /// A number from 0 to a limit; another one is cut.
    fn number(&mut self, name: &str, value: i64, most: i64) -> i64 {
        let cut = value.clamp(0, most);
        if cut != value {
            self.faults.push(format!("{name} {value} is taken for {cut}"));
        }
        cut
    }

    /// A version that a register can have. One that it can't have is no version: a lower one would be claimed for the node.
    fn version(&mut self, value: Option<i64>, head: Option<i64>) -> Option<i64> {
        let value = value?;
        if (0..=most(head)).contains(&value) {
            return Some(value);
        }
        self.faults.push(format!("version {value} is out of range and ignored"));
        None
    }

    /// An instant that is not in the future.
    fn past(&mut self, name: &str, at: Option<Time>, now: &Time) -> Option<Time> {
        let late = at.as_ref().filter(|at| at.0.as_second() > now.0.as_second().saturating_add(CLOCK));
        if let Some(late) = late {
            self.faults.push(format!("{name} {} is in the future", late.0));
            return None;
        }
        at
    }

    fn end(self) -> Option<String> {
        (!self.faults.is_empty()).then(|| self.faults.join(", "))
    }
}

/// The highest version that a register with this head can have: reports don't come at once, a little ahead is usual.
fn most(head: Option<i64>) -> i64 {
    head.map_or(MOST, |head| head.clamp(0, MOST - AHEAD) + AHEAD)
}

fn short(text: Option<&String>, most: usize) -> Option<String> {
    text.map(|text| cut(text, most))
}

/// A peer's report. `head`: the highest version that the network's central nodes report, where they are known.
#[must_use]
pub(crate) fn peer(told: &PeerReport, head: Option<i64>, now: &Time) -> Bounded<PeerReport> {
    let mut bounds = Bounds::default();
    let state = told.state.clone().filter(|state| {
        let known = PEER_STATES.contains(&state.as_str());
        if !known {
            bounds.faults.push("its state is not one of a peer's".to_owned());
        }
        known
    });
    let report = PeerReport {
        name: cut(&told.name, NAME),
        state,
        since: bounds.past("since", told.since.clone(), now),
        central_node: short(told.central_node.as_ref(), NAME),
        version: bounds.version(told.version, head),
        lag: told.lag.map(|lag| bounds.number("lag", lag, most(head))),
        ahead: told.ahead.map(|ahead| bounds.number("ahead", ahead, MOST)),
        fresh_as_of: bounds.past("freshAsOf", told.fresh_as_of.clone(), now),
        missed_heartbeats: told.missed_heartbeats.map(|missed| missed.max(0)),
        failovers: told.failovers.map(|count| bounds.number("failovers", count, MOST)),
        rtt_ms: told.rtt_ms.filter(|rtt| (0.0..=ROUND_TRIP).contains(rtt)),
        digest: short(told.digest.as_ref(), NAME),
        lineage: short(told.lineage.as_ref(), NAME),
        split_brain: short(told.split_brain.as_ref(), NAME),
        refused: short(told.refused.as_ref(), NAME),
        refusal: short(told.refusal.as_ref(), SAID),
        findings: told.findings.map(|count| bounds.number("findings", count, MOST)),
        replication_fault: short(told.replication_fault.as_ref(), SAID),
        force_resync: short(told.force_resync.as_ref(), RESYNC),
        certificate_not_after: told.certificate_not_after.clone(),
        message: short(told.message.as_ref(), SAID),
    };
    Bounded { report, fault: bounds.end() }
}

/// A central node's report. `head`: the highest version that older central nodes of its network report, where they are ready.
#[must_use]
pub(crate) fn central(told: &CentralNodeReport, head: Option<i64>) -> Bounded<CentralNodeReport> {
    let mut bounds = Bounds::default();
    let peers = {
        let connected = bounds.number("peers.connected", told.peers.connected, MOST_PEERS);
        let up_to_date = bounds.number("peers.upToDate", told.peers.up_to_date, MOST_PEERS);
        let lagging = bounds.number("peers.lagging", told.peers.lagging, MOST_PEERS);
        PeerCounts { connected, up_to_date: up_to_date.min(connected), lagging: lagging.min(connected) }
    };
    let report = CentralNodeReport {
        name: cut(&told.name, NAME),
        state: cut(&told.state, NAME),
        message: short(told.message.as_ref(), SAID),
        since: told.since.clone(),
        version: bounds.version(told.version, head),
        lineage: short(told.lineage.as_ref(), NAME),
        digest: short(told.digest.as_ref(), NAME),
        peers,
        store_reachable: told.store_reachable,
        store_message: short(told.store_message.as_ref(), SAID),
        findings: told.findings.map(|count| bounds.number("findings", count, MOST)),
        refusal: short(told.refusal.as_ref(), SAID),
        register_fault: short(told.register_fault.as_ref(), NAME),
        certificate_not_after: told.certificate_not_after.clone(),
    };
    Bounded { report, fault: bounds.end() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Time {
        serde_json::from_value(json!("2026-11-22T10:00:00Z")).expect("a time")
    }

    fn peer_report(value: serde_json::Value) -> PeerReport {
        serde_json::from_value(value).expect("a report")
    }

    #[test]
    fn a_usual_report_is_taken_as_it_is() {
        let report = peer_report(json!({
            "name": "edge-0", "state": "HeartbeatMonitoring", "since": "2026-11-22T09:00:00Z", "centralNode": "n0",
            "version": 17, "lag": 0, "freshAsOf": "2026-11-22T10:01:00Z", "failovers": 2, "rttMs": 1.5, "digest": "d",
            "lineage": "l", "findings": 0, "message": "m", "missedHeartbeats": 1,
        }));
        for head in [None, Some(17), Some(16), Some(9_000)] {
            assert_eq!(
                peer(&report, head, &now()),
                Bounded { report: report.clone(), fault: None },
                "{head:?}"
            );
        }
    }

    #[test]
    fn a_version_that_no_register_has_is_not_taken_and_told() {
        for (version, head) in [
            (i64::MAX, None),
            (i64::MAX, Some(17)),
            (i64::MAX, Some(i64::MAX)),
            (17 + AHEAD + 1, Some(17)),
            (-1, Some(17)),
            (i64::MIN, None),
        ] {
            let bounded = peer(&peer_report(json!({"name": "edge-0", "version": version})), head, &now());
            assert_eq!(bounded.report.version, None, "{version} {head:?}");
            assert!(bounded.fault.is_some_and(|fault| fault.contains(&version.to_string())));
            let report: CentralNodeReport =
                serde_json::from_value(json!({"name": "n0-0", "version": version})).expect("a report");
            let bounded = central(&report, head);
            assert_eq!((bounded.report.version, bounded.fault.is_some()), (None, true));
        }
        let ahead = peer_report(json!({"name": "edge-0", "version": 17 + AHEAD}));
        assert_eq!(peer(&ahead, Some(17), &now()).report.version, Some(17 + AHEAD));
    }

    /// Whatever fields a report has: the longest text in each makes a short report.
    #[test]
    fn texts_numbers_and_times_are_bounded() {
        let long = "ä".repeat(100_000);
        let bounded = peer(
            &peer_report(json!({
                "name": long, "state": long, "centralNode": long, "splitBrain": long, "message": long, "digest": long,
                "lineage": long, "refused": long, "refusal": long, "replicationFault": long, "forceResync": long,
                "lag": i64::MIN, "ahead": i64::MIN, "failovers": i64::MAX, "missedHeartbeats": i32::MIN, "rttMs": 1e300,
                "freshAsOf": "9999-01-01T00:00:00Z", "since": "9999-01-01T00:00:00Z",
            })),
            Some(5),
            &now(),
        );
        let report = &bounded.report;
        assert_eq!(
            (&report.state, &report.fresh_as_of, &report.since, report.rtt_ms),
            (&None, &None, &None, None)
        );
        assert_eq!((report.lag, report.ahead, report.failovers), (Some(0), Some(0), Some(MOST)));
        assert_eq!(report.missed_heartbeats, Some(0));
        let length = json!(report).to_string().chars().count();
        assert!(length < 4_000, "{length}");
        assert!(bounded.fault.is_some_and(|fault| fault.len() < 1_000), "no text of the node is in it");
        let report: CentralNodeReport = serde_json::from_value(json!({
            "name": long, "state": long, "message": long, "lineage": long, "digest": long, "storeMessage": long,
            "refusal": long, "registerFault": long,
        }))
        .expect("a report");
        let length = json!(central(&report, None).report).to_string().chars().count();
        assert!(length < 4_000, "{length}");
    }

    #[test]
    fn a_central_node_has_no_more_peers_than_it_can_have() {
        let peers = json!({"connected": i64::MAX, "upToDate": i64::MAX, "lagging": -5});
        let report: CentralNodeReport =
            serde_json::from_value(json!({"name": "n0-0", "peers": peers})).expect("a report");
        let bounded = central(&report, None);
        let expected = PeerCounts { connected: MOST_PEERS, up_to_date: MOST_PEERS, lagging: 0 };
        assert_eq!((bounded.report.peers, bounded.fault.is_some()), (expected, true));
    }
}
