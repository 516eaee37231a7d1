//! What the parts of a node need from their surroundings, injected so that a whole network runs under simulation: clocks,
//! randomness, instruments, spans, supervised tasks, followed files, fair shares, and TLS with the identities it proves. Begin with [`env::Env`].
//!
//! Deliberately absent: anything of the two roles, exporters of telemetry, sockets.

pub mod clock;
pub mod metrics;
pub mod spans;
pub mod traces;
pub mod parsing;
pub mod shares;
pub mod source;
pub mod file_watch;
pub mod tls;
pub mod env;
pub mod supervise;
