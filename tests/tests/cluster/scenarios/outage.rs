//! A minute without the API server. What happens meanwhile is seen by a pod, which tells afterwards: this machine may have no route to
//! pods.

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
    run::Done,
    space::Space,
};

const OUTAGE: Duration = Duration::from_secs(60);
const REPLICAS: i32 = 3;
/// Publications in a minute; a slow machine makes some.
const AT_LEAST: usize = 3;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let Some(apiserver) = &cluster.settings.apiserver else {
        return Ok(Done::Skipped(
            "SORCHA_E2E_APISERVER names no command that stops and starts the API server",
        ));
    };
    let space = cluster.network().await?;
    let edge = network::settle(space, REPLICAS).await?;
    let central = format!("{}-0", edge.text("/status/nodes/0/centralNode"));
    space.apply(&[witness(space, &central).await?]).await?;
    space.kubectl(&["wait", "pod/witness", "--for=condition=Ready", "--timeout=60s"]).await?;
    turn(apiserver, "stop").await?;
    tokio::time::sleep(OUTAGE).await;
    turn(apiserver, "start").await?;
    let started = Instant::now();
    let version = told(space).await?;
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

/// The pod that publishes and reads while the API server is away.
async fn witness(space: &Space, central: &str) -> Result<Value> {
    let address = async |pod: &str| {
        let pod = space.get(&[&format!("pod/{pod}")]).await?;
        Ok::<_, anyhow::Error>(format!("http://{}:8080", pod.text("/status/podIP")))
    };
    let mut peers = Vec::new();
    for pod in network::edge_pods(REPLICAS) {
        peers.push(address(&pod).await?);
    }
    let mut pod = manifests::shell(&space.cluster.settings, "witness", include_str!("outage.sh"));
    pod["spec"]["containers"][0]["env"] = json!([
        {"name": "CENTRAL", "value": address(central).await?}, {"name": "PEERS", "value": peers.join(" ")},
        {"name": "TOKEN", "value": manifests::TOKEN},
    ]);
    Ok(pod)
}

/// What the witness saw; the last version that it published.
async fn told(space: &Space) -> Result<i64> {
    let log = eventually("the witness has ended", seconds(180), async || {
        let pod = space.get(&["pod/witness"]).await?;
        let phase = pod.text("/status/phase");
        ensure!(phase == "Succeeded" || phase == "Failed", "it is {phase}");
        space.kubectl(&["logs", "witness"]).await
    })
    .await?;
    let replicated: Vec<&str> = log.lines().filter(|line| line.starts_with("replicated ")).collect();
    ensure!(log.trim_end().ends_with("back") && replicated.len() >= AT_LEAST, "the witness says: {log}");
    println!("      outage: {} publications, each read at {REPLICAS} peers", replicated.len());
    let last = replicated.last().and_then(|line| line.splitn(3, ' ').nth(2)).context("no answer")?;
    let answer: Value = serde_json::from_str(last).with_context(|| format!("not JSON: {last}"))?;
    ensure!(answer.number("/version") > 0, "{answer}");
    Ok(answer.number("/version"))
}
