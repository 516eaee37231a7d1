//! The Sorcha node: the central and the peer role of a replicated system register.
//!
//! The modules stand in the order in which data flows; none imports one further down, but for `env` and
//! `telemetry`, which serve all.

pub mod clock;
pub mod config;
pub mod env;
pub mod keys;
pub mod telemetry;
pub mod register;
pub mod register_bootstrap;
pub mod store;
pub mod central;
pub mod peer;
pub mod run;
