//! Specs that pass the schema and can't be run: the status says why, and what to do.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{CONTROLLER, Cluster, system},
    look::Look as _,
    manifests::{central_with, embedded, tokens},
    run::Done,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let before = restarts(cluster).await?;
    let space = cluster.space("contradict", "").await?;
    let secret = |database: &str| json!({"mongodb": {"uriSecretRef": {"name": "sorcha-mongodb", "key": "uri"}, "database": database}});
    // An image that nobody has: no server is to run here.
    let managed = |size: &str| json!({"mongodb": {"managed": {"image": "localhost/none:none", "storage": {"size": size}}}});
    let mut twin = central_with("h1", "hostname.test", 1, &secret("sorcha"));
    twin["spec"]["hostname"] = "h0.hostname.test".into();
    space
        .apply(&[
            tokens(),
            embedded("e0", "embedded.test"),
            embedded("e1", "embedded.test"),
            central_with("h0", "hostname.test", 0, &secret("sorcha")),
            twin,
            central_with("m0", "managed.test", 0, &managed("1Gi")),
            central_with("m1", "managed.test", 1, &managed("2Gi")),
            central_with("d0", "database.test", 0, &secret("sorcha")),
            central_with("d1", "database.test", 1, &secret("other")),
        ])
        .await?;
    for (name, other, remedy) in [
        ("e0", "e1", "use store.mongodb for both, or delete one"),
        ("e1", "e0", "use store.mongodb for both, or delete one"),
        ("h0", "h1", "give each central node of a network its own"),
        ("h1", "h0", "give each central node of a network its own"),
        ("m1", "m0", "make them equal"),
        ("d1", "d0", "central nodes of a network share one database"),
    ] {
        let node: Value = space.until_reason(&format!("scn/{name}"), 30, "Ready", "InvalidSpec").await?;
        let condition = node.expect_reason("Ready", "False", "InvalidSpec")?;
        ensure!(
            condition.message.contains(other) && condition.message.contains(remedy),
            "{name}: {condition:?}"
        );
    }
    // Mended by its user, it goes on without being touched otherwise.
    space.kubectl(&["delete", "scn", "e1", "h1"]).await?;
    space.until_reason("scn/h0", 90, "Ready", "SecretNotFound").await?;
    space.until("scn/e0", 120, &[("Ready", "True")]).await?;
    let after = restarts(cluster).await?;
    ensure!(after == before, "controllers restarted: {before} times before, {after} now");
    Ok(Done::Passed)
}

async fn restarts(cluster: &Cluster) -> Result<i64> {
    let pods = cluster.json(&["-n", system(), "get", "pods", "-l", CONTROLLER]).await?;
    Ok(pods.list("/items").iter().map(|pod| pod.number("/status/containerStatuses/0/restartCount")).sum())
}
