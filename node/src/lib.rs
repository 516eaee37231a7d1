//! The Sorcha node as a program: the central or the peer role of a replicated system register, with logs and telemetry,
//! reports into a custom resource, and commands. Roles, HTTP API and demo are crates of their own.
//!
//! The modules stand in the order in which data flows; none imports one further down. HTTP and probes answer from the first
//! moment to the last, whatever the role is doing, and whoever asks waits for no report or export.
//!
//! Deliberately absent: rules of replication, and what answers HTTP requests.
//! Begin with [`run::run`], `report::Reporter`, [`cli`].

pub(crate) mod kubernetes;
pub mod telemetry;
pub(crate) mod descriptors;
mod memory;
mod reviewer;
pub(crate) mod report;
pub mod run;
pub mod cli;
