//! The system register as pure data: entries, canonical documents, genesis and lineage, digest, the in-memory
//! view that everything is served from, and its integrity rules. No I/O, no clock, no randomness.

pub mod clock;
pub mod limits;
pub mod names;
pub mod session_name;
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
#[cfg(any(test, feature = "testing"))]
pub mod testing;
