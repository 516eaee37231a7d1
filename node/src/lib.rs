//! The Sorcha node.
pub mod clock;
pub mod register;
pub mod store;
