//! The Sorcha node: the central and the peer role of a replicated system register.
//!
//! The modules stand in the order in which data flows; none imports one further down, but for `env` and
//! `telemetry`, which serve all.

pub mod clock;
pub mod config;
pub mod env;
pub mod file_watch;
pub mod kubernetes;
pub mod telemetry;
pub mod accept;
pub mod descriptors;
mod memory;
mod parsing;
mod source;
pub mod supervise;
pub mod keys;
pub mod register;
pub mod tls;
pub mod session_name;
pub mod shares;
pub mod store;
pub mod register_bootstrap;
pub mod central;
pub mod peer;
pub mod http;
pub mod http_client;
pub mod report;
pub mod run;
pub mod local;
pub mod demo;
pub mod cli;
