//! Kubernetes end to end: installs the charts into a real cluster and uses the product as its users do, with kubectl,
//! helm and HTTP. `tests/cluster/e2e` brings a cluster and runs this.
//!
//! `cargo test -p sorcha-tests --test cluster -- [--list] [--keep] [SCENARIO...]`. Environment: `SORCHA_E2E_KUBECONFIG`
//! (without it nothing is done), `SORCHA_E2E_IMAGE`, `SORCHA_E2E_IMAGE_2` (the same under another tag),
//! `SORCHA_E2E_MONGODB_IMAGE`, `SORCHA_E2E_APISERVER` (a command that takes stop or start), `SORCHA_E2E_AUDIT_LOG`.

mod dump;
mod eventually;
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

use std::process::ExitCode;

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

async fn start() -> anyhow::Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        for scenario in run::all() {
            println!("{:12} {}", scenario.name, scenario.about);
        }
        return Ok(true);
    }
    let Some(settings) = Settings::from_environment() else {
        println!("{NO_CLUSTER}");
        return Ok(true);
    };
    let names: Vec<&str> = arguments.iter().map(String::as_str).filter(|a| !a.starts_with("--")).collect();
    if let Some(unknown) =
        names.iter().find(|name| !run::all().iter().any(|scenario| scenario.name == **name))
    {
        anyhow::bail!("there is no scenario {unknown:?}; --list shows them");
    }
    let cluster = Cluster::connect(settings).await?;
    let passed = tokio::select! {
        passed = run::run(&cluster, &names, has("--keep")) => passed,
        _interrupted = tokio::signal::ctrl_c() => false,
    };
    cluster.proxy.end();
    Ok(passed)
}
