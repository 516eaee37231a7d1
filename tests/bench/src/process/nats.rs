//! A NATS server with JetStream on file storage.

use std::{fs, path::Path};

use anyhow::Result;

use super::{Server, accepts, free_ports};

/// When JetStream fsyncs what it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// The server's default: every two minutes.
    Default,
    /// Before each acknowledgement, as our central nodes do.
    Always,
}

/// A running server.
pub(crate) struct Nats {
    server: Server,
    port: u16,
}

impl Nats {
    /// Starts one with an empty store.
    pub(crate) async fn start(program: &Path, work: &Path, sync: Sync) -> Result<Self> {
        let [port] = free_ports()?;
        let store = work.join("nats.data");
        fs::create_dir_all(&store)?;
        let sync = match sync {
            Sync::Default => "",
            Sync::Always => "sync_interval: always",
        };
        let file = work.join("nats.conf");
        let text = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{\n  store_dir: {:?}\n  {sync}\n}}\n",
            store.display().to_string()
        );
        fs::write(&file, text)?;
        let mut server = Server::start("nats", program, [Path::new("--config"), &file], work)?;
        server.until_ready(|| accepts(port)).await?;
        Ok(Self { server, port })
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The process.
    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    /// The process, which is killed when it is dropped.
    pub(crate) fn into_server(self) -> Server {
        self.server
    }

    /// Kills it.
    pub(crate) async fn kill(self) -> Result<()> {
        self.server.kill().await
    }
}
