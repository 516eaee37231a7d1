//! One Event for one transition.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    cluster::Cluster,
    eventually::{always, eventually, seconds},
    look::Look as _,
    manifests,
    run::Done,
    space::Space,
};

const NETWORK: &str = "events.test";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("events", "").await?;
    // All at once, as a newcomer does it.
    let objects =
        [manifests::tokens(), manifests::embedded("n0", NETWORK), manifests::peers("edge", NETWORK, 1)];
    space.apply(&objects).await?;
    space.until("scn/n0", 120, &[("Ready", "True")]).await?;
    space.until("sp/edge", 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    no_warnings(&space).await?;
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

/// A start that goes well warns of nothing.
async fn no_warnings(space: &Space) -> Result<()> {
    let events = space.get(&["events", "--field-selector", "type=Warning"]).await?;
    let ours = |event: &&Value| {
        [event.text("/reportingComponent"), event.text("/source/component")].contains(&"sorcha-controller")
    };
    let warnings: Vec<_> =
        events.list("/items").iter().filter(ours).map(|event| event.text("/message")).collect();
    ensure!(warnings.is_empty(), "a good start warns: {warnings:?}");
    Ok(())
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
