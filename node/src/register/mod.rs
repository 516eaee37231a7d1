//! The system register as pure data: entries, canonical documents, genesis and lineage, digest, the in-memory
//! view that everything is served from, and its integrity rules. No I/O, no clock, no randomness.

pub mod bundle;
pub mod canonical;
pub mod digest;
pub mod entry;
pub mod integrity;
pub mod limits;
pub mod lineage;
pub mod names;
pub mod seed;
pub mod view;
