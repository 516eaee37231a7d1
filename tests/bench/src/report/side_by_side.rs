//! The systems beside each other, over all repetitions.

use std::fmt::Write as _;

use crate::{
    push::{Contestant, Run},
    stats::Spread,
};

/// One system under one load, over its repetitions.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) case: String,
    pub(crate) system: Contestant,
    pub(crate) p50: Spread,
    pub(crate) p90: Spread,
    pub(crate) p99: Spread,
    pub(crate) max: Spread,
    pub(crate) deliveries_per_second: Spread,
    server_cpu: Spread,
    client_cpu: Spread,
    server_us: Spread,
    subscriber_us: Spread,
    missing: usize,
    /// Points of the cumulative distribution of the repetition with the median p99.
    pub(crate) cumulative: Vec<(f64, f64)>,
}

/// Groups the runs by load and system, in the order of the report.
pub(super) fn compare(runs: &[Run]) -> Vec<Compared> {
    let mut cases: Vec<&str> = Vec::new();
    for run in runs {
        if !cases.contains(&run.case.as_str()) {
            cases.push(&run.case);
        }
    }
    let pairs = cases.into_iter().flat_map(|case| Contestant::ALL.map(|system| (case, system)));
    pairs.filter_map(|(case, system)| summary(runs, case, system)).collect()
}

fn summary(runs: &[Run], case: &str, system: Contestant) -> Option<Compared> {
    let mut runs: Vec<_> = runs.iter().filter(|run| run.case == case && run.system == system).collect();
    runs.sort_by(|a, b| a.latency_ms.p99.total_cmp(&b.latency_ms.p99));
    let spread = |of: fn(&Run) -> f64| Spread::of(runs.iter().map(|run| of(run)));
    Some(Compared {
        case: case.to_owned(),
        system,
        p50: spread(|run| run.latency_ms.p50)?,
        p90: spread(|run| run.latency_ms.p90)?,
        p99: spread(|run| run.latency_ms.p99)?,
        max: spread(|run| run.latency_ms.max)?,
        deliveries_per_second: spread(|run| run.deliveries_per_second)?,
        server_cpu: spread(|run| run.server_cpu)?,
        client_cpu: spread(|run| run.client_cpu)?,
        server_us: spread(|run| run.server_us)?,
        subscriber_us: spread(|run| run.subscriber_us)?,
        missing: runs.iter().map(|run| run.missing).sum(),
        cumulative: runs.get(runs.len() / 2)?.latency_ms.cumulative(),
    })
}

/// The table.
pub(super) fn table(compared: &[Compared]) -> String {
    if compared.is_empty() {
        return String::new();
    }
    let mut text = "From just before the publishing call to each subscriber's acknowledgement, milliseconds: medians of the \
                    repetitions, for p99 with their extremes. p99 ratio: Sorcha's by theirs; deliveries ratio likewise. \
                    Processor time by delivery is the server's and the subscribers', without the publisher.\n\n\
                    | load | system | p50 | p90 | p99 | max | deliveries/s | p99 ratio | deliveries ratio | CPUs: server + clients | µs a delivery: server + subscribers |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in compared {
        let ours = compared.iter().find(|other| other.case == row.case && other.system == Contestant::Sorcha);
        let ratio = |of: fn(&Compared) -> f64| match ours {
            Some(ours) if row.system != Contestant::Sorcha => format!("{:.2}", of(ours) / of(row)),
            _ => "–".to_owned(),
        };
        let missing = if row.missing > 0 { format!(" ({} never came)", row.missing) } else { String::new() };
        // Writing to a string can't fail.
        _ = writeln!(
            text,
            "| {} | {}{missing} | {:.1} | {:.1} | {:.1} ({:.1}–{:.1}) | {:.0} | {:.0} | {} | {} | {:.2} + {:.2} | {:.1} + {:.1} |",
            row.case,
            row.system.name(),
            row.p50.median,
            row.p90.median,
            row.p99.median,
            row.p99.min,
            row.p99.max,
            row.max.median,
            row.deliveries_per_second.median,
            ratio(|row| row.p99.median),
            ratio(|row| row.deliveries_per_second.median),
            row.server_cpu.median,
            row.client_cpu.median,
            row.server_us.median,
            row.subscriber_us.median
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Distribution;

    fn run(case: &str, system: Contestant, latency: f64) -> Run {
        Run {
            case: case.to_owned(),
            system,
            repetition: 0,
            subscribers: 1,
            publications: 1,
            failed: 0,
            deliveries: 1,
            missing: 0,
            deliveries_per_second: 10.0,
            latency_ms: Distribution::of(vec![latency]).unwrap(),
            server_cpu: 0.1,
            client_cpu: 0.2,
            server_us: 3.0,
            subscriber_us: 4.0,
            server_resident_mb: 1.0,
        }
    }

    #[test]
    fn repetitions_become_medians_and_ratios_compare_with_ours() {
        let runs = [
            run("a", Contestant::Sorcha, 4.0),
            run("a", Contestant::Etcd, 8.0),
            run("a", Contestant::Sorcha, 6.0),
            run("a", Contestant::Sorcha, 5.0),
        ];
        let compared = compare(&runs);
        assert_eq!(compared.len(), 2);
        assert_eq!((compared[0].p99.median, compared[0].p99.max), (5.0, 6.0));
        assert_eq!(compared[0].cumulative.last(), Some(&(5.0, 1.0)));
        let table = table(&compared);
        let etcd = table.lines().last().unwrap();
        assert!(etcd.contains("| etcd watch |") && etcd.contains("| 0.62 | 1.00 |"), "{etcd}");
        assert!(etcd.ends_with("| 0.10 + 0.20 | 3.0 + 4.0 |"), "{etcd}");
        assert_eq!(super::table(&[]), "");
    }
}
