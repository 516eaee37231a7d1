//! The Sorcha node: the central and the peer role of a replicated system register.
//!
//! The modules stand in the order in which data flows; none imports one further down, but for
//! `telemetry`, which serves all.

pub mod kubernetes;
pub mod telemetry;
pub mod accept;
pub mod descriptors;
mod memory;
pub mod keys;
pub mod http;
pub mod http_client;
pub mod report;
pub mod run;
pub mod local;
pub mod demo;
pub mod cli;
