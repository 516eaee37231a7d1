//! The Sorcha node.
pub mod clock;
pub mod register;
