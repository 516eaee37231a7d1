//! The Sorcha node.
pub mod clock;
pub mod config;
pub mod keys;
pub mod register;
pub mod register_bootstrap;
pub mod store;
