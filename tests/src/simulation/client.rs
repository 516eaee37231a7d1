//! Clients of the nodes' HTTP API, over the simulated network.

mod http;
pub(super) mod publisher;
pub(super) mod reader;
