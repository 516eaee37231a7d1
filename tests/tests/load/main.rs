//! A real process under load from callers that mean no good: its probes answer, its memory stays within what its settings say, and it
//! has the file descriptors that it needs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod callers;
mod descriptors;
mod memory;
mod node;
mod probes;
mod streams;
