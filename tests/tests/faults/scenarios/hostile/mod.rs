//! Hostile clients against a central node, one kind after the other: what each gets, that honest peers and publishers notice
//! nothing, and that the node's memory and file descriptors stay within bounds and come back (design decision 17).

mod frames;
mod gauge;
mod grpc;
mod http;
mod sessions;
mod tcp;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::LocalBoxFuture;
use serde_json::json;
use sorcha_node::register::canonical::Document;
use sorcha_tests::history::Answer;

use self::gauge::Gauge;
use crate::{
    api::{Api, publication},
    network::{Network, eventually},
    node::{Node, Role},
    publishers::{Publishers, Told},
    scenario::{Done, Given},
};

/// Documents of 256 KB, so that whoever reads nothing of a sync blocks it.
const LARGE: usize = 32;
/// Memory that all attacks together may take, over what the node had before.
const MEMORY_MB: u64 = 160;
/// File descriptors beside those of connections.
const OTHER_FILES: usize = 100;
/// An honest peer has a publication within this time, whatever goes on.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// Limits that are reached within seconds. Honest peers need none of them.
pub(super) const MAX_CONNECTIONS: usize = 600;
pub(super) const MAX_HTTP: usize = 200;
pub(super) const MAX_PEERS: usize = 100;
pub(super) const MAX_STREAMS: usize = 64;
const CONFIG: &str = "
keepalive = { interval = '1s', timeout = '4s' }
heartbeat = { interval = '10s', timeout = '10s' }
[limits]
max_connections = 600
max_peers = 100
sessionless_connection = '3s'
push_write_timeout = '1s'
full_sync_wait = '1s'
all_connects = { per_second = 100.0, burst = 200 }
[http]
max_connections = 200
head_timeout = '1s'
body_timeout = '2s'
write_timeout = '2s'
";

/// What is attacked.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) grpc: u16,
    pub(super) http: u16,
    /// The HTTP port of an honest peer.
    pub(super) honest: u16,
    pub(super) api: Api,
}

/// An attack; what came of it, in a line.
type Attack = fn(Target) -> LocalBoxFuture<'static, Result<String>>;

macro_rules! attack {
    ($name:literal, $run:path) => {
        ($name, (|target| Box::pin($run(target))) as Attack)
    };
}

fn attacks() -> Vec<(&'static str, Attack)> {
    vec![
        attack!("connections that say nothing", tcp::silent),
        attack!("connections reset at once", tcp::reset),
        attack!("garbage", tcp::garbage),
        attack!("streams without end on one connection", frames::streams),
        attack!("streams opened and reset", frames::resets),
        attack!("pings and settings, nothing read", frames::pings),
        attack!("headers without end", frames::headers),
        attack!("messages that are too large", grpc::oversize),
        attack!("client streams without end", grpc::endless),
        attack!("syncs that nobody reads", grpc::unread),
        attack!("connects as ever other peers", sessions::connects),
        attack!("replayed and guessed sessions", sessions::replay),
        attack!("half a request over HTTP", http::half),
        attack!("large heads and bodies over HTTP", http::large),
        attack!("answers over HTTP that nobody reads", http::unread),
    ]
}

pub(crate) async fn run(mut given: Given) -> Result<Done> {
    let mut network = Network::new(&given.directory)?;
    std::fs::write(given.directory.join("sorcha.toml"), CONFIG)?;
    let central = network.central(None)?;
    network.peer("edge-0", &[]);
    let honest = network.peer("edge-1", &[]);
    network.start_all().await?;
    let http = network.nodes[central].http;
    fill(&network.api, &network.told, http).await?;
    let publishers = Publishers::start(2, &[http], &network.told, &network.api, &mut given.random);
    let target =
        Target { grpc: network.grpc[0], http, honest: network.nodes[honest].http, api: network.api.clone() };
    let sessions = sessions_of(&network).await?;
    let gauge = Gauge::of(network.nodes[central].id()?)?;
    let attacks = attacks();
    for (name, attack) in &attacks {
        let outcome = tokio::select! {
            outcome = attack(target.clone()) => outcome.with_context(|| (*name).to_owned())?,
            error = honest_peers_suffer(&network) => return Err(error.context(format!("while under {name}"))),
        };
        let peak = gauge
            .check(MAX_CONNECTIONS + MAX_HTTP + OTHER_FILES, MEMORY_MB)
            .with_context(|| (*name).to_owned())?;
        println!("      {name}: {outcome}; {peak}");
        ensure!(sessions_of(&network).await? == sessions, "{name}: an honest peer lost its session");
        network.observer.check()?;
    }
    publishers.stop().await;
    settled(&network, &gauge).await?;
    let peak = gauge.check(MAX_CONNECTIONS + MAX_HTTP + OTHER_FILES, MEMORY_MB)?;
    let verified = network.verify(&[]).await?;
    Ok(Done::Passed(format!("{} attacks, {peak}; {verified}", attacks.len())))
}

/// Publishes large documents.
async fn fill(api: &Api, told: &Told, http: u16) -> Result<()> {
    for number in 0..LARGE {
        let id = format!("large-{number}");
        let document = json!({ "@context": "https://sorcha.dev/blueprints/v1", "id": id, "text": "x".repeat(256 * 1024) });
        let checksum = Document::canonicalize(document.to_string().as_bytes())?.checksum().to_string();
        let answer =
            api.change(http, "/api/system-register/publish", Some(&publication(&id, &document)), true).await;
        ensure!(matches!(answer, Answer::Acknowledged(_)), "{id} was not published");
        told.history().note(&id, &checksum, answer);
    }
    Ok(())
}

async fn sessions_of(network: &Network) -> Result<Vec<String>> {
    let mut sessions = Vec::new();
    for peer in network.nodes.iter().filter(|node| node.role == Role::Peer) {
        let status = eventually(&format!("{} answers", peer.name), async || {
            let status = network.api.get(peer.http, "/api/connection/status").await?;
            ensure!(status["status"] == "HeartbeatMonitoring", "it is {}", status["status"]);
            Ok(status)
        })
        .await?;
        sessions.push(status["sessionId"].as_str().context("no sessionId")?.to_owned());
    }
    Ok(sessions)
}

/// Returns when an honest peer lacks for too long what was acknowledged to a publisher.
async fn honest_peers_suffer(network: &Network) -> anyhow::Error {
    loop {
        let published = network.told.history().highest();
        let since = Instant::now();
        for peer in network.nodes.iter().filter(|node| node.role == Role::Peer) {
            while let Err(error) = has(network, peer, published).await {
                if since.elapsed() > ARRIVES_WITHIN {
                    return error;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn has(network: &Network, peer: &Node, version: i64) -> Result<()> {
    let stated = network.api.register(peer.http).await.with_context(|| peer.name.clone())?;
    ensure!(
        stated.version >= version,
        "{} is at {}, version {version} is published",
        peer.name,
        stated.version
    );
    Ok(())
}

/// Sessions and connections of the attackers are gone.
async fn settled(network: &Network, gauge: &Gauge) -> Result<()> {
    let http = network.nodes[0].http;
    eventually("only honest peers have sessions, and connections are gone", async || {
        let metrics = network.api.get_bytes(http, "/metrics").await?;
        let metrics = String::from_utf8_lossy(&metrics);
        let peers =
            metrics.lines().find(|line| line.starts_with("central_peers")).context("no central_peers")?;
        ensure!(peers.ends_with(" 2"), "{peers}");
        ensure!(gauge.files()? <= gauge.files_before() + 20, "{} files are open", gauge.files()?);
        Ok(())
    })
    .await
}
