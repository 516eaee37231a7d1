//! A peer as its users run it: the real binary with a journal on disk.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::Deserialize;
use sorcha_api::client;

use crate::process::{Server, central::Place, free_ports};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A running peer.
pub(super) struct PeerProcess {
    server: Server,
    program: PathBuf,
    work: PathBuf,
    arguments: Vec<String>,
    name: String,
    http: u16,
}

/// What is looked at of a page of entries.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    total_count: usize,
}

impl PeerProcess {
    pub(super) fn start(program: &Path, work: &Path, number: usize, central: &Place) -> Result<Self> {
        let [http] = free_ports()?;
        let name = format!("edge-{number}");
        let address = central.address(0);
        let arguments = [
            "peer".to_owned(),
            format!("--node-id={name}"),
            format!("--data-dir={}", work.join(format!("{name}.data")).display()),
            format!("--listen-http=127.0.0.1:{http}"),
            format!("--central-node={}={}:{}", central.id(), address.host, address.port),
        ];
        let server = Server::start(&name, program, &arguments, work)?;
        let (program, work) = (program.to_owned(), work.to_owned());
        Ok(Self { server, program, work, arguments: arguments.into(), name, http })
    }

    /// kill -9, and another process on the same disk.
    pub(super) async fn again(self) -> Result<Self> {
        let Self { server, program, work, arguments, name, http } = self;
        server.kill().await?;
        let server = Server::start(&name, &program, &arguments, &work)?;
        Ok(Self { server, program, work, arguments, name, http })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(super) const fn http_port(&self) -> u16 {
        self.http
    }

    /// Waits until it serves so many entries.
    pub(super) async fn until_it_holds(&mut self, entries: usize, patience: Duration) -> Result<()> {
        let (http, started) = (self.http, Instant::now());
        loop {
            match held(http).await {
                Some(all) if all == entries => return Ok(()),
                some if started.elapsed() > patience => {
                    bail!("{} has {some:?} of {entries} entries after {patience:?}", self.name)
                }
                _ => self.server.ensure_running()?,
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Entries that a peer serves; `None` while it serves none.
async fn held(http: u16) -> Option<usize> {
    let url = format!("http://127.0.0.1:{http}/api/system-register/blueprints?pageSize=1");
    let answer = client::plain().ok()?.get(url).send().await.ok()?.error_for_status().ok()?;
    Some(answer.json::<Page>().await.ok()?.total_count)
}
