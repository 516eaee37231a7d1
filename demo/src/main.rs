//! The demo as a program of its own, with few dependencies.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser;
use sorcha_demo::{DemoArgs, DemoError};
use sorcha_os::output;
use tracing::level_filters::LevelFilter;

/// Three central nodes share one register and some peers replicate it, all on loopback, with a failover to watch.
#[derive(Debug, Parser)]
#[command(name = "sorcha-demo", version)]
struct Cli {
    #[command(flatten)]
    args: DemoArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::ERROR)
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // `--help` into a full file has failed.
        Err(error) if error.print().is_err() => return ExitCode::FAILURE,
        Err(error) => error.exit(),
    };
    match sorcha_demo::run(&cli.args).await {
        Ok(summary) if summary.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            output::complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
