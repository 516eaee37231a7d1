//! Operations a second of publishers and readers, over all repetitions.

use std::fmt::Write as _;

use crate::{
    closed_loop::Rate,
    publish::{PublishRate, systems::Publishing},
    reads::{ReadRate, Reading},
    stats::Spread,
};

/// One system in one case, over its repetitions.
#[derive(Clone, Debug)]
pub(super) struct Rated {
    pub(super) case: String,
    pub(super) system: &'static str,
    pub(super) per_second: Spread,
    p50: Spread,
    p99: Spread,
    server_us: Spread,
    failed: usize,
}

/// Publications, by the number of publishers and in the order of the report.
pub(super) fn published(rates: &[PublishRate]) -> Vec<Rated> {
    let case = |rate: &PublishRate| {
        format!("{} publisher{}", rate.publishers, if rate.publishers == 1 { "" } else { "s" })
    };
    let runs: Vec<_> = rates.iter().map(|rate| (case(rate), rate.system.name(), rate.rate)).collect();
    rated(&runs, &Publishing::ALL.map(Publishing::name))
}

/// Reads, case by case and in the order of the report.
pub(super) fn read(rates: &[ReadRate]) -> Vec<Rated> {
    let runs: Vec<_> = rates.iter().map(|rate| (rate.case.name(), rate.system.name(), rate.rate)).collect();
    rated(&runs, &Reading::ALL.map(Reading::name))
}

/// What another system did in the same case, if it was there.
pub(super) fn beside<'a>(rated: &'a [Rated], ours: &Rated, system: &str) -> Option<&'a Rated> {
    rated.iter().find(|other| other.case == ours.case && other.system == system)
}

fn rated(runs: &[(String, &'static str, Rate)], systems: &[&'static str]) -> Vec<Rated> {
    let mut cases: Vec<&String> = Vec::new();
    for (case, ..) in runs {
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    let pairs = cases.into_iter().flat_map(|case| systems.iter().map(move |system| (case, *system)));
    pairs.filter_map(|(case, system)| summary(runs, case, system)).collect()
}

fn summary(runs: &[(String, &'static str, Rate)], case: &str, system: &'static str) -> Option<Rated> {
    let of_it = runs.iter().filter(|run| run.0 == case && run.1 == system).map(|run| run.2);
    let rates: Vec<Rate> = of_it.collect();
    let spread = |of: fn(&Rate) -> f64| Spread::of(rates.iter().map(of));
    Some(Rated {
        case: case.to_owned(),
        system,
        per_second: spread(|rate| rate.per_second)?,
        p50: spread(|rate| rate.p50_ms)?,
        p99: spread(|rate| rate.p99_ms)?,
        server_us: spread(|rate| rate.server_us)?,
        failed: rates.iter().map(|rate| rate.failed).sum(),
    })
}

/// The table; empty when nothing was measured.
pub(super) fn table(what: &str, rated: &[Rated]) -> String {
    if rated.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{what} a second. Each connection waits for one answer before it sends the next request: medians of the repetitions, \
         for the rate with their extremes. Processor time is that of all processes of the server, by answer.\n\n\
         | load | system | a second | p50 ms | p99 ms | server µs |\n\
         |---|---|---|---|---|---|\n"
    );
    for row in rated {
        let failed = if row.failed > 0 { format!(" ({} failed)", row.failed) } else { String::new() };
        // Writing to a string can't fail.
        _ = writeln!(
            text,
            "| {} | {}{failed} | {:.0} ({:.0}–{:.0}) | {:.2} | {:.2} | {:.1} |",
            row.case,
            row.system,
            row.per_second.median,
            row.per_second.min,
            row.per_second.max,
            row.p50.median,
            row.p99.median,
            row.server_us.median
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(system: Publishing, publishers: usize, per_second: f64) -> PublishRate {
        let rate = Rate { per_second, failed: 1, p50_ms: 1.0, p99_ms: 2.0, max_ms: 3.0, server_us: 40.0 };
        PublishRate { system, publishers, repetition: 0, rate }
    }

    #[test]
    fn repetitions_become_medians_beside_those_of_others() {
        let runs = [
            run(Publishing::Etcd, 4, 70.0),
            run(Publishing::Embedded, 1, 10.0),
            run(Publishing::Embedded, 4, 30.0),
            run(Publishing::Embedded, 4, 50.0),
            run(Publishing::Embedded, 4, 40.0),
        ];
        let rated = published(&runs);
        let order: Vec<_> = rated.iter().map(|rated| (rated.case.as_str(), rated.system)).collect();
        let ours = Publishing::Embedded.name();
        assert_eq!(order, [("4 publishers", ours), ("4 publishers", "etcd put"), ("1 publisher", ours)]);
        assert_eq!(beside(&rated, &rated[0], "etcd put").map(|etcd| etcd.per_second.median), Some(70.0));
        assert!(beside(&rated, &rated[2], "etcd put").is_none());
        let table = table("Publications", &rated);
        assert!(table.contains("(3 failed) | 40 (30–50) | 1.00 | 2.00 | 40.0 |"), "{table}");
        assert_eq!(super::table("Reads", &[]), "");
    }
}
