//! The demo: three central nodes on one register and some peers on loopback, with a failover. The nodes, their sockets and
//! their stores in a temporary folder are the real ones.

mod blueprints;
mod network;
mod stage;
mod table;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use serde::Serialize;
use sorcha_central::publish::PublishError;
use sorcha_config::ConfigError;
use sorcha_host::HostError;
use sorcha_store::StoreError;

use self::{blueprints::Blueprint, network::Network, stage::Stage};

/// Time limit of a phase.
const PATIENCE: Duration = Duration::from_secs(60);
/// Period of the table and of checks.
const FRAME: Duration = Duration::from_millis(100);
/// Pause between two phases on a terminal.
const PAUSE: Duration = Duration::from_millis(1500);
/// Time between two publications, so that the eye can follow.
const PUBLICATION_PAUSE: Duration = Duration::from_millis(150);

/// Arguments of the demo.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example: --peers 8 --blueprints blueprints --keep-running\n\nEverything runs in this process on loopback \
        addresses and keeps its data in a temporary directory."
)]
pub struct DemoArgs {
    /// Peers beside the three central nodes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub peers: u16,
    /// Directory with blueprints to publish, one JSON-LD document a file [default: ./blueprints, else the samples of the source tree]
    #[arg(long, value_name = "DIR")]
    pub blueprints: Option<PathBuf>,
    /// Leave the network running after the failover, until Ctrl-C
    #[arg(long)]
    pub keep_running: bool,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: Form,
}

/// Form of what the demo writes to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// For programs: one JSON object a line
    Json,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum DemoError {
    /// The blueprints can't be read.
    #[error(transparent)]
    Blueprints(#[from] blueprints::BlueprintsError),
    /// The temporary folder can't be made.
    #[error("temporary folder: {0}")]
    Folder(#[source] io::Error),
    /// A node does not start.
    #[error(transparent)]
    Node(#[from] HostError),
    /// The settings of a node are refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener fails.
    #[error("HTTP server: {0}")]
    Listen(#[source] io::Error),
    /// A store can't be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A publication is refused.
    #[error("publish {id}: {source}")]
    Publish { id: String, source: PublishError },
    /// The output can't be written.
    #[error("write to standard output: {0}")]
    Output(#[source] io::Error),
    /// A phase did not end in time.
    #[error("{what} did not happen within {} s", PATIENCE.as_secs())]
    Stuck { what: &'static str },
}

/// Result of the demo.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Central nodes and peers.
    pub central_nodes: usize,
    /// Peers.
    pub peers: usize,
    /// Blueprints published, the seed not counted.
    pub published: usize,
    /// Time until every peer was connected and held the whole register, ms.
    pub first_sync_ms: u128,
    /// From the kill of n0 until its last peer beat elsewhere, ms.
    pub failover_ms: u128,
    /// Publication to persistence at a peer: median of all, ms.
    pub push_p50_ms: f64,
    /// 99th percentile of the same.
    pub push_p99_ms: f64,
    /// Newest version of the register.
    pub version: i64,
    /// Its digest.
    pub digest: String,
    /// Peers whose replica equals the register by digest.
    pub equal_replicas: usize,
    /// Acknowledged publications that a peer does not hold.
    pub lost: usize,
}

impl Summary {
    /// Every replica equals the register, and nothing is lost.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.equal_replicas == self.peers && self.lost == 0
    }
}

/// Runs the demo.
///
/// # Errors
/// [`DemoError`] when something does not start or a phase does not end; a replica that differs is no error but a
/// summary that is not good.
pub async fn run(args: &DemoArgs) -> Result<Summary, DemoError> {
    let json = args.output == Form::Json;
    let blueprints = blueprints::load(args.blueprints.as_deref())?;
    let folder = tempfile::Builder::new().prefix("sorcha-demo-").tempdir().map_err(DemoError::Folder)?;
    let network = Network::start(folder.path(), args.peers).await?;
    let mut demo = Demo {
        network,
        stage: Stage { json, live: !json && io::stdout().is_terminal(), drawn: 0, told: Ok(()) },
        summary: Summary {
            central_nodes: network::CENTRAL_NODES,
            peers: args.peers.into(),
            ..Summary::default()
        },
        versions: Vec::new(),
    };
    let (before, after) = blueprints.split_at(blueprints.len().div_ceil(2));
    demo.connect().await?;
    demo.publish("publish the first half at n0", 0, before).await?;
    demo.kill().await?;
    demo.publish("publish the second half at n1, with n0 gone", 1, after).await?;
    demo.restart().await?;
    let summary = demo.finish();
    if args.keep_running {
        demo.keep_running().await;
    }
    demo.network.stop().await;
    demo.stage.told.map_err(DemoError::Output)?;
    Ok(summary)
}

struct Demo {
    network: Network,
    stage: Stage,
    summary: Summary,
    /// Acknowledged ids and versions.
    versions: Vec<(String, i64)>,
}

impl Demo {
    /// Draws the table until a condition holds.
    async fn until(
        &mut self,
        what: &'static str,
        so: impl Fn(&Network) -> bool,
    ) -> Result<Duration, DemoError> {
        let started = Instant::now();
        while !so(&self.network) {
            if started.elapsed() > PATIENCE {
                self.stage.keep(&self.network.progress());
                return Err(DemoError::Stuck { what });
            }
            self.stage.draw(&self.network.progress());
            tokio::time::sleep(FRAME.min(Duration::from_millis(5) + started.elapsed() / 4)).await;
        }
        Ok(started.elapsed())
    }

    /// Shows the end of a phase; on a terminal for long enough to be read.
    async fn end_phase(&mut self) {
        self.stage.keep(&self.network.progress());
        if self.stage.live {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connect(&mut self) -> Result<(), DemoError> {
        let (centrals, peers) = (self.summary.central_nodes, self.summary.peers);
        self.stage.headline(&format!("{centrals} central nodes share one register; {peers} peers connect"));
        let took = self.until("every peer connected and in sync", Network::all_in_sync).await?;
        self.summary.first_sync_ms = took.as_millis();
        self.end_phase().await;
        Ok(())
    }

    async fn publish(
        &mut self,
        headline: &str,
        central: usize,
        blueprints: &[Blueprint],
    ) -> Result<(), DemoError> {
        self.stage.headline(&format!("{headline}: {} blueprints", blueprints.len()));
        for blueprint in blueprints {
            let publication = self.network.publish(central, blueprint).await?;
            self.versions.push((blueprint.id.clone(), publication.entry.entry().version.get()));
            self.summary.published += usize::from(publication.changed);
            self.stage.draw(&self.network.progress());
            tokio::time::sleep(PUBLICATION_PAUSE).await;
        }
        self.until("every peer up to date", Network::all_in_sync).await?;
        self.end_phase().await;
        Ok(())
    }

    async fn kill(&mut self) -> Result<(), DemoError> {
        let moved = self.network.peers_at(0);
        self.stage.headline(&format!("kill n0: {moved} peers lose their central node"));
        self.network.kill(0);
        let took = self.until("every peer at another central node", Network::all_beating_elsewhere).await?;
        self.summary.failover_ms = took.as_millis();
        self.end_phase().await;
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), DemoError> {
        self.stage
            .headline("start n0 again: it verifies the register and accepts peers; no peer has to move back");
        self.network.restart(0).await?;
        self.until("n0 at the register's head", |network| network.caught_up(0)).await?;
        self.end_phase().await;
        Ok(())
    }

    fn finish(&mut self) -> Summary {
        self.network.sum_up(&mut self.summary, &self.versions);
        if self.stage.json {
            self.stage.line(serde_json::json!({ "summary": self.summary }));
        } else {
            self.stage.line(format_args!("\n{}", table::summary(&self.summary)));
        }
        self.summary.clone()
    }

    async fn keep_running(&mut self) {
        self.stage.headline("the network stays up; Ctrl-C ends it");
        for line in self.network.addresses() {
            self.stage.line(line);
        }
        let mut ended = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                _ = &mut ended => return,
                () = tokio::time::sleep(FRAME) => self.stage.draw(&self.network.progress()),
            }
        }
    }
}
