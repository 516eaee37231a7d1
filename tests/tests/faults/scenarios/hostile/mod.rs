//! Hostile clients against a central node, one kind after the other and then all at once, with and without mutual TLS: what each
//! gets, that honest peers, publishers and probes notice nothing, and that the node's memory and file descriptors stay within
//! bounds and come back (ADR 36).

mod frames;
mod gauge;
mod grpc;
mod http;
mod round;
mod sessions;
mod target;
mod tcp;
mod tls;

use anyhow::{Result, ensure};
use futures::future::BoxFuture;
use serde_json::json;
use sorcha_register::canonical::Document;
use sorcha_tests::{history::Answer, process::free_ports};

pub(super) use self::gauge::Gauge;
use self::{round::Round, target::Target};
use crate::{
    api::{Api, publication},
    authority::Authority,
    network::Network,
    publishers::{Publishers, Told},
    scenario::{Done, Given},
};

/// Documents of 256 KB, so that a caller who reads nothing of a sync blocks it.
const LARGE: usize = 32;

/// Limits that are reached within seconds. Honest peers need none of them.
const MAX_CONNECTIONS: usize = 600;
const MAX_HTTP: usize = 200;
const MAX_PEERS: usize = 100;
const MAX_STREAMS: usize = 64;
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
handshake_timeout = '2s'
[http]
max_connections = 200
head_timeout = '1s'
body_timeout = '2s'
write_timeout = '2s'
";

/// An attack; what came of it, in a line.
type Attack = fn(Target) -> BoxFuture<'static, Result<String>>;

macro_rules! attack {
    ($name:literal, $run:path) => {
        ($name, (|target| Box::pin($run(target))) as Attack)
    };
}

fn attacks(with_tls: bool) -> Vec<(&'static str, Attack)> {
    let mut attacks = vec![
        attack!("connections that say nothing", tcp::silent),
        attack!("connections reset at once", tcp::reset),
        attack!("garbage", tcp::garbage),
        attack!("streams without end on one connection", frames::streams),
        attack!("streams opened and reset", frames::resets),
        attack!("pings and settings, nothing read", frames::pings),
        attack!("headers without end", frames::headers),
        attack!("messages that are too large", grpc::oversize),
        attack!("client streams without end", grpc::endless),
        attack!("syncs that are not read", grpc::unread),
        attack!("replayed and guessed sessions", sessions::replay),
        attack!("connects as ever other peers", sessions::connects),
        attack!("half a request over HTTP", http::half),
        attack!("large heads and bodies over HTTP", http::large),
        attack!("answers over HTTP that are not read", http::unread),
    ];
    if with_tls {
        let first = [
            attack!("no certificate, or a bad one", tls::strangers),
            attack!("garbage in the handshake", tls::garbage),
            attack!("half a handshake", tls::halves),
            attack!("connections that say nothing after the handshake", tls::silent),
            attack!("calls in the names of other peers", tls::other_names),
        ];
        attacks.splice(0..0, first);
    }
    attacks
}

/// On plain text.
pub(crate) async fn plain(given: Given) -> Result<Done> {
    run(given, None).await
}

/// With mutual TLS; the clients have certificates of peers of the network where they need one.
pub(crate) async fn secured(given: Given) -> Result<Done> {
    let authority = Authority::new(given.directory.clone());
    run(given, Some(authority)).await
}

async fn run(mut given: Given, authority: Option<Authority>) -> Result<Done> {
    let mut network = Network::new(&given.directory)?;
    std::fs::write(given.directory.join("sorcha.toml"), CONFIG)?;
    network.authority = authority.clone();
    let central = network.central(None)?;
    network.peer("edge-0", &[])?;
    network.peer("edge-1", &[])?;
    let [probes, https] = free_ports();
    for (setting, port) in [("SORCHA_LISTEN__PROBES", probes), ("SORCHA_LISTEN__HTTPS", https)] {
        network.nodes[central].environment.push((setting.to_owned(), format!("127.0.0.1:{port}")));
    }
    network.start_all().await?;
    let http = network.nodes[central].http;
    fill(&network.api, &network.told, http).await?;
    let publishers = Publishers::start(2, &[http], &network.told, &network.api, &mut given.random);
    let attacks = attacks(authority.is_some());
    let https = authority.is_some().then_some(https);
    let target = Target { grpc: network.grpc[0], http, https, authority, api: network.api.clone() };
    let mut round = Round::begin(&network, target, probes).await?;
    for (name, attack) in &attacks {
        round.one(name, *attack).await?;
    }
    round.all_at_once(&attacks).await?;
    publishers.stop().await;
    let measured = round.end().await?;
    let verified = network.verify(&[]).await?;
    Ok(Done::Passed(format!("{} attacks, {measured}; {verified}", attacks.len())))
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
