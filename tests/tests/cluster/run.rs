//! Runs scenarios: phases one after the other, lanes of a phase beside each other, scenarios of a lane in order.

use std::{
    panic::AssertUnwindSafe,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use futures::{
    FutureExt as _,
    future::{LocalBoxFuture, join_all},
};
use sorcha_tests::tally::{Outcome, Tally};

use crate::{arguments::Arguments, cluster::Cluster, dump, scenarios};

/// How a scenario ended well.
pub(crate) enum Done {
    /// As it should.
    Passed,
    /// It can't run here, and why.
    Skipped(&'static str),
}

/// A scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(Rc<Cluster>) -> LocalBoxFuture<'static, Result<Done>>,
}

/// All scenarios in the order of phases and lanes.
pub(crate) fn all() -> Vec<Scenario> {
    scenarios::phases().into_iter().flatten().flatten().collect()
}

struct Ended {
    name: &'static str,
    took: Duration,
    result: Result<Done>,
}

impl Ended {
    const fn outcome(&self) -> Outcome {
        match self.result {
            Ok(Done::Passed) => Outcome::Passed,
            Ok(Done::Skipped(_)) => Outcome::Skipped,
            Err(_) => Outcome::Failed,
        }
    }

    fn skip(&self) -> Option<String> {
        let Ok(Done::Skipped(why)) = &self.result else { return None };
        Some(format!("cluster {}: {why}.\n", self.name))
    }
}

/// Runs the scenarios named, or all; `true` when none failed.
pub(crate) async fn run(cluster: &Rc<Cluster>, arguments: &Arguments) -> Result<bool> {
    let started = Instant::now();
    let wanted = |scenario: &Scenario| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == scenario.name)
    };
    let mut ended: Vec<Ended> = Vec::new();
    for (phase, lanes) in scenarios::phases().into_iter().enumerate() {
        let lanes = lanes.into_iter().map(|lane| async move {
            let mut ended = Vec::new();
            // Everything needs what the first phase installs.
            for scenario in lane.into_iter().filter(|scenario| phase == 0 || wanted(scenario)) {
                ended.push(one(cluster, scenario, arguments.keep).await);
            }
            ended
        });
        ended.extend(join_all(lanes).await.into_iter().flatten());
        if phase == 0 && ended.iter().any(|ended| ended.result.is_err()) {
            break;
        }
    }
    if let Some(file) = &arguments.skips {
        let lines = ended.iter().filter_map(Ended::skip).collect::<String>();
        std::fs::write(file, lines).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(summary(&ended, started.elapsed()))
}

async fn one(cluster: &Rc<Cluster>, scenario: Scenario, keep: bool) -> Ended {
    let started = Instant::now();
    println!("      {} begins: {}", scenario.name, scenario.about);
    let running = AssertUnwindSafe((scenario.run)(Rc::clone(cluster))).catch_unwind();
    let result = running.await.unwrap_or_else(|_panic| Err(anyhow!("it panicked, see above")));
    let took = started.elapsed();
    match &result {
        Ok(Done::Passed) => println!("ok    {} in {:.1} s", scenario.name, took.as_secs_f64()),
        Ok(Done::Skipped(why)) => println!("skip  {}: {why}", scenario.name),
        Err(error) => {
            println!("FAIL  {} after {:.1} s: {error:#}", scenario.name, took.as_secs_f64());
            diagnose(cluster, scenario.name).await;
        }
    }
    // What is left of a failure disturbs the others; it has been shown.
    if !keep {
        for space in spaces(cluster, scenario.name) {
            // A namespace that is left costs time, not truth.
            let _left = space.delete().await.is_err();
        }
    }
    Ended { name: scenario.name, took, result }
}

fn spaces(cluster: &Cluster, scenario: &str) -> Vec<crate::space::Space> {
    let spaces = cluster.spaces.borrow();
    spaces.iter().filter(|(maker, _)| *maker == scenario).map(|(_, space)| space.clone()).collect()
}

async fn diagnose(cluster: &Rc<Cluster>, scenario: &str) {
    let own = spaces(cluster, scenario);
    let shown = if own.is_empty() { spaces(cluster, crate::network::SHARED) } else { own };
    for space in shown {
        dump::space(&space).await;
    }
    dump::controller(cluster).await;
}

fn summary(ended: &[Ended], took: Duration) -> bool {
    println!();
    for Ended { name, took, result } in ended {
        let outcome = match result {
            Ok(Done::Passed) => "ok".to_owned(),
            Ok(Done::Skipped(why)) => format!("skipped: {why}"),
            Err(error) => format!("FAILED: {error}"),
        };
        println!("{name:12} {:6.1} s  {outcome}", took.as_secs_f64());
    }
    let tally: Tally = ended.iter().map(Ended::outcome).collect();
    println!("{tally}, in {:.0} s", took.as_secs_f64());
    tally.is_good()
}
