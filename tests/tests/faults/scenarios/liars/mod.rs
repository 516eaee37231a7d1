//! Hostile central nodes: peers that hold a replica of an honest one are led to a hostile one each. What a peer serves stays byte
//! for byte, its memory stays within a bound, it shows what it refuses, and it goes on with the honest node as soon as it may.

mod held;
mod kinds;
mod led;
mod lies;
mod register;
mod server;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::json;
use sorcha_register::canonical::Document;
use sorcha_tests::{history::Answer, legacy::LegacyCentral};

use self::{
    kinds::{FAR, Kind, Maker},
    led::{Led, Listed, list},
};
use crate::{
    api::publication,
    network::{Network, eventually},
    node::Role,
    publishers::Publishers,
    scenario::{Done, Given},
};

/// Blueprints that all peers hold before they meet a hostile node.
const BLUEPRINTS: usize = 24;
const HONEST: &str = "n0.sorcha.dev";
/// An honest node of the original contract.
const ORIGINAL: &str = "n1.sorcha.dev";

const CONFIG: &str = "
keepalive = { interval = '1s', timeout = '4s' }
connect = { timeout = '10s', initial_delay = '100ms', max_delay = '500ms' }
drain = { spread = '200ms', timeout = '3s' }
heartbeat = { interval = '10s', timeout = '10s', max_missed = 1 }
[store]
flush_within = '200ms'
[limits]
connects = { per_second = 100.0, burst = 1000 }
full_syncs = { per_second = 100.0, burst = 1000 }
[sync]
resubscribe_after = '200ms'
max_failures = 1
max_memory = 33554432
";

/// What peers of refused central nodes log as errors.
const HARMLESS: [&str; 5] =
    ["integrity fault:", "split brain", "replica diverged", "configuration", "genesis record"];

pub(crate) async fn run(mut given: Given) -> Result<Done> {
    let mut network = Network::new(&given.directory)?;
    std::fs::write(given.directory.join("sorcha.toml"), CONFIG)?;
    network.central(None)?;
    network.peer("witness", &[])?;
    network.start_all().await?;
    fill(&network).await?;
    let grpc = network.grpc[0];
    let held = register::read(grpc, true).await?;
    let plain = register::read(grpc, false).await?;
    let maker = Maker { held: &held, original: &plain };
    let kinds: Vec<Kind> = [maker.native_kinds()?, maker.original_kinds()?].into_iter().flatten().collect();
    let count = kinds.len() + 1;
    let original = LegacyCentral::start(SocketAddr::from(([127, 0, 0, 1], grpc))).await.port();
    let honest = |is_original| if is_original { Listed(ORIGINAL, original) } else { Listed(HONEST, grpc) };

    let mut led = Vec::new();
    for kind in kinds.into_iter().chain([maker.far()?]) {
        let file = given.directory.join(format!("liar-{}.json", led.len()));
        list(&file, &[honest(kind.is_original)])?;
        let name = format!("led-{}", led.len());
        let at =
            network.peer_with(&name, vec!["--central-nodes-file".to_owned(), file.display().to_string()])?;
        led.push((at, kind, file));
    }
    network.start_all().await?;
    let led = try_join_all(led.into_iter().map(|(at, kind, file)| begin(&network, at, kind, file))).await?;
    try_join_all(led.iter().map(Led::leaves)).await?;
    let (far, led) = led.split_last().context("no peers")?;

    let publishers =
        Publishers::start(2, &network.ports(Role::Central), &network.told, &network.api, &mut given.random);
    try_join_all(
        led.iter()
            .map(async |led| led.meets().await.with_context(|| format!("{} ({})", led.kind.name, led.name))),
    )
    .await?;
    println!("      {} hostile central nodes, each found out; nothing served has changed", led.len());
    let slowest = try_join_all(led.iter().map(async |led| {
        let published = network.told.history().highest();
        let went_on = led.goes_on(honest(led.kind.is_original), published).await;
        went_on.with_context(|| format!("{} ({})", led.kind.name, led.name))
    }))
    .await?;
    let slowest = slowest.into_iter().max().unwrap_or_default();
    println!("      with an honest one in the list again, all go on within {} ms", slowest.as_millis());
    for led in led.iter().filter(|led| led.kind.is_original) {
        list(&led.file, &[Listed(HONEST, grpc)])?;
    }
    publishers.stop().await;
    meets_far(&mut network, far, grpc).await.with_context(|| far.kind.name.to_owned())?;
    let verified = network.verify(&HARMLESS).await?;
    Ok(Done::Passed(format!(
        "{count} hostile central nodes, peers go on within {} ms; {verified}",
        slowest.as_millis()
    )))
}

/// Publishes what all peers hold, and deprecates some of it.
async fn fill(network: &Network) -> Result<()> {
    let (api, port) = (&network.api, network.nodes[0].http);
    for number in 0..BLUEPRINTS {
        let id = format!("held-{number}");
        let document = json!({ "@context": "https://sorcha.dev/blueprints/v1", "id": id, "n": number });
        let checksum = Document::canonicalize(document.to_string().as_bytes())?.checksum().to_string();
        let mut answers = vec![
            api.change(port, "/api/system-register/publish", Some(&publication(&id, &document)), true).await,
        ];
        if number % 5 == 4 {
            let path = format!("/api/system-register/blueprints/{id}/deprecate");
            answers.push(api.change(port, &path, None, false).await);
        }
        for answer in answers {
            ensure!(matches!(answer, Answer::Acknowledged(_)), "{id} was not published");
            network.told.history().note(&id, &checksum, answer);
        }
    }
    Ok(())
}

async fn begin(network: &Network, at: usize, kind: Kind, file: PathBuf) -> Result<Led> {
    let (api, node) = (&network.api, &network.nodes[at]);
    let highest = network.told.history().highest();
    eventually(&format!("{} holds everything", node.name), async || {
        let version = api.register(node.http).await?.version;
        ensure!(version == highest, "it is at {version}, not at {highest}");
        Ok(())
    })
    .await?;
    Led::begin(network, at, kind, file).await
}

/// What is pushed contradicts nothing, so it is taken. It costs what an entry costs, also at the next start; and the peer says
/// that it is ahead of honest nodes, until an administrator has its replica replaced.
async fn meets_far(network: &mut Network, led: &Led, grpc: u16) -> Result<()> {
    let at = network.nodes.iter().position(|node| node.name == led.name).context("the peer")?;
    led.takes(FAR).await?;
    network.kill(at).await;
    network.start_all().await?;
    led.is_ahead_of(Listed(HONEST, grpc), FAR).await?;
    network.nodes[at].terminate().await?;
    network.nodes[at].check_log(&HARMLESS)?;
    // It does not hold what the others hold, and this is as it must be.
    network.nodes.remove(at);
    println!("      {}: taken, bounded, and told", led.kind.name);
    Ok(())
}
