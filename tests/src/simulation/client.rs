//! Clients of the nodes' HTTP API, over the simulated network.

pub(super) mod health;
mod http;
pub(super) mod publisher;
pub(super) mod reader;
