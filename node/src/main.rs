//! The Sorcha node's executable: see `sorcha-node --help`.

use std::{
    io::{self, BufReader, IsTerminal as _},
    process::ExitCode,
};

use anyhow::Context as _;
use sorcha_config::{LogFormat, Role};
use sorcha_demo::DemoArgs;
use sorcha_node::{
    cli::{
        self, Command, Globals, Outcome, Tool,
        console::{Console, error_text, is_broken_pipe},
        node::NodeSettings,
    },
    run, telemetry,
};
use sorcha_os::output;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Entries live long between buffers that live shortly; glibc's arenas grow a page at a time under that (docs/benchmarks).
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse();
    let result = match &cli.command {
        Command::Central(args) => node(Role::Central, args, &cli.globals).await,
        Command::Peer(args) => node(Role::Peer, args, &cli.globals).await,
        Command::Demo(args) => demo(args, &cli.globals).await,
        Command::Tool(tool) => run_tool(tool, &cli.globals).await,
    };
    match result {
        Ok(outcome) => outcome.into(),
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            output::complain(format_args!("error: {}", error_text(&error)));
            ExitCode::FAILURE
        }
    }
}

async fn node(role: Role, settings: &impl NodeSettings, globals: &Globals) -> anyhow::Result<Outcome> {
    let loaded =
        cli::load_config(globals, settings).and_then(|config| config.validate(role).map(|()| config));
    let config = match loaded {
        Ok(config) => config,
        Err(error) => {
            output::complain(format_args!("error: {error}"));
            return Ok(Outcome::Usage);
        }
    };
    let telemetry = telemetry::init(&config, role.as_str())?;
    let result = run::run(config, role, &telemetry, terminated()).await;
    telemetry.shutdown().await;
    result?;
    Ok(Outcome::Done)
}

async fn demo(args: &DemoArgs, globals: &Globals) -> anyhow::Result<Outcome> {
    log_to_stderr(globals, "error")?;
    let summary = sorcha_demo::run(args).await?;
    Ok(if summary.is_good() { Outcome::Done } else { Outcome::Failed })
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

async fn run_tool(tool: &Tool, globals: &Globals) -> anyhow::Result<Outcome> {
    log_to_stderr(globals, "warn")?;
    let (stdin, mut stdout, mut stderr) = (io::stdin(), io::stdout(), io::stderr());
    let can_ask = stdin.is_terminal() && stderr.is_terminal();
    let out_is_terminal = stdout.is_terminal();
    let mut answers = BufReader::new(stdin);
    let mut console = Console {
        out: &mut stdout,
        out_is_terminal,
        err: &mut stderr,
        answers: if can_ask { Some(&mut answers) } else { None },
    };
    let outcome = cli::run_tool(tool, globals, &mut console).await?;
    console.out.flush().context("write to standard output")?;
    Ok(outcome)
}

/// Tools say what they do themselves; of the log only warnings are worth showing beside that.
fn log_to_stderr(globals: &Globals, otherwise: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(globals.log_filter.as_deref().unwrap_or(otherwise)).context("--log")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Told with a macro that panics when standard error is full.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match globals.log_format {
        Some(LogFormat::Json) => log.json().init(),
        _ => log.with_target(false).without_time().init(),
    }
    Ok(())
}
