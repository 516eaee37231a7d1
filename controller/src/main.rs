//! The controller's executable: see `sorcha-controller --help`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use sorcha_controller::{
    config::{LogFormat, Settings},
    context::Ctx,
    drill::{self, DrillArgs},
    pki::command::{self, IdentityArgs},
    run,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Turns SorchaCentralNode and SorchaPeer resources into running nodes
#[derive(Parser)]
#[command(name = "sorcha-controller", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reconcile, until SIGTERM
    Run(Box<Settings>),
    /// Kill a central node of a running network and watch that nothing is lost
    Drill(DrillArgs),
    /// Make a certificate for a node outside the cluster, signed by a network's authority
    Identity(IdentityArgs),
    /// Print the custom resource definitions, or write them to a folder
    Crds(CrdsArgs),
}

#[derive(Args)]
struct CrdsArgs {
    /// Write one file a definition into this folder
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(settings) => run_controller(*settings).await,
        Command::Drill(args) => run_drill(args).await,
        Command::Identity(args) => make_identity(args).await,
        Command::Crds(args) => crds(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_controller(settings: Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log).context("--log")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match settings.log_format {
        LogFormat::Json => log.json().init(),
        LogFormat::Human => log.with_target(false).init(),
    }
    let identity = identity();
    run::run(settings, identity, terminated()).await?;
    Ok(())
}

async fn run_drill(args: DrillArgs) -> anyhow::Result<()> {
    let client = kube::Client::try_default().await.context("find the cluster")?;
    drill::run(client, args).await
}

async fn make_identity(args: IdentityArgs) -> anyhow::Result<()> {
    let client = kube::Client::try_default().await.context("find the cluster")?;
    command::run(client, args, Ctx::now().0).await
}

/// In a pod its name; elsewhere a name that two processes of one machine do not share.
#[expect(clippy::disallowed_methods, reason = "the pod's name comes from the environment only")]
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "sorcha-controller".to_owned());
    format!("{host}-{}", std::process::id())
}

/// SIGTERM or Ctrl-C.
async fn terminated() {
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = interrupted => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(interrupted.await),
    }
}

fn crds(args: &CrdsArgs) -> anyhow::Result<()> {
    for crd in sorcha_crds::all_crds() {
        let yaml = sorcha_crds::yaml(&crd).context("write the definition as YAML")?;
        match &args.write {
            Some(folder) => {
                let file = folder.join(format!("{}.yaml", crd.spec.names.plural));
                std::fs::write(&file, yaml).with_context(|| format!("write {}", file.display()))?;
            }
            None => print!("---\n{yaml}"),
        }
    }
    Ok(())
}
