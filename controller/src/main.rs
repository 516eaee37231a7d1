//! The controller's executable: see `sorcha-controller --help`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use sorcha_controller::{
    config::{LogFormat, Settings},
    context::Ctx,
    drill::{self, DrillArgs},
    logging,
    pki::command::{self, IdentityArgs},
    release::{self, ReleaseArgs},
    run,
};
use sorcha_os::{
    environment::without_empty,
    output,
    replace::{Existing, Mode, replace_file},
};
use tokio::signal::unix::{SignalKind, signal};

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
    /// Remove the finalizers of SorchaBlueprints where no controller is left to do it, such as after an uninstall
    Release(ReleaseArgs),
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
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let result = match cli.command {
        Command::Run(settings) => run_controller(*settings).await,
        Command::Drill(args) => run_drill(args).await,
        Command::Identity(args) => make_identity(args).await,
        Command::Release(args) => release_blueprints(args).await,
        Command::Crds(args) => crds(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The command line. `--help` into a full file has not done what it was asked for.
fn parse() -> Result<Cli, ExitCode> {
    let mut command = without_empty(Cli::command());
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = parsed
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    parsed.map_err(|error| match (error.print(), u8::try_from(error.exit_code())) {
        (Ok(()), Ok(code)) => ExitCode::from(code),
        _ => ExitCode::FAILURE,
    })
}

async fn run_controller(settings: Settings) -> anyhow::Result<()> {
    let filter = logging::filter(&settings.log).context("--log")?;
    // The library tells of lines that it could not write with a macro that panics when standard error is full.
    let log = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
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

async fn release_blueprints(args: ReleaseArgs) -> anyhow::Result<()> {
    let client = kube::Client::try_default().await.context("find the cluster")?;
    release::run(client, args).await
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
                replace_file(&file, yaml.as_bytes(), Mode::Usual, Existing::Goes)?;
            }
            None => {
                output::say(format_args!("---\n{}", yaml.trim_end())).context("write to standard output")?
            }
        }
    }
    Ok(())
}
