//! What was aimed at, beside what was measured.

use super::{
    Compared, Report, memory,
    rates::{self, Rated},
};
use crate::{failover::End, publish::systems::Publishing, push::Contestant, reads::Reading};

/// One line of the table.
struct Row {
    what: String,
    goal: String,
    measured: String,
    met: bool,
}

impl Row {
    fn new(what: impl Into<String>, goal: impl Into<String>, measured: impl Into<String>, met: bool) -> Self {
        Self { what: what.into(), goal: goal.into(), measured: measured.into(), met }
    }
}

/// The table; empty when nothing with a goal was measured.
pub(super) fn table(report: &Report, compared: &[Compared]) -> String {
    let mut rows = Vec::new();
    full_sync(report, &mut rows);
    start_up(report, &mut rows);
    push(compared, &mut rows);
    publish(report, &mut rows);
    reads(report, &mut rows);
    memory(report, &mut rows);
    idle(report, &mut rows);
    reconnect(report, &mut rows);
    failover(report, &mut rows);
    staleness(report, &mut rows);
    if rows.is_empty() {
        return String::new();
    }
    let lines = rows.iter().map(|row| {
        let met = if row.goal.is_empty() {
            ""
        } else if row.met {
            "yes"
        } else {
            "**no**"
        };
        format!("| {} | {} | {} | {met} |\n", row.what, row.goal, row.measured)
    });
    format!("| measure | goal | measured | met |\n|---|---|---|---|\n{}", lines.collect::<String>())
}

fn full_sync(report: &Report, rows: &mut Vec<Row>) {
    let Some(sync) = &report.full_sync else { return };
    let what =
        format!("full sync of {} entries ({:.0} MB), persisted and verified", sync.entries, sync.megabytes);
    let percent = |share: f64| 100.0 * share;
    let measured = format!(
        "{:.0} % ({:.0}–{:.0} %): {:.2} s, the bare stream {:.2} s, a file of that size written and fsynced {:.2} s ({:.2}–{:.2})",
        percent(sync.share.median),
        percent(sync.share.min),
        percent(sync.share.max),
        sync.peer_s.median,
        sync.bare_s.median,
        sync.disk_s.median,
        sync.disk_s.min,
        sync.disk_s.max
    );
    rows.push(Row::new(what, "at least 60 % of a bare tonic stream", measured, sync.share.median >= 0.6));
}

fn start_up(report: &Report, rows: &mut Vec<Row>) {
    for start in &report.start_up {
        // Two seconds are the goal for 50 MB, and in proportion for more.
        let limit_ms = 2000.0 * (start.megabytes / 50.0).max(1.0);
        let goal = format!("at most 2 × SHA-256 alone, under {:.0} s", limit_ms / 1000.0);
        let stores = [
            ("file written as a whole", &start.whole_ms, &start.whole_ratio),
            ("file grown entry by entry", &start.grown_ms, &start.grown_ratio),
        ];
        for (store, time, ratio) in stores {
            let what = format!(
                "integrity check at start, {store}, {:.0} MB in {} entries",
                start.megabytes, start.entries
            );
            let measured = format!(
                "{:.2} × ({:.2}–{:.2}): {:.0} ms, SHA-256 alone {:.0} ms",
                ratio.median, ratio.min, ratio.max, time.median, start.sha256_ms.median
            );
            let met = ratio.median <= 2.0 && time.median < limit_ms;
            rows.push(Row::new(what, goal.clone(), measured, met));
        }
    }
}

fn push(compared: &[Compared], rows: &mut Vec<Row>) {
    for ours in compared.iter().filter(|row| row.system == Contestant::Sorcha) {
        let others =
            || compared.iter().filter(|row| row.case == ours.case && row.system != Contestant::Sorcha);
        let rivals: Vec<_> = others().filter(|row| row.system.is_equal()).collect();
        let for_most = ours.case.ends_with("most");
        let value = |row: &Compared| if for_most { row.deliveries_per_second.median } else { row.p99.median };
        let show = |row: &Compared| {
            let unit = if for_most { "/s" } else { " ms" };
            format!("{} {:.*}{unit}", row.system.name(), usize::from(!for_most), value(row))
        };
        let is_ahead =
            |row: &&Compared| if for_most { value(ours) >= value(row) } else { value(ours) <= value(row) };
        let what = if for_most { "deliveries" } else { "p99 from publication to persisted acknowledgement" };
        let all = std::iter::once(ours).chain(others());
        let goal = if rivals.is_empty() { "" } else { "ahead of NATS and etcd at equal duty" };
        let measured = all.map(show).collect::<Vec<_>>().join("; ");
        rows.push(Row::new(format!("{what}, {}", ours.case), goal, measured, rivals.iter().all(is_ahead)));
    }
}

fn publish(report: &Report, rows: &mut Vec<Row>) {
    let rated = rates::published(&report.publish);
    for ours in rated.iter().filter(|rated| rated.system == Publishing::Embedded.name()) {
        let etcd = rates::beside(&rated, ours, Publishing::Etcd.name());
        let met = etcd.is_none_or(|etcd| ours.per_second.median >= etcd.per_second.median);
        let goal = if etcd.is_some() { "at least etcd's" } else { "" };
        let what = format!("publications, {}", ours.case);
        rows.push(Row::new(what, goal, side_by_side(&rated, ours), met));
    }
}

fn reads(report: &Report, rows: &mut Vec<Row>) {
    let rated = rates::read(&report.reads);
    for ours in rated.iter().filter(|rated| rated.system == Reading::Sorcha.name()) {
        let ratio = rates::beside(&rated, ours, Reading::Nginx.name())
            .map(|nginx| ours.per_second.median / nginx.per_second.median);
        let goal = if ratio.is_some() { "at least 0.7 of nginx's" } else { "" };
        let measured = match ratio {
            Some(ratio) => format!("{ratio:.2}: {}", side_by_side(&rated, ours)),
            None => side_by_side(&rated, ours),
        };
        let what = format!("reads, {}", ours.case);
        rows.push(Row::new(what, goal, measured, ratio.is_none_or(|ratio| ratio >= 0.7)));
    }
}

/// All systems in one case.
fn side_by_side(rated: &[Rated], ours: &Rated) -> String {
    let systems = rated.iter().filter(|other| other.case == ours.case);
    let shown = systems.map(|rated| format!("{} {:.0}/s", rated.system, rated.per_second.median));
    shown.collect::<Vec<_>>().join("; ")
}

fn memory(report: &Report, rows: &mut Vec<Row>) {
    for held in &report.memory {
        let what = format!("most memory of a node with {}", memory::register(held));
        let goal = format!("at most 64 MB, 256 B an entry and the cache: {:.0} MB", held.bound_mb);
        rows.push(Row::new(what, goal, format!("{:.0} MB", held.most_mb()), held.most_mb() <= held.bound_mb));
    }
}

fn idle(report: &Report, rows: &mut Vec<Row>) {
    let Some(idle) = &report.idle else { return };
    let measured = format!(
        "{:.1} KB ({:.0} MB with none, {:.0} MB with all)",
        idle.kilobytes_per_peer, idle.empty_mb, idle.full_mb
    );
    let what = format!("memory of each of {} idle peers", idle.peers);
    rows.push(Row::new(what, "at most 64 KB", measured, idle.kilobytes_per_peer <= 64.0));
    let what =
        format!("processor time of {} idle peers, a heartbeat every {:.0} s", idle.peers, idle.heartbeat_s);
    rows.push(Row::new(
        what,
        "",
        format!("{:.1} % of one core, over {:.0} s", 100.0 * idle.cpu, idle.seconds),
        true,
    ));
}

fn reconnect(report: &Report, rows: &mut Vec<Row>) {
    for restart in &report.reconnect {
        let what = format!(
            "{} peers after the central node was killed and away for {:.0} s",
            restart.peers, restart.down_s
        );
        let measured = format!(
            "{:.1} % within 30 s; p50 {:.1} s, p99 {:.1} s, the last {:.1} s after it was there again; {} refusals, at most {} of one peer",
            100.0 * restart.within_30_s,
            restart.back_s.p50,
            restart.back_s.p99,
            restart.back_s.max,
            restart.refusals,
            restart.most_refusals_of_one_peer
        );
        let met = restart.within_30_s >= 0.99 && restart.most_refusals_of_one_peer <= 3;
        rows.push(Row::new(what, "99 % within 30 s, no peer refused more than 3 times", measured, met));
    }
}

fn failover(report: &Report, rows: &mut Vec<Row>) {
    for failover in &report.failover {
        let goal =
            End::ALL.into_iter().find(|(end, _)| *end == failover.end).map_or(f64::NAN, |(_, goal)| goal);
        let what = format!("failover of {} peers, central node {}", failover.peers, failover.end.name());
        let measured = format!(
            "p50 {:.2} s, p99 {:.2} s, the last {:.2} s; noticed: p50 {:.2} s, p99 {:.2} s",
            failover.recovered_s.p50,
            failover.recovered_s.p99,
            failover.recovered_s.max,
            failover.detected_s.p50,
            failover.detected_s.p99
        );
        let met = failover.recovered_s.p99 <= goal && failover.lost == 0;
        rows.push(Row::new(what, format!("99 % within {goal:.0} s"), measured, met));
    }
}

fn staleness(report: &Report, rows: &mut Vec<Row>) {
    let Some(stale) = &report.staleness else { return };
    let what = format!(
        "staleness of {} replicas at {:.0} publications/s, one more slow, one more coming and going",
        stale.peers - 2,
        stale.publications_per_second
    );
    let measured = format!(
        "p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.0} ms; the slow one p99 {:.0} ms; the flapping one p99 {:.0} ms",
        stale.healthy_ms.p50,
        stale.healthy_ms.p90,
        stale.healthy_ms.p99,
        stale.healthy_ms.max,
        stale.slow_ms.p99,
        stale.flapping_ms.p99
    );
    rows.push(Row::new(what, "", measured, true));
}
