//! The `sorcha.peer.v1` protocol: generated messages, clients and servers.
//!
//! [`v1`] holds everything as generated from the `.proto` files. [`raw`] holds `SystemRegisterSync` once more
//! with [`EncodedEntry`] in the place of `SystemRegisterEntry`; the method paths and the bytes on the wire are
//! the same, only the copy through a decoded struct is gone. A central node sends entries without it, too: as bodies of
//! its own, which share the stored bytes.
//!
//! Deliberately absent: checks of what a message says; each side makes its own. Additions to the original contract have numbers
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
