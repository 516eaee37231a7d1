//! The system register as pure data: entries with their canonical documents, genesis and lineage, the digest, and the view in
//! memory that everything is served from.
//!
//! Equal input gives equal bytes on every machine: an [`entry::Entry`] has one encoding and one leaf, a register one digest.
//! [`succession`] decides which entries may follow what is held; [`integrity`] finds damage in a stored register. [`clock`] has
//! the types of time and the trait of clocks.
//!
//! Deliberately absent: files, sockets, a real clock, randomness, roles.
//! Begin with [`entry::SealedEntry`], [`view::RegisterView`], [`names`], [`succession::news`].

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
