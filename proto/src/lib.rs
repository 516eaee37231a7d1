//! The `sorcha.peer.v1` protocol: generated messages, clients and servers.
//!
//! [`v1`] is generated from the `.proto` files. [`raw`] is `SystemRegisterSync` with [`EncodedEntry`] in place of
//! `SystemRegisterEntry`: the same method paths and bytes on the wire, without a copy through a decoded struct. Central nodes
//! send entries as bodies of their own, which share the stored bytes.
//!
//! Deliberately absent: validation of messages; each side has its own. Additions to the original contract have numbers
//! from 100 up (ADR 24). Begin with [`v1`], [`EncodedEntry`], [`metadata`].

mod encoded;

pub use encoded::EncodedEntry;

/// Messages, clients and servers of package `sorcha.peer.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::needless_pass_by_value
)]
pub mod v1 {
    tonic::include_proto!("sorcha.peer.v1");
}

/// `SystemRegisterSync` over [`EncodedEntry`].
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::needless_pass_by_value
)]
pub mod raw {
    include!(concat!(env!("OUT_DIR"), "/raw/sorcha.peer.v1.rs"));
}

/// Encoded `FileDescriptorSet` of the package, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The reserved register id carried by every entry (protocol section 6.8, D15).
pub const REGISTER_ID: &str = "00000000-0000-0000-0000-000000000000";

/// Initial response metadata of the two sync RPCs.
pub mod metadata {
    /// Hex lineage (64 characters) of the register served.
    pub const LINEAGE: &str = "sorcha-lineage";
    /// Decimal head version of the snapshot that is streamed.
    pub const VERSION: &str = "sorcha-register-version";
    /// Hex register digest (64 characters) at that version.
    pub const DIGEST: &str = "sorcha-register-digest";
    /// The standard gRPC retry hint, milliseconds, in the trailers of a refusal.
    pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";
}
