//! The command line of `sorcha-node`: what it accepts, and the commands that are no node.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

mod api;
mod blueprint;
pub mod console;
pub mod node;
mod overrides;
pub(crate) mod publish;
pub(crate) mod register;
pub(crate) mod state_change;
pub(crate) mod status;
pub(crate) mod store;
mod table;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum, error::ErrorKind};
use sorcha_config::{Config, ConfigError, LogFormat};
use sorcha_os::environment::without_empty;
use sorcha_runtime::clock::SystemClock;

use self::{console::Console, node::NodeSettings};

/// Sorcha node: holds the system register of published blueprints as a central node, or a replica of it as a peer.
#[derive(Debug, Parser)]
#[command(
    name = "sorcha-node",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Settings come from the file given with --config, then from the environment \
        (SORCHA_HEARTBEAT__INTERVAL=30s is heartbeat.interval), then from flags; the last one wins.\n\
        \n\
        Examples:\n  \
        sorcha-node demo                                             a whole network on this machine\n  \
        sorcha-node central --hostname n0.sorcha.dev                 a central node\n  \
        sorcha-node peer --node-id edge --central-node n0.sorcha.dev=10.0.0.5:5000\n  \
        sorcha-node publish blueprints/*.json --token-file token\n  \
        sorcha-node status --watch\n\
        \n\
        Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags of every command.
    #[command(flatten)]
    pub globals: Globals,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Globals {
    /// TOML file with settings
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Format of the log lines on standard error
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Which log lines to write, in the syntax of RUST_LOG: `debug`, or `warn,sorcha=trace`
    #[arg(long = "log", global = true, value_name = "FILTER")]
    pub log_filter: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a central node: hold the register, accept publications and peers
    Central(node::CentralArgs),
    /// Run a peer: hold a replica of the register and keep it up to date from one central node
    Peer(node::PeerArgs),
    /// Run a whole network in this process: three central nodes, some peers, and a failover to watch
    Demo(sorcha_demo::DemoArgs),
    /// The tools.
    #[command(flatten)]
    Tool(Tool),
}

/// The commands that run to their end instead of staying.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Publish blueprints on a central node
    Publish(publish::PublishArgs),
    /// Mark a blueprint as inactive, no longer to be used; it stays readable
    Deprecate(state_change::ChangeArgs),
    /// Make a deprecated blueprint active again
    Reactivate(state_change::ChangeArgs),
    /// Show the health, connection and version of a running node
    Status(status::StatusArgs),
    /// Check, save, restore or replace the stored register of a node that is stopped
    Register(register::RegisterArgs),
}

/// Form of what a command writes to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON object a line
    Json,
}

/// How a command that ran to its end did. What went wrong has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// Something was not.
    Failed,
    /// It can't be done as asked: a wrong flag or setting.
    Usage,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::FAILURE,
            Outcome::Usage => Self::from(2),
        }
    }
}

/// Reads the command line; on a mistake, explains it and ends the process with 2.
#[must_use]
pub fn parse() -> Cli {
    parse_from(std::env::args_os()).unwrap_or_else(|error| {
        // `--help` into a full file has not done what it was asked for.
        let code = if error.print().is_err() { 1 } else { error.exit_code() };
        std::process::exit(code)
    })
}

fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = without_empty(Cli::command());
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    if let Command::Tool(Tool::Publish(args)) = &cli.command {
        args.check().map_err(|problem| Cli::command().error(ErrorKind::ArgumentConflict, problem))?;
    }
    Ok(cli)
}

/// The configuration that file, environment and these flags give, with the node's identity filled in.
///
/// # Errors
/// [`ConfigError`] naming the setting; ranges and role are not checked here.
pub fn load_config(globals: &Globals, settings: &impl NodeSettings) -> Result<Config, ConfigError> {
    let mut overrides = overrides::Overrides::default();
    overrides.set("log.format", globals.log_format);
    overrides.set("log.filter", globals.log_filter.as_ref());
    settings.add_to(&mut overrides);
    let config = Config::load(globals.config.as_deref(), overrides)?;
    let machine = node::machine_name();
    Ok(if settings.are_of_a_peer() {
        config.with_peer_identity(&machine)
    } else {
        config.with_identity(&machine)
    })
}

/// Runs a tool to its end.
///
/// # Errors
/// Whatever stopped it, for [`console::error_text`].
pub async fn run_tool(tool: &Tool, globals: &Globals, console: &mut Console<'_>) -> anyhow::Result<Outcome> {
    match tool {
        Tool::Publish(args) => publish::run(args, console).await,
        Tool::Deprecate(args) => state_change::run(args, state_change::Change::Deprecate, console).await,
        Tool::Reactivate(args) => state_change::run(args, state_change::Change::Reactivate, console).await,
        Tool::Status(args) => status::run(args, &SystemClock::new(), console).await,
        Tool::Register(args) => {
            let config = load_config(globals, &args.store)?;
            register::run(&args.command, &config, &SystemClock::new(), console).await
        }
    }
}

#[cfg(test)]
mod tests;
