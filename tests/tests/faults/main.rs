//! Faults on real processes: the real binary is killed, stopped, starved of space, its files and its clock are changed,
//! under continuous publishing. `tests/faults` builds and runs this.
//!
//! `cargo test -p sorcha-tests --test faults -- --run [--list] [--minutes N] [--seed N] [--may-mount] [--keep]
//! [--skips FILE] [SCENARIO...]`. Without `--run` nothing is done, so that `cargo test` stays short.
#![allow(clippy::too_many_lines, reason = "a scenario is a list of steps")]

mod api;
mod arguments;
mod authority;
mod damage;
mod network;
mod node;
mod observer;
mod publishers;
mod run;
mod scenario;
mod scenarios;

use std::process::ExitCode;

use arguments::{Arguments, Wanted};

#[tokio::main]
async fn main() -> ExitCode {
    let wanted = match Arguments::parse(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("fault tests: error: {error}");
            return ExitCode::from(2);
        }
    };
    match wanted {
        Wanted::Nothing => println!("fault tests take minutes: tests/faults runs them"),
        Wanted::List => {
            for scenario in scenarios::all() {
                println!("{:15} {}", scenario.name, scenario.about);
            }
        }
        Wanted::Run(arguments) => {
            let passed = tokio::select! {
                passed = run::run(&arguments) => passed,
                // Every process started here is killed when its handle is dropped.
                () = stopped() => false,
            };
            return if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    ExitCode::SUCCESS
}

async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
