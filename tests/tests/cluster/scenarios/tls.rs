//! Mutual TLS end to end: nodes replicate under it, and go on while every certificate and the authority are replaced.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::certificates::{CHANGE, trusted};
use crate::{
    cluster::Cluster,
    eventually::{always, eventually, seconds},
    look::{Look as _, restarts},
    manifests,
    publishing::publish,
    run::Done,
    space::Space,
};

const NETWORK: &str = "tls.test";
const REPLICAS: i32 = 2;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("tls", "").await?;
    space
        .apply(&[
            manifests::tokens(),
            manifests::publisher(&cluster.settings),
            manifests::embedded("n0", NETWORK),
            manifests::peers("edge", NETWORK, REPLICAS),
        ])
        .await?;
    let well = [("Ready", "True"), ("CertificateValid", "True")];
    space.until("scn/n0", 120, &well).await?;
    let connected =
        [("Ready", "True"), ("Connected", "True"), ("Synced", "True"), ("CertificateValid", "True")];
    space.until("sp/edge", 120, &connected).await?;
    space.kubectl(&["wait", "pod/publisher", "--for=condition=Ready", "--timeout=60s"]).await?;
    plain_text_is_told(&space).await?;
    rotated(&space).await?;
    Ok(Done::Passed)
}

/// Peers without TLS are not served by a central node with it, and both sides say so.
async fn plain_text_is_told(space: &Space) -> Result<()> {
    let mut plain = manifests::peers("plain", NETWORK, 1);
    plain["spec"]["tls"] = json!({"mode": "Disabled"});
    space.apply(&[plain]).await?;
    let object = space.until_reason("sp/plain", 60, "CertificateValid", "NotTrusted").await?;
    let condition = object.expect("CertificateValid", "False")?;
    ensure!(condition.message.contains("n0 uses TLS"), "{condition:?}");
    always("plain text gets no session", seconds(10), async || {
        let plain = space.get(&["sp/plain"]).await?;
        ensure!(plain.number("/status/connected") == 0, "{}", plain["status"]);
        Ok(())
    })
    .await?;
    space.kubectl(&["delete", "sp/plain"]).await.map(drop)
}

/// Whole lives of pods and sessions: what a restart or a dropped stream would change.
async fn lives(space: &Space) -> Result<Vec<String>> {
    let mut lives = Vec::new();
    for pod in ["n0-0", "edge-0", "edge-1"] {
        let found = space.get(&["pod", pod]).await?;
        let restarts = restarts(&found);
        lives.push(format!("{pod} {} restarted {restarts} times", found.text("/metadata/uid")));
    }
    let edge = space.get(&["sp/edge"]).await?;
    for node in edge.list("/status/nodes") {
        lives.push(format!(
            "{} {} since {}",
            node.text("/name"),
            node.number("/failovers"),
            node.text("/since")
        ));
    }
    Ok(lives)
}

/// Certificates and authority change under publications: nothing is missed, no pod restarts, no session ends.
async fn rotated(space: &Space) -> Result<()> {
    let before = lives(space).await?;
    let old = trusted(space, "edge").await?;
    space.kubectl(&["annotate", "scn/n0", "sp/edge", "sorcha.dev/rotate-certificate=one"]).await?;
    space.kubectl(&["annotate", "scn/n0", "sorcha.dev/rotate-ca=one"]).await?;
    let mut count = 0;
    eventually("the authority is another one", seconds(2 * CHANGE), async || {
        count += 1;
        publish(space, "publisher", "n0", &format!("during-{count}")).await?;
        let now = trusted(space, "edge").await?;
        ensure!(now.matches("BEGIN").count() == 1 && now != old, "{now}");
        Ok(())
    })
    .await?;
    let last = publish(space, "publisher", "n0", "after").await?;
    eventually("every peer has all of it", seconds(30), async || {
        let edge = space.get(&["sp/edge"]).await?;
        ensure!(edge.number("/status/minVersion") >= last, "{}", edge["status"]);
        edge.expect("Synced", "True").map(drop)
    })
    .await?;
    in_use(space).await?;
    ensure!(lives(space).await? == before, "{:?} became {:?}", before, lives(space).await?);
    // Who comes now is accepted by the new authority.
    space.kubectl(&["delete", "pod", "edge-0"]).await?;
    space
        .until("sp/edge", 120, &[("Ready", "True"), ("Connected", "True"), ("Synced", "True")])
        .await
        .map(drop)
}

/// Every node reports the certificate that its Secret holds, without a restart.
async fn in_use(space: &Space) -> Result<()> {
    eventually("the nodes use the new certificates", seconds(60), async || {
        let node = space.get(&["scn/n0"]).await?;
        let edge = space.get(&["sp/edge"]).await?;
        let reports = edge.list("/status/nodes").iter().map(|node| node.text("/certificateNotAfter"));
        let used: Vec<&str> = reports.collect();
        let given = edge["status"]["certificate"].text("/notAfter");
        ensure!(used.len() == 2 && used.iter().all(|used| *used == given), "edge uses {used:?}, not {given}");
        let used = node["status"]["node"].get("certificateNotAfter").and_then(Value::as_str);
        let used = used.context("n0 reports no certificate")?;
        ensure!(used == node["status"]["certificate"].text("/notAfter"), "n0 uses {used}");
        Ok(())
    })
    .await
}
