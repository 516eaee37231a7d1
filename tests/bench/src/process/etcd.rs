//! An etcd server of one member.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Server, free_ports};

/// A running server.
pub(crate) struct Etcd {
    server: Server,
    port: u16,
}

impl Etcd {
    /// Starts one with an empty store; everything but the addresses is the server's default.
    pub(crate) async fn start(program: &Path, work: &Path) -> Result<Self> {
        let [port, peers] = free_ports()?;
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let data = work.join("etcd.data");
        let cluster = format!("default={peer}");
        let arguments = [
            "--data-dir",
            data.to_str().context("the work directory is no text")?,
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &cluster,
            "--log-level",
            "error",
        ];
        let mut server = Server::start("etcd", program, arguments, work)?;
        let health = format!("{client}/health");
        let http = sorcha_api::client::plain()?;
        server
            .until_ready(|| async {
                let answer = async { http.get(&health).send().await.ok()?.text().await.ok() };
                answer.await.is_some_and(|text| text.contains("true"))
            })
            .await?;
        Ok(Self { server, port })
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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
