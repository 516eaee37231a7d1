//! Runs scenarios one after the other, and tells how they ended.

use std::{
    io::Write as _,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use futures::FutureExt as _;
use sorcha_tests::tally::{Outcome, Tally};

use crate::{
    arguments::Arguments,
    scenario::{Done, Given, Scenario},
    scenarios,
};

struct Ended {
    scenario: Scenario,
    took: Duration,
    result: Result<Done>,
}

/// Runs the scenarios named, or all; `true` when none failed.
pub(crate) async fn run(arguments: &Arguments) -> bool {
    println!("fault tests, seed {}", arguments.seed);
    let is_wanted = |scenario: &Scenario| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| scenario.is_called(name))
    };
    let wanted: Vec<Scenario> = scenarios::all().into_iter().filter(is_wanted).collect();
    let share = arguments.time.map(|time| time / u32::try_from(wanted.len()).unwrap_or(1));
    let mut ended = Vec::new();
    for scenario in wanted {
        let time = share.unwrap_or(Duration::from_secs(scenario.short));
        ended.push(one(scenario, time, arguments).await);
    }
    let skips = skips(&ended);
    if let Some(file) = &arguments.skips
        && let Err(error) = std::fs::write(file, skips.concat())
    {
        println!("can't write {}: {error}", file.display());
        return false;
    }
    summary(&ended, arguments.seed)
}

async fn one(scenario: Scenario, time: Duration, arguments: &Arguments) -> Ended {
    println!("      {} begins: {}", scenario.name, scenario.about);
    let started = Instant::now();
    let result = in_a_directory(scenario, time, arguments).await;
    let took = started.elapsed();
    match &result {
        Ok(Done::Passed(what)) => println!("ok    {} in {:.1} s: {what}", scenario.name, took.as_secs_f64()),
        Ok(Done::Skipped(why, _)) => println!("skip  {}: {why}", scenario.name),
        Err(error) => println!("FAIL  {} after {:.1} s: {error:#}", scenario.name, took.as_secs_f64()),
    }
    drop(std::io::stdout().flush());
    Ended { scenario, took, result }
}

/// The directory goes with the scenario, unless that failed: then its logs tell why.
async fn in_a_directory(scenario: Scenario, time: Duration, arguments: &Arguments) -> Result<Done> {
    let mut directory =
        tempfile::Builder::new().prefix(&format!("sorcha-faults-{}-", scenario.name)).tempdir()?;
    let path = directory.path().to_owned();
    let given = Given::new(scenario.name, path.clone(), time, arguments.seed, arguments.may_mount);
    let running = AssertUnwindSafe((scenario.run)(given)).catch_unwind();
    let result = running.await.unwrap_or_else(|_panic| Err(anyhow!("it panicked, see above")));
    if result.is_err() || arguments.keep {
        directory.disable_cleanup(true);
    }
    result.with_context(|| format!("files and logs are in {}", path.display()))
}

fn skips(ended: &[Ended]) -> Vec<String> {
    let line = |ended: &Ended| match ended.result {
        Ok(Done::Skipped(why, remedy)) => {
            Some(format!("faults {}: {why}. Remedy: {remedy}.\n", ended.scenario.name))
        }
        _ => None,
    };
    ended.iter().filter_map(line).collect()
}

fn summary(ended: &[Ended], seed: u64) -> bool {
    println!();
    for Ended { scenario, took, result } in ended {
        let outcome = match result {
            Ok(Done::Passed(what)) => format!("ok: {what}"),
            Ok(Done::Skipped(why, remedy)) => format!("skipped: {why}; {remedy}"),
            Err(error) => format!("FAILED: {error:#}"),
        };
        println!("{:15} {:6.1} s  {outcome}", scenario.name, took.as_secs_f64());
    }
    let outcomes = ended.iter().map(|ended| match ended.result {
        Ok(Done::Passed(_)) => Outcome::Passed,
        Ok(Done::Skipped(..)) => Outcome::Skipped,
        Err(_) => Outcome::Failed,
    });
    let tally: Tally = outcomes.collect();
    println!("{tally}, seed {seed}");
    tally.is_good()
}
