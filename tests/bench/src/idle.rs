//! What idle peers cost a central node: memory of each, and processor time at a heartbeat every 30 s.
//!
//! The peers are light: a connection with a peer's own settings, a session, heartbeats and an open push stream, but no
//! replica. Ten thousand of them fit into one process, and the central node can't tell them from whole ones.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_peer::dial;
use sorcha_proto::{
    raw::system_register_sync_client::SystemRegisterSyncClient,
    v1::{
        self, central_node_connection_client::CentralNodeConnectionClient, heartbeat_client::HeartbeatClient,
    },
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    bench::{Bench, say},
    process::{
        central::Place,
        usage::{Usage, megabytes},
    },
};

/// Connects a second: below the central node's limit for all peers together.
const CONNECTS_PER_SECOND: u32 = 400;
/// File descriptors that this process and the central node need besides one for each peer.
const OTHER_FILES: u64 = 500;

/// What idle peers cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) peers: usize,
    pub(crate) heartbeat_s: f64,
    /// Resident memory of the central node without a peer and with all.
    pub(crate) empty_mb: f64,
    pub(crate) full_mb: f64,
    pub(crate) kilobytes_per_peer: f64,
    /// How long processor time was counted.
    pub(crate) seconds: f64,
    /// Share of one processor that the central node used.
    pub(crate) cpu: f64,
}

/// Measures one central node.
pub(crate) async fn measure(bench: &Bench) -> Result<Idle> {
    let scale = bench.scale.idle;
    check_files(scale.peers)?;
    let work = bench.folder()?;
    let central = Place::new(&bench.programs.node, work.path(), 0)?.start().await?;
    let (pid, address, config) = (central.server().pid(), central.place().address(0), Config::default());
    let empty = Usage::of(pid)?;
    let mut peers = connected(scale.peers, &address, &config).await?;
    // One round of heartbeats, so that every buffer is as large as it gets.
    tokio::time::sleep(scale.settle).await;
    let (before, started) = (Usage::of(pid)?, Instant::now());
    tokio::time::sleep(scale.watch).await;
    let (after, elapsed) = (Usage::of(pid)?, started.elapsed());
    anyhow::ensure!(peers.try_join_next().is_none(), "a peer lost its session");
    let live = central.metric("central_peers", "").await?;
    anyhow::ensure!(live as usize == scale.peers, "{live} of {} peers are there", scale.peers);
    central.kill().await?;
    let result = Idle {
        peers: scale.peers,
        heartbeat_s: config.heartbeat.interval.as_secs_f64(),
        empty_mb: megabytes(empty.resident),
        full_mb: megabytes(after.resident),
        kilobytes_per_peer: after.resident.saturating_sub(empty.resident) as f64
            / 1024.0
            / scale.peers as f64,
        seconds: elapsed.as_secs_f64(),
        cpu: after.cpu_share(before, elapsed),
    };
    say(&format!(
        "{} idle peers: {:.1} KB each, {:.1} % of one processor",
        result.peers,
        result.kilobytes_per_peer,
        100.0 * result.cpu
    ));
    Ok(result)
}

/// So many peers, one after the other, each of which heartbeats from now on.
async fn connected(
    count: usize,
    address: &CentralNodeAddress,
    config: &Config,
) -> Result<JoinSet<Result<()>>> {
    let mut peers = JoinSet::new();
    let pause = Duration::from_secs(1) / CONNECTS_PER_SECOND;
    for number in 0..count {
        let peer = Light::connect(address, config, number).await?;
        peers.spawn(peer.live(config.heartbeat.interval));
        tokio::time::sleep(pause).await;
    }
    Ok(peers)
}

/// Refuses early what would fail late.
fn check_files(peers: usize) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits").context("read /proc/self/limits")?;
    let line =
        limits.lines().find(|line| line.starts_with("Max open files")).context("no limit of open files")?;
    let soft: u64 = line.split_whitespace().nth(3).and_then(|limit| limit.parse().ok()).unwrap_or(u64::MAX);
    let needed = peers as u64 + OTHER_FILES;
    anyhow::ensure!(
        soft >= needed,
        "{peers} peers need {needed} open files, the limit is {soft}: raise it with `ulimit -n`"
    );
    Ok(())
}

struct Light {
    channel: Channel,
    peer_id: String,
    session_id: String,
    version: i64,
}

impl Light {
    async fn connect(address: &CentralNodeAddress, config: &Config, number: usize) -> Result<Self> {
        let channel = dial::endpoint(address, config)?.connect().await?;
        let peer_id = format!("idle-{number}");
        let request = v1::ConnectRequest { peer_id: peer_id.clone(), ..Default::default() };
        let answer =
            CentralNodeConnectionClient::new(channel.clone()).connect_to_central_node(request).await?;
        let answer = answer.into_inner();
        let version = answer.current_system_register_version;
        Ok(Self { channel, peer_id, session_id: answer.session_id, version })
    }

    /// Holds the push stream open and beats, until something fails.
    async fn live(self, interval: Duration) -> Result<()> {
        let first = v1::PushAcknowledgement {
            peer_id: self.peer_id.clone(),
            session_id: self.session_id.clone(),
            acknowledged_version: self.version,
            acknowledged_at: now(),
        };
        let acknowledgements = stream::iter([first]).chain(stream::pending());
        let mut client = SystemRegisterSyncClient::new(self.channel.clone());
        let mut entries = client.receive_push_notification(acknowledgements).await?.into_inner();
        let beats = async {
            let mut client = HeartbeatClient::new(self.channel.clone());
            for sequence_number in 1.. {
                client.send_heartbeat(self.heartbeat(sequence_number)).await?;
                tokio::time::sleep(interval).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            entry = entries.message() => anyhow::bail!("the push stream ended or brought something: {:?}", entry?),
            beats = beats => beats,
        }
    }

    fn heartbeat(&self, sequence_number: i64) -> v1::HeartbeatMessage {
        v1::HeartbeatMessage {
            peer_id: self.peer_id.clone(),
            session_id: self.session_id.clone(),
            timestamp: now(),
            sequence_number,
            last_sync_version: self.version,
            node_type: "Peer".to_owned(),
            ..Default::default()
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark runs in real time")]
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
