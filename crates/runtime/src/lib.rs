//! What the parts of a node need from their surroundings, injected so that a whole network runs under simulation: clocks,
//! randomness, instruments, spans, supervised tasks, followed files, fair shares, listeners that survive, and TLS with the identities it proves.
//!
//! [`env::Env`] carries them. The wall clock is read in [`clock`] and nowhere else. A task under [`supervise`] that dies is
//! logged, counted and started again. TLS files are followed, and what does not fit together is not taken ([`tls`]).
//!
//! Deliberately absent: anything of the two roles, exporters of telemetry, dialled connections.
//! Begin with [`env::Env`], [`clock::VirtualClock`], [`metrics::Metrics`], [`supervise::forever`], [`tls::Tls`].

pub mod clock;
pub mod metrics;
pub mod spans;
pub mod traces;
pub mod parsing;
pub mod reading;
pub mod shares;
pub mod source;
pub mod file_watch;
pub mod tls;
pub mod accept;
pub mod env;
pub mod supervise;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
