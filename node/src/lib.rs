//! The Sorcha node: the central and the peer role of a replicated system register.
//!
//! The modules stand in the order in which data flows; none imports one further down, but for `env` and
//! `telemetry`, which serve all.

pub mod central;
pub mod clock;
pub mod config;
pub mod env;
pub mod keys;
pub mod local;
pub mod peer;
pub mod register;
pub mod register_bootstrap;
pub mod run;
pub mod store;
pub mod telemetry;
