//! Who takes part, and what a connection is made to.

use std::fmt;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// Central node `n0`, `n1`, …
    Central(u8),
    /// Peer `edge-0`, `edge-1`, …
    Peer(u8),
    /// Whoever publishes.
    Publisher(u8),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Central(number) => write!(f, "n{number}"),
            Self::Peer(number) => write!(f, "edge-{number}"),
            Self::Publisher(number) => write!(f, "publisher-{number}"),
        }
    }
}

/// What a connection is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// gRPC.
    Grpc,
    /// HTTP.
    Http,
}
