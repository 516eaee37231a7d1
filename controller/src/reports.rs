//! What nodes say of themselves, bounded: a node is believed what it says of itself, within what can be true; pure.
//!
//! A value that can't be true is left out or cut to what can, and the condition that rests on it says so. Nothing that
//! follows from a report outlives the report.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sorcha_crds::{
    central_node::{CentralNodeReport, PeerCounts},
    peer::PeerReport,
};

/// Highest number that is taken for a version or a count: what JSON carries exactly. At a million publications a second a
/// register would reach it in 285 years.
const MOST: i64 = (1 << 53) - 1;
/// Most peers that a central node can have.
const MOST_PEERS: i64 = 100_000;
/// Reports of different nodes are of different moments: one may be so many publications ahead of another.
const AHEAD: i64 = 100_000;
/// Longest text that is repeated in a condition, characters; nodes write 512 at most.
const TEXT: usize = 512;
/// Longest name or hash, characters.
const NAME: usize = 253;
/// Longest round trip, milliseconds.
const ROUND_TRIP: f64 = 600_000.0;
/// Clocks of nodes may be ahead by this, seconds.
const CLOCK: i64 = 300;
/// States that a peer may be in.
pub const PEER_STATES: [&str; 5] =
    ["Isolated", "Disconnected", "Connecting", "Connected", "HeartbeatMonitoring"];

/// A report within bounds, and what in it was beyond them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounded<R> {
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

    fn version(&mut self, value: Option<i64>, head: Option<i64>) -> Option<i64> {
        let most = head.map_or(MOST, |head| head.clamp(0, MOST - AHEAD));
        let value = value?;
        // Reports don't come at once: a little ahead is usual.
        if head.is_some() && (0..=most + AHEAD).contains(&value) {
            return Some(value);
        }
        Some(self.number("version", value, most))
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

fn cut(text: Option<String>, most: usize) -> Option<String> {
    text.map(|text| match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    })
}

/// A peer's report. `head`: the highest version that the network's central nodes report, where they are known.
#[must_use]
pub fn peer(report: &PeerReport, head: Option<i64>, now: &Time) -> Bounded<PeerReport> {
    let (mut bounds, told) = (Bounds::default(), report.clone());
    let state = told.state.filter(|state| {
        let known = PEER_STATES.contains(&state.as_str());
        if !known {
            bounds.faults.push("its state is none that a peer can be in".to_owned());
        }
        known
    });
    let most = head.map_or(MOST, |head| head.clamp(0, MOST - AHEAD) + AHEAD);
    let report = PeerReport {
        state,
        since: bounds.past("since", told.since, now),
        central_node: cut(told.central_node, NAME),
        version: bounds.version(told.version, head),
        lag: told.lag.map(|lag| bounds.number("lag", lag, most)),
        fresh_as_of: bounds.past("freshAsOf", told.fresh_as_of, now),
        failovers: told.failovers.map(|count| bounds.number("failovers", count, MOST)),
        rtt_ms: told.rtt_ms.filter(|rtt| (0.0..=ROUND_TRIP).contains(rtt)),
        digest: cut(told.digest, NAME),
        lineage: cut(told.lineage, NAME),
        split_brain: cut(told.split_brain, NAME),
        findings: told.findings.map(|count| bounds.number("findings", count, MOST)),
        message: cut(told.message, TEXT),
        refused: cut(told.refused, TEXT),
        refusal: cut(told.refusal, TEXT),
        replication_fault: cut(told.replication_fault, TEXT),
        ..told
    };
    Bounded { report, fault: bounds.end() }
}

/// A central node's report. `head`: the highest version that the other central nodes of its network report, where they are
/// ready.
#[must_use]
pub fn central(report: &CentralNodeReport, head: Option<i64>) -> Bounded<CentralNodeReport> {
    let (mut bounds, told) = (Bounds::default(), report.clone());
    let peers = {
        let connected = bounds.number("peers.connected", told.peers.connected, MOST_PEERS);
        let up_to_date = bounds.number("peers.upToDate", told.peers.up_to_date, MOST_PEERS);
        let lagging = bounds.number("peers.lagging", told.peers.lagging, MOST_PEERS);
        PeerCounts { connected, up_to_date: up_to_date.min(connected), lagging: lagging.min(connected) }
    };
    let report = CentralNodeReport {
        state: cut(Some(told.state), NAME).unwrap_or_default(),
        message: cut(told.message, TEXT),
        version: bounds.version(told.version, head),
        lineage: cut(told.lineage, NAME),
        digest: cut(told.digest, NAME),
        peers,
        store_message: cut(told.store_message, TEXT),
        findings: told.findings.map(|count| bounds.number("findings", count, MOST)),
        refusal: cut(told.refusal, TEXT),
        register_fault: cut(told.register_fault, NAME),
        ..told
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
    fn a_version_that_no_register_has_is_cut_and_told() {
        for (version, head, taken) in [
            (i64::MAX, None, MOST),
            (i64::MAX, Some(17), 17),
            (i64::MAX, Some(i64::MAX), MOST - AHEAD),
            (17 + AHEAD + 1, Some(17), 17),
            (-1, Some(17), 0),
            (i64::MIN, None, 0),
        ] {
            let bounded = peer(&peer_report(json!({"name": "edge-0", "version": version})), head, &now());
            assert_eq!(bounded.report.version, Some(taken), "{version} {head:?}");
            assert!(bounded.fault.is_some_and(|fault| fault.contains(&version.to_string())));
            let report: CentralNodeReport =
                serde_json::from_value(json!({"name": "n0-0", "version": version})).expect("a report");
            let bounded = central(&report, head);
            assert_eq!((bounded.report.version, bounded.fault.is_some()), (Some(taken), true));
        }
    }

    #[test]
    fn texts_numbers_and_times_are_bounded() {
        let long = "ä".repeat(100_000);
        let bounded = peer(
            &peer_report(json!({
                "name": "edge-0", "state": long, "centralNode": long, "splitBrain": long, "message": long, "digest": long,
                "lag": i64::MIN, "failovers": i64::MAX, "rttMs": 1e300, "freshAsOf": "9999-01-01T00:00:00Z",
                "since": "9999-01-01T00:00:00Z",
            })),
            Some(5),
            &now(),
        );
        let report = &bounded.report;
        assert_eq!(
            (&report.state, &report.fresh_as_of, &report.since, report.rtt_ms),
            (&None, &None, &None, None)
        );
        assert_eq!((report.lag, report.failovers), (Some(0), Some(MOST)));
        let texts = [&report.central_node, &report.split_brain, &report.message, &report.digest];
        assert!(texts.iter().all(|text| text.as_ref().is_some_and(|text| text.chars().count() <= TEXT + 1)));
        assert!(bounded.fault.is_some_and(|fault| fault.len() < 1_000), "no text of the node is in it");
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
