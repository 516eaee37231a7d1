//! The Sorcha node.
pub mod clock;
pub mod config;
pub mod env;
pub mod telemetry;
pub mod register;
pub mod store;
pub mod central;
pub mod peer;
pub mod http;
