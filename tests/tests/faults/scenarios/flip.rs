//! Changed bytes in every file that a node stores, after a clean end and after a kill: a central node names what it found
//! and serves and takes nothing, or is unharmed; a peer names it and fetches it again.

use anyhow::{Context as _, Result, bail, ensure};
use rand::RngExt as _;
use sorcha_proto::v1::{self, central_node_connection_client::CentralNodeConnectionClient};
use tonic::{Code, transport::Channel};

use crate::{
    api::Stated,
    damage::{Damage, Files},
    network::{Network, eventually, register_tool},
    node::{Node, Role},
    observer::Observer,
    publishers::Publishers,
    scenario::{Done, Given},
};

/// Changes tried on one node before the other one has its turn.
const TURN: usize = 4;

/// What the nodes' files are before they are changed, and what they say of the register.
struct Originals {
    /// Of the central node and of the peer, each after a kill and after a clean end.
    files: [[Files; 2]; 2],
    register: Stated,
}

#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    unhealthy: usize,
    unharmed: usize,
    repaired: usize,
    peers_unharmed: usize,
}

pub(crate) async fn run(mut given: Given) -> Result<Done> {
    let (mut network, originals) = originals(&mut given).await?;
    let mut tally = Tally::default();
    let mut count = 0;
    while given.has_time() {
        let node = (count / TURN) % 2;
        let files = &originals.files[node][given.random.random_range(0..2)];
        let damage = files.some_damage(&mut given.random);
        let damaged = files.damaged(&damage)?;
        if node == 1 && !network.nodes[0].is_started() {
            originals.files[0][0].write(&network.nodes[0].data)?;
            network.nodes[0].start()?;
            network.ready(0).await?;
        } else if node == 0 && network.nodes[0].is_started() {
            network.nodes[0].terminate().await?;
        }
        damaged.write(&network.nodes[node].data)?;
        let tried = match node {
            0 => central(&mut network, &originals.register, &damage, &mut tally).await,
            _ => peer(&mut network, &originals.register, &damage, &mut tally).await,
        };
        tried.with_context(|| format!("{} had {damage}", network.nodes[node].name))?;
        count += 1;
    }
    Ok(Done::Passed(format!(
        "{count} changes; central node: {} refused at start, {} found and not served, {} unharmed; peer: {} found and \
         fetched again, {} unharmed",
        tally.refused, tally.unhealthy, tally.unharmed, tally.repaired, tally.peers_unharmed
    )))
}

/// Fills a network and copies its nodes' files.
async fn originals(given: &mut Given) -> Result<(Network, Originals)> {
    let mut network = Network::new(&given.directory)?;
    network.central(None)?;
    network.peer("edge-0", &[])?;
    let token = given.directory.join("resync");
    std::fs::write(&token, "first\n")?;
    let token = ("SORCHA_SYNC__FORCE_RESYNC_FILE".to_owned(), token.display().to_string());
    network.nodes[1].environment.push(token);
    network.start_all().await?;
    let ports = network.ports(Role::Central);
    let publishers = Publishers::start(4, &ports, &network.told, &network.api, &mut given.random);
    eventually("there is a register", async || {
        ensure!(network.told.history().counts().acknowledged > 60, "it is small");
        Ok(())
    })
    .await?;
    publishers.stop().await;
    let register = network.converged().await?;
    eventually("the forced full sync is done", async || Files::read(&network.nodes[1].data)?.known(1))
        .await?;
    // What follows takes versions back on purpose.
    network.observer = Observer::new();
    let mut files = Vec::new();
    for kill in [true, false] {
        for node in &mut network.nodes {
            if kill { node.kill().await } else { node.terminate().await? }
        }
        files.push([Files::read(&network.nodes[0].data)?, Files::read(&network.nodes[1].data)?]);
        network.start_all().await?;
        network.converged().await?;
    }
    let [killed, clean]: [_; 2] = files.try_into().ok().context("two")?;
    let ([central_killed, peer_killed], [central_clean, peer_clean]) = (killed, clean);
    let files = [[central_killed, central_clean], [peer_killed, peer_clean]];
    for (role, files) in files.iter().enumerate() {
        files.iter().try_for_each(|files| files.known(role))?;
    }
    for node in network.nodes.iter_mut().rev() {
        node.terminate().await?;
    }
    Ok((network, Originals { files, register }))
}

impl Files {
    /// Every file that a node stores is changed here: a new one belongs into this list.
    fn known(&self, role: usize) -> Result<()> {
        let expected: [&[&str]; 2] =
            [&["register.journal", "signing.key"], &["force-resync-done", "replica.journal"]];
        ensure!(self.names() == expected[role], "the files are {:?}", self.names());
        Ok(())
    }
}

/// How a node came up.
enum Start {
    Ended(Option<i32>),
    Ready,
    /// It runs and says why it does not serve.
    Unready(String),
}

async fn start(network: &mut Network, at: usize) -> Result<Start> {
    network.nodes[at].start()?;
    let (api, node) = (network.api.clone(), &mut network.nodes[at]);
    let started = eventually("it starts or ends", async || {
        if node.has_ended() {
            return Ok(None);
        }
        match api.get(node.http, "/readyz").await {
            Ok(_) => Ok(Some(Start::Ready)),
            // Before the start is over the same status has another reason.
            Err(error) if error.to_string().contains("integrity findings") => {
                Ok(Some(Start::Unready(error.to_string())))
            }
            Err(error) => Err(error),
        }
    });
    match started.await? {
        Some(start) => Ok(start),
        None => Ok(Start::Ended(network.nodes[at].ended().await?)),
    }
}

async fn central(network: &mut Network, sound: &Stated, damage: &Damage, tally: &mut Tally) -> Result<()> {
    let mark = network.nodes[0].log_mark();
    match start(network, 0).await? {
        Start::Ended(code) => {
            let log = network.nodes[0].log_since(mark)?;
            let last = log.lines().last().unwrap_or_default();
            let remedies =
                ["run `sorcha-node register restore` or `register reseed`", "put the right key there"];
            let named = last.starts_with("error: ") && remedies.iter().any(|remedy| last.contains(remedy));
            ensure!(code == Some(1) && named, "it ended with {code:?}: {log}");
            tally.refused += 1;
            Ok(())
        }
        Start::Unready(why) => {
            network.nodes[0].logged(mark, &["ERROR", "register integrity failure"])?;
            let (status, problem) = network.api.publish(network.nodes[0].http, "while-damaged", 10).await?;
            let remedy = problem["detail"].as_str().is_some_and(|detail| detail.contains("register restore"));
            ensure!(status == 503 && remedy, "{why}; a publication got {status}: {problem}");
            refuses_peers(network.grpc[0]).await?;
            tally.unhealthy += 1;
            network.nodes[0].terminate().await
        }
        Start::Ready => {
            unharmed(network, sound).await?;
            noted(&network.nodes[0], mark, damage)?;
            tally.unharmed += 1;
            Ok(())
        }
    }
}

/// A peer that connects is sent to the next central node.
async fn refuses_peers(grpc: u16) -> Result<()> {
    let channel = Channel::from_shared(format!("http://127.0.0.1:{grpc}"))?.connect().await?;
    let request = v1::ConnectRequest { peer_id: "newcomer".to_owned(), ..v1::ConnectRequest::default() };
    let answer = CentralNodeConnectionClient::new(channel).connect_to_central_node(request).await;
    let refused = answer.err().context("a damaged central node lets a peer in")?;
    let told = refused.message().contains("integrity findings; use the next node");
    ensure!(refused.code() == Code::Unavailable && told, "a peer got {refused}");
    Ok(())
}

/// The very register that was stored, which goes on: publications are taken and found again.
async fn unharmed(network: &mut Network, sound: &Stated) -> Result<()> {
    let http = network.nodes[0].http;
    let stated = network.api.register(http).await?;
    ensure!(stated == *sound, "it serves {stated:?}, stored was {sound:?}");
    for number in 0..3 {
        let (status, problem) = network.api.publish(http, &format!("after-{number}"), 3000).await?;
        ensure!(status == 201, "a publication got {status}: {problem}");
    }
    let after = network.api.register(http).await?;
    network.nodes[0].terminate().await?;
    let (code, output) = register_tool(&network.nodes[0].data, &["verify", "--output", "json"]).await?;
    ensure!(code == Some(0) && output.contains(&after.digest), "register verify: {code:?}, {output}");
    Ok(())
}

/// What was changed in the small files is named, though nothing depends on it.
fn noted(node: &Node, mark: u64, damage: &Damage) -> Result<()> {
    match damage.file.as_str() {
        "force-resync-done" => node.logged(mark, &["last forced full sync not known"]).map(drop),
        _ => Ok(()),
    }
}

async fn peer(network: &mut Network, sound: &Stated, damage: &Damage, tally: &mut Tally) -> Result<()> {
    let mark = network.nodes[1].log_mark();
    if let Start::Ended(code) = start(network, 1).await? {
        bail!("it ended with {code:?}: {}", network.nodes[1].log_since(mark)?);
    }
    let http = network.nodes[1].http;
    let mut wrong = None;
    eventually("it holds the register", async || {
        let stated = network.api.register(http).await?;
        // What it serves as whole and sound is the register; before that, findings tell, or its version does.
        if stated.findings == 0 && stated.version == sound.version && stated != *sound {
            wrong = Some(stated.clone());
        }
        ensure!(stated == *sound, "it serves {stated:?}, not {sound:?}");
        Ok(())
    })
    .await?;
    ensure!(wrong.is_none(), "it served {wrong:?} without a finding");
    let log = network.nodes[1].log_since(mark)?;
    let is_named =
        ["replica integrity failure; it will be fetched again", "unreadable register file set aside"]
            .iter()
            .any(|line| log.contains(line));
    if is_named {
        tally.repaired += 1
    } else {
        tally.peers_unharmed += 1
    }
    noted(&network.nodes[1], mark, damage)?;
    network.nodes[1].terminate().await?;
    let (code, output) = register_tool(&network.nodes[1].data, &["verify", "--output", "json"]).await?;
    ensure!(code == Some(0) && output.contains(&sound.digest), "register verify: {code:?}, {output}");
    Ok(())
}
