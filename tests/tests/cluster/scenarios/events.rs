//! One Event for one transition.

use std::rc::Rc;

use anyhow::{Result, ensure};

use crate::{
    cluster::Cluster,
    eventually::{always, eventually, seconds},
    manifests,
    run::Done,
    space::Space,
};

const NETWORK: &str = "events.test";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("events", "").await?;
    space.apply(&[manifests::tokens(), manifests::embedded("n0", NETWORK)]).await?;
    space.until("scn/n0", 120, &[("Ready", "True")]).await?;
    space.apply(&[manifests::peers("edge", NETWORK, 1)]).await?;
    space.until("sp/edge", 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    for (kind, name) in [("SorchaCentralNode", "n0"), ("SorchaPeer", "edge")] {
        told(&space, kind, name, 1).await?;
    }
    space.kubectl(&["delete", "pod", "edge-0"]).await?;
    told(&space, "SorchaPeer", "edge", 2).await?;
    always("nothing happens, and nothing is told", seconds(5), async || {
        exactly(&space, "SorchaPeer", "edge", 2).await?;
        exactly(&space, "SorchaCentralNode", "n0", 1).await
    })
    .await?;
    let events = space.events("SorchaPeer", "edge").await?;
    let total: i64 = events.iter().map(|event| event.1).sum();
    ensure!(total <= 6, "{total} Events for a start and a restart: {events:?}");
    Ok(Done::Passed)
}

async fn told(space: &Space, kind: &str, name: &str, times: i64) -> Result<()> {
    eventually(&format!("{name} was told to serve {times} times"), seconds(60), async || {
        exactly(space, kind, name, times).await
    })
    .await
}

async fn exactly(space: &Space, kind: &str, name: &str, times: i64) -> Result<()> {
    let events = space.events(kind, name).await?;
    let serving: i64 = events.iter().filter(|event| event.0 == "Serving").map(|event| event.1).sum();
    ensure!(serving == times, "{serving} Events Serving about {name}: {events:?}");
    Ok(())
}
