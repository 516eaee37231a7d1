//! Simulation: a network of real nodes on simulated machines, under virtual time, with faults drawn from a seed.
//!
//! Node, gRPC, HTTP/2, HTTP and store code is the product's own, from the bytes on a connection to those on the disk;
//! simulated are the network ([`net`]), the disks ([`disk`]), the database's conduct ([`database`]), the clocks
//! ([`clock`]) and what a central node that lies says ([`liar`]). A run is one thread, one seed and no real time, so that a seed that fails fails again the same way.
//! [`check`] reads the record of a run and finds what must not be.

pub mod central;
pub mod check;
mod client;
pub mod clock;
pub mod database;
pub mod disk;
mod doubts;
mod faults;
pub mod history;
pub mod liar;
mod logs;
pub mod net;
pub mod peer;
pub mod plan;
mod process;
pub mod shrink;
mod world;

use std::time::Duration;

use self::{
    check::Violation,
    history::{Event, History},
    plan::{Planned, Shape},
};

/// How a run ended.
pub struct Outcome {
    /// What must not be.
    pub violations: Vec<Violation>,
    /// Everything that happened.
    pub events: Vec<Event>,
    /// What the run measured, for the table over all runs.
    pub figures: check::Figures,
    /// Virtual time that it took.
    pub took: Duration,
}

/// Runs one seed through a plan, on this thread.
///
/// # Panics
/// When the thread can't have a runtime.
#[must_use]
#[expect(clippy::expect_used, reason = "without a runtime there is no run")]
pub fn run(seed: u64, shape: Shape, plan: &[Planned]) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.build().expect("a runtime");
    let panics = logs::catch_panics();
    let record = tokio::task::LocalSet::new().block_on(&runtime, async {
        let history = History::new();
        let _logs = logs::capture(&history);
        world::run(seed, shape, plan.to_vec(), history).await
    });
    drop(runtime);
    let figures = check::figures(&record.events);
    let violations = check::check(&record, plan, &panics.take());
    Outcome { violations, figures, took: record.took, events: record.events }
}
