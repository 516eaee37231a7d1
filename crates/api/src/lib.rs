//! The HTTP API of nodes as both sides of it see it: what is sent, what is answered, which problems there are, and the client.
//!
//! Begin with [`Published`] and [`problem::Kind`]; callers go on with `client::Node` and `client::answer` (feature `client`). The
//! node's API description is made of these types (feature `openapi`).
//!
//! Absent on purpose: the server (`sorcha_http`), answers that no program of ours reads, which
//! stay beside their handlers, and what a caller makes of a refusal.

#[cfg(feature = "client")]
pub mod client;
mod instant;
pub mod problem;
mod published;

pub use instant::Instant;
pub use published::{Publication, Published};
