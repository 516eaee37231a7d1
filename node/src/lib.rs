//! The Sorcha node.
pub mod clock;
pub mod config;
pub mod register;
pub mod store;
