//! Runs simulated networks: see `simulate --help`.

#![allow(clippy::unwrap_used, reason = "threads of this program don't panic")]

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use sorcha_tests::simulation::{
    Outcome,
    check::Figures,
    plan::{self, Planned, Shape},
    run,
    shrink::shrink,
};

/// Runs networks of real nodes over simulated machines, under virtual time, with faults drawn from seeds
#[derive(Parser)]
#[command(
    after_help = "SORCHA_SIMULATION_LOG=debug prints what the nodes log; use it with --seed. Exit code 1: a seed failed."
)]
struct Arguments {
    /// How many seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run this seed only, and print what happens
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: run with as few faults as still make it fail
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// With --seed: print every event
    #[arg(long, requires = "seed")]
    events: bool,
    /// Run each seed twice and compare everything that happened
    #[arg(long)]
    twice: bool,
    /// Peers of a network
    #[arg(long, default_value_t = Shape::default().peers)]
    peers: u8,
    /// Virtual seconds in which faults begin
    #[arg(long, default_value_t = Shape::default().trouble.as_secs())]
    trouble: u64,
    /// Threads; default: all cores
    #[arg(long)]
    threads: Option<usize>,
    /// Stop at the first seed that fails
    #[arg(long)]
    fail_fast: bool,
    /// Stop at the first seed that breaks this rule, such as "reads are answered"
    #[arg(long, value_name = "RULE", conflicts_with_all = ["fail_fast", "seed"])]
    until: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if cfg!(not(tokio_unstable)) {
        eprintln!(
            "error: built without --cfg tokio_unstable, so that runs can't be repeated; is RUSTFLAGS set? .cargo/config.toml has the flag"
        );
        return ExitCode::FAILURE;
    }
    let trouble = Duration::from_secs(arguments.trouble);
    let shape = Shape { peers: arguments.peers, trouble, ..Shape::default() };
    let good = match arguments.seed {
        Some(seed) => one(seed, shape, &arguments),
        None => many(shape, &arguments),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, shape: Shape, arguments: &Arguments) -> bool {
    let mut plan = plan::plan(seed, shape);
    if arguments.shrink {
        plan = shrink(seed, shape, plan, |left| eprintln!("{left} faults left"));
    }
    println!("seed {seed}, {} faults:", plan.len());
    plan.iter().for_each(|planned| println!("  {planned}"));
    let outcome = run(seed, shape, &plan);
    if arguments.events {
        outcome.events.iter().for_each(|event| println!("{event}"));
    }
    tell(seed, &outcome);
    outcome.violations.is_empty() && (!arguments.twice || same(seed, shape, &plan, &outcome))
}

fn tell(seed: u64, outcome: &Outcome) {
    for violation in &outcome.violations {
        println!("seed {seed}: {violation}");
    }
    if outcome.violations.is_empty() {
        println!(
            "seed {seed}: nothing that must not be, in {:.0} virtual seconds",
            outcome.took.as_secs_f64()
        );
    }
}

/// Whether a run again is the same to the letter.
fn same(seed: u64, shape: Shape, plan: &[Planned], first: &Outcome) -> bool {
    let second = run(seed, shape, plan);
    let text =
        |outcome: &Outcome| outcome.events.iter().map(|event| format!("{event}\n")).collect::<Vec<_>>();
    let (first, second) = (text(first), text(&second));
    let differs =
        first.iter().zip(&second).position(|(a, b)| a != b).or((first.len() != second.len()).then_some(0));
    if let Some(at) = differs {
        println!(
            "seed {seed}: run again, event {at} differs:\n  {}  {}",
            first[at],
            second.get(at).map_or("", |s| s)
        );
    }
    differs.is_none()
}

/// What all seeds together have come to.
#[derive(Default)]
struct Sum {
    failed: Vec<u64>,
    /// No further seed is wanted.
    enough: bool,
    virtual_time: Duration,
    faults: usize,
    figures: Figures,
}

fn many(shape: Shape, arguments: &Arguments) -> bool {
    let started = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let (end, sum) = (arguments.from + arguments.seeds, Mutex::new(Sum::default()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.unwrap_or(cores) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sum.lock().unwrap().enough {
                        return;
                    }
                    let plan = plan::plan(seed, shape);
                    let outcome = run(seed, shape, &plan);
                    let repeats = !arguments.twice || same(seed, shape, &plan, &outcome);
                    let mut sum = sum.lock().unwrap();
                    add(&mut sum, seed, plan.len(), &outcome, repeats, started);
                    sum.enough |= match &arguments.until {
                        Some(rule) => outcome.violations.iter().any(|violation| violation.rule == rule),
                        None => arguments.fail_fast && !sum.failed.is_empty(),
                    };
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    summary(&sum, arguments, started.elapsed());
    sum.failed.is_empty()
}

fn add(sum: &mut Sum, seed: u64, faults: usize, outcome: &Outcome, repeats: bool, started: Instant) {
    sum.virtual_time += outcome.took;
    sum.faults += faults;
    let Figures { failovers, acknowledged, losses, reads } = &outcome.figures;
    sum.figures.failovers.extend(failovers);
    sum.figures.acknowledged += acknowledged;
    sum.figures.losses += losses;
    sum.figures.reads += reads;
    if !outcome.violations.is_empty() || !repeats {
        sum.failed.push(seed);
        tell(seed, outcome);
    }
    if seed.is_multiple_of(50) {
        eprintln!(
            "  up to seed {seed}: {} failed, {:.0} s",
            sum.failed.len(),
            started.elapsed().as_secs_f64()
        );
    }
}

fn summary(sum: &Sum, arguments: &Arguments, took: Duration) {
    let figures = &sum.figures;
    let mut failovers = figures.failovers.clone();
    failovers.sort();
    let quantile = |q: f64| {
        let at = ((failovers.len() as f64 * q) as usize).min(failovers.len().saturating_sub(1));
        failovers.get(at).copied().unwrap_or_default().as_secs_f64()
    };
    println!(
        "{} seeds, {} failed; {:.1} virtual hours in {:.0} s; {} faults, {} changes acknowledged, {} reads, {} sessions lost",
        arguments.seeds,
        sum.failed.len(),
        sum.virtual_time.as_secs_f64() / 3600.0,
        took.as_secs_f64(),
        sum.faults,
        figures.acknowledged,
        figures.reads,
        figures.losses,
    );
    println!(
        "failover, where another central node was well: {} times, p50 {:.0} s, p99 {:.0} s, max {:.0} s (looked at once a second)",
        failovers.len(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
    );
    if !sum.failed.is_empty() {
        let mut failed = sum.failed.clone();
        failed.sort_unstable();
        println!("failed: {failed:?}; look closer with --seed N --shrink");
    }
}
