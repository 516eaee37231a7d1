//! A minute without the API server.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests, network, process,
    proxy::answer,
    publishing::document,
    run::Done,
};

const OUTAGE: Duration = Duration::from_secs(60);
const REPLICAS: i32 = 3;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let Some(apiserver) = &cluster.settings.apiserver else {
        return Ok(Done::Skipped(
            "SORCHA_E2E_APISERVER names no command that stops and starts the API server",
        ));
    };
    let space = cluster.network().await?;
    let edge = network::settle(space, REPLICAS).await?;
    let central = edge.text("/status/nodes/0/centralNode").to_owned();
    let address = async |pod: &str| {
        let pod = space.get(&[&format!("pod/{pod}")]).await?;
        Ok::<_, anyhow::Error>(format!("http://{}:8080", pod.text("/status/podIP")))
    };
    let central = address(&format!("{central}-0")).await?;
    let mut peers = Vec::new();
    for pod in network::edge_pods(REPLICAS) {
        peers.push(address(&pod).await?);
    }
    turn(apiserver, "stop").await?;
    let result = replicate(cluster, &central, &peers).await;
    turn(apiserver, "start").await?;
    let version = result?;
    let started = Instant::now();
    eventually("the status has caught up", seconds(180), async || {
        let edge = space.get(&["sp/edge"]).await?;
        let (least, resources) = (edge.number("/status/minVersion"), space.get(&["scn,sp"]).await?);
        ensure!(least >= version, "minVersion is {least}, {version} was published during the outage");
        for resource in resources.list("/items") {
            resource.expect("Ready", "True")?;
        }
        edge.expect("Synced", "True").map(drop)
    })
    .await?;
    println!(
        "      outage: the status has caught up {:.1} s after the API server's return",
        started.elapsed().as_secs_f64()
    );
    eventually("a controller leads again", seconds(90), async || cluster.leader().await).await?;
    Ok(Done::Passed)
}

async fn turn(command: &str, argument: &str) -> Result<()> {
    let mut words = command.split_whitespace();
    let program = words.next().context("SORCHA_E2E_APISERVER is empty")?;
    let arguments: Vec<&str> = words.chain([argument]).collect();
    process::run(program, &arguments, "").await?.out(&format!("{command} {argument}")).map(drop)
}

/// Publishes for a while and reads every publication at every peer, past the API server.
async fn replicate(cluster: &Cluster, central: &str, peers: &[String]) -> Result<i64> {
    let started = Instant::now();
    let (mut version, mut count) = (0, 0);
    let client = cluster.proxy.client();
    while started.elapsed() < OUTAGE {
        count += 1;
        let id = format!("during-outage-{count}");
        let body = json!({"blueprintId": id, "blueprint": document(&id)});
        let request = client.post(format!("{central}/api/system-register/publish"));
        let request = request
            .bearer_auth(manifests::TOKEN)
            .header("content-type", "application/json")
            .body(body.to_string());
        let published = answer(request).await?;
        ensure!(published.status == 201, "HTTP {}: {}", published.status, published.body);
        let told: Value = serde_json::from_str(&published.body)?;
        version = told.number("/version");
        for peer in peers {
            let path = format!("{peer}/api/system-register/blueprints/{id}");
            eventually(&format!("{peer} has {id}"), seconds(5), async || {
                answer(client.get(&path)).await?.json()
            })
            .await?;
        }
    }
    println!("      outage: {count} publications, each read at {} peers", peers.len());
    Ok(version)
}
