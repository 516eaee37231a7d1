//! Specs that pass the schema and can't be run: the status says why, and what to do.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{CONTROLLER, Cluster, system},
    eventually::{eventually, seconds},
    look::{self, Look as _},
    manifests::{central_with, embedded, tokens},
    run::Done,
    space::Space,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let before = restarts(cluster).await?;
    let space = cluster.space("contradict", "").await?;
    let secret = |database: &str| json!({"mongodb": {"uriSecretRef": {"name": "sorcha-mongodb", "key": "uri"}, "database": database}});
    // An image that nobody has: no server is to run here.
    let managed = |size: &str| json!({"mongodb": {"managed": {"image": "localhost/none:none", "storage": {"size": size}}}});
    let mut twin = central_with("h1", "hostname.test", 0, &secret("sorcha"));
    twin["spec"]["hostname"] = "h0.hostname.test".into();
    let older = [
        tokens(),
        embedded("e0", "embedded.test"),
        central_with("h0", "hostname.test", 1, &secret("sorcha")),
        central_with("m0", "managed.test", 1, &managed("1Gi")),
        central_with("d0", "database.test", 1, &secret("sorcha")),
    ];
    space.apply(&older).await?;
    space.until("scn/e0", 120, &[("Ready", "True")]).await?;
    // Times of creation have whole seconds. The newer ones come first in failover order.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let newer = [
        embedded("e1", "embedded.test"),
        twin,
        central_with("m1", "managed.test", 0, &managed("2Gi")),
        central_with("d1", "database.test", 0, &secret("other")),
    ];
    space.apply(&newer).await?;
    for (name, other, remedy) in [
        ("e1", "e0", "use store.mongodb for both, or delete one"),
        ("h1", "h0", "give each central node of a network its own"),
        ("m1", "m0", "make them equal"),
        ("d1", "d0", "share one database"),
    ] {
        let node: Value = space.until_reason(&format!("scn/{name}"), 30, "Ready", "Conflict").await?;
        let condition = node.expect_reason("Ready", "False", "Conflict")?;
        ensure!(
            condition.message.contains(other) && condition.message.contains(remedy),
            "{name}: {condition:?}"
        );
        for object in ["statefulset", "service", "configmap", "serviceaccount"] {
            ensure!(!space.exists(&[object, name]).await?, "{object} {name} was made all the same");
        }
    }
    older_ones_go_on(&space).await?;
    // Mended by its user, the newer one starts.
    space.kubectl(&["delete", "scn", "e0"]).await?;
    space.until("scn/e1", 120, &[("Ready", "True")]).await?;
    let after = restarts(cluster).await?;
    ensure!(after == before, "controllers restarted: {before} times before, {after} now");
    Ok(Done::Passed)
}

/// The older ones are right: served, published, repaired.
async fn older_ones_go_on(space: &Space) -> Result<()> {
    space.until("scn/e0", 30, &[("Ready", "True")]).await?;
    space.until_reason("scn/h0", 30, "Ready", "SecretNotFound").await?;
    let map = space.get(&["configmap", "sorcha-central-nodes.embedded.test"]).await?;
    for file in ["central-nodes.json", "central-nodes-external.json"] {
        let published = map["data"][file].as_str().unwrap_or_default();
        ensure!(published.contains("e0") && !published.contains("e1"), "{file}: {published}");
    }
    space.kubectl(&["delete", "service", "e0"]).await?;
    eventually("the older one's Service is made again", seconds(15), async || {
        ensure!(space.exists(&["service", "e0"]).await?, "there is none");
        Ok(())
    })
    .await
}

async fn restarts(cluster: &Cluster) -> Result<i64> {
    let pods = cluster.json(&["-n", system(), "get", "pods", "-l", CONTROLLER]).await?;
    Ok(pods.list("/items").iter().map(look::restarts).sum())
}
