//! The system register as pure data: entries, canonical documents, genesis and lineage, digest, the in-memory
//! view that everything is served from, and its integrity rules. No I/O, no clock, no randomness.

pub mod limits;
pub mod names;
mod preview;
pub mod canonical;
mod header;
pub mod entry;
pub mod lineage;
pub mod seed;
pub mod digest;
pub mod view;
pub mod succession;
pub mod integrity;
pub mod bundle;

#[cfg(test)]
mod properties;
