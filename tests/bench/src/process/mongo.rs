//! The tests' server of MongoDB's protocol (`tests/mongo`), with its data in a file.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Server, accepts, free_ports};

/// A running server.
pub(crate) struct Mongo {
    server: Server,
    port: u16,
}

impl Mongo {
    /// Starts one with an empty store.
    pub(crate) async fn start(program: &Path, work: &Path) -> Result<Self> {
        let [port] = free_ports()?;
        let file = work.join("mongo.mv");
        let file = file.to_str().context("the work directory is no text")?;
        // The script becomes the server: killing it kills the server.
        let arguments = ["--host", "127.0.0.1", "--port", &port.to_string(), "--file", file];
        let mut server = Server::start("mongo", program, arguments, work)?;
        server.until_ready(|| accepts(port)).await?;
        Ok(Self { server, port })
    }

    /// What central nodes are configured with.
    pub(crate) fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?retryWrites=false\n", self.port)
    }

    /// The process.
    pub(crate) fn into_server(self) -> Server {
        self.server
    }
}
