//! Kubernetes end to end: installs the charts into a real cluster and uses the product as its users do, with kubectl,
//! helm and HTTP. `tests/cluster/e2e` brings a cluster and runs this.
#![allow(clippy::too_many_lines, reason = "a scenario is a list of steps")]

mod arguments;
mod dump;
mod eventually;
mod leave;
mod look;
mod manifests;
mod network;
mod process;
mod proxy;
mod publishing;
mod run;
mod space;
mod cluster;
mod scenarios;

use std::{process::ExitCode, rc::Rc};

use anyhow::Result;
use arguments::{Arguments, HELP, Wanted};
use cluster::{Cluster, Settings};

const NO_CLUSTER: &str = "cluster tests need a cluster: tests/run cluster";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cluster tests: error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn start() -> Result<bool> {
    let wanted = Arguments::parse(std::env::args().skip(1));
    let settings = Settings::from_environment();
    let (arguments, settings) = match (wanted, settings) {
        (Ok(Wanted::Help), _) => {
            println!("{HELP}");
            return Ok(true);
        }
        (Ok(Wanted::List), _) => {
            for scenario in run::all() {
                println!("{:12} {}", scenario.name, scenario.about);
            }
            return Ok(true);
        }
        // Whatever cargo passes on to every test binary.
        (_, None) => {
            println!("{NO_CLUSTER}");
            return Ok(true);
        }
        (Ok(Wanted::Run(arguments)), Some(settings)) => (arguments, settings),
        (Err(error), Some(_)) => return Err(error),
    };
    let cluster = Cluster::connect(settings).await?;
    let passed = with(&cluster, &arguments).await;
    cluster.proxy.end();
    passed
}

async fn with(cluster: &Rc<Cluster>, arguments: &Arguments) -> Result<bool> {
    if let Some(why) = cluster.occupied.refusal() {
        anyhow::ensure!(arguments.go_on, "{why}");
        eprintln!("cluster tests: warning: {why}");
    }
    eprintln!("cluster tests: {}", intention(arguments.keep));
    if arguments.check {
        return Ok(true);
    }
    let passed = tokio::select! {
        passed = run::run(cluster, arguments) => passed?,
        _interrupted = tokio::signal::ctrl_c() => false,
    };
    if arguments.keep {
        return Ok(passed);
    }
    if let Err(error) = leave::nothing_behind(cluster).await {
        println!("FAIL  the run does not leave the cluster as it was: {error:#}");
        return Ok(false);
    }
    Ok(passed)
}

/// What is going to be done to the cluster.
fn intention(keep: bool) -> String {
    let end = if keep { "all of this stays (--keep)" } else { "at the end all of this is taken away again" };
    format!(
        "they install the charts as release {0} into namespace {0}, with ClusterRoles {0}-…, and definitions where there are none; they \
         make namespaces {0}-…, and kill pods in them; {end}",
        cluster::release()
    )
}
