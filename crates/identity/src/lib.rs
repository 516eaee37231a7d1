//! Who a certificate speaks for (ADR 38): the SPIFFE names that the controller writes into certificates and the nodes read
//! from them, and what else a node reads from one.
//!
//! Begin with [`Identity`], which is written and parsed by the same rules, then [`certificate::Leaf`].
//!
//! All of it is pure: no clock, no file, no runtime. Absent on purpose: proof. Nothing here verifies a signature, and the TLS library
//! has verified a certificate before its identity is used.

pub mod certificate;
mod spiffe;

pub use spiffe::{Identity, InvalidIdentity, Kind};
