//! Tables of the demo: one row a node, and the summary.

use std::{fmt, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::Summary;

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) node: String,
    pub(super) state: String,
    /// Of a peer: its central node. Of a central node: its number of peers.
    pub(super) central: String,
    pub(super) version: i64,
    pub(super) lag: i64,
    pub(super) push_p50_ms: Option<f64>,
    pub(super) push_p99_ms: Option<f64>,
    pub(super) heartbeats: u64,
    pub(super) failovers: u64,
}

/// The state of the network at one moment.
pub(super) struct Progress {
    pub(super) centrals: Vec<Row>,
    pub(super) peers: Vec<Row>,
}

pub(super) fn rows(progress: &Progress) -> Vec<&Row> {
    progress.centrals.iter().chain(&progress.peers).collect()
}

const HEADER: [&str; 9] =
    ["NODE", "STATE", "CENTRAL", "VERSION", "LAG", "PUSH p50", "PUSH p99", "HEARTBEATS", "FAILOVERS"];

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        for row in &self.centrals {
            let empty = String::new();
            table.add_row([
                &row.node,
                &row.state,
                &row.central,
                &row.version.to_string(),
                &empty,
                &empty,
                &empty,
                &empty,
                &empty,
            ]);
        }
        for row in &self.peers {
            table.add_row([
                row.node.clone(),
                row.state.clone(),
                row.central.clone(),
                row.version.to_string(),
                row.lag.to_string(),
                millis(row.push_p50_ms),
                millis(row.push_p99_ms),
                row.heartbeats.to_string(),
                row.failovers.to_string(),
            ]);
        }
        for column in 3..9 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}")
    }
}

fn millis(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0} ms"))
}

/// The percentile of samples by rank, ms; `None` without samples.
pub(super) fn percentile(samples: &mut [Duration], share: f64) -> Option<f64> {
    samples.sort_unstable();
    let rank = (samples.len() as f64 * share).ceil() as usize;
    samples.get(rank.saturating_sub(1)).map(|sample| sample.as_secs_f64() * 1000.0)
}

pub(super) fn summary(summary: &Summary) -> Table {
    let mut table = Table::new();
    let replicas = format!("{} of {} equal the register by digest", summary.equal_replicas, summary.peers);
    table.load_style(presets::NOTHING).set_header(["SUMMARY", ""]).add_rows([
        ["central nodes, peers", &format!("{}, {}", summary.central_nodes, summary.peers)],
        ["first sync of all peers", &format!("{} ms", summary.first_sync_ms)],
        ["blueprints published", &summary.published.to_string()],
        [
            "push, publication to persistence",
            &format!("p50 {:.0} ms, p99 {:.0} ms", summary.push_p50_ms, summary.push_p99_ms),
        ],
        ["failover of all peers after the kill", &format!("{} ms", summary.failover_ms)],
        ["publications lost", &summary.lost.to_string()],
        ["register", &format!("version {}, digest {}", summary.version, summary.digest)],
        ["replicas", &replicas],
        ["result", if summary.is_good() { "everything arrived everywhere" } else { "REPLICAS DIFFER" }],
    ]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let mut samples: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut samples, 0.5), Some(50.0));
        assert_eq!(percentile(&mut samples, 0.99), Some(99.0));
        assert_eq!(percentile(&mut samples[..1], 0.99), Some(1.0));
        assert_eq!(percentile(&mut [], 0.5), None);
    }
}
