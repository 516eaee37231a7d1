//! From `sorcha-node publish` to a read at a peer.

use std::{rc::Rc, time::Instant};

use anyhow::{Result, ensure};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests, network,
    publishing::{NODE, document, publish},
    run::Done,
    space::Space,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    network::settle(space, network::REPLICAS).await?;
    let started = Instant::now();
    let version = publish(space, "n0-0", "n0", "purchase-order-v1").await?;
    let converged = format!("--for=jsonpath={{.status.convergedVersion}}={version}");
    space.kubectl(&["wait", "scn/n0", &converged, "--timeout=30s"]).await?;
    space.kubectl(&["wait", "scn/n0", "--for=condition=Converged", "--timeout=30s"]).await?;
    println!(
        "      publish: kubectl wait returns {:.1} s after the publication began",
        started.elapsed().as_secs_f64()
    );
    eventually("every replica reports the version and one digest", seconds(30), async || {
        let edge = space.get(&["sp/edge"]).await?;
        let central = space.get(&["scn/n0"]).await?;
        ensure!(
            edge.number("/status/minVersion") == version,
            "minVersion is {}",
            edge.number("/status/minVersion")
        );
        for node in edge.list("/status/nodes") {
            ensure!(node.text("/digest") == central.text("/status/node/digest"), "{node}");
        }
        Ok(())
    })
    .await?;
    read(space, version).await?;
    again_and_without_token(space, version).await?;
    Ok(Done::Passed)
}

/// README's lines: what they wait for is true when they return, each time.
pub(crate) async fn wait(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("wait", "").await?;
    let network = "wait.test";
    space
        .apply(&[
            manifests::tokens(),
            manifests::embedded("n0", network),
            manifests::peers("edge", network, 2),
        ])
        .await?;
    space.until("scn/n0", 120, &[("Ready", "True")]).await?;
    space.until("sp/edge", 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    // The register begins with its seed, at version 1.
    let readme = include_str!("../../../../README.md");
    ensure!(
        readme.contains("jsonpath='{.status.minVersion}'=2 "),
        "README waits for another version than the first"
    );
    for version in 2..=6 {
        let id = format!("wait-v{version}");
        let arguments = [
            "exec",
            "-i",
            "n0-0",
            "--",
            NODE,
            "publish",
            "-",
            "--wait",
            "--token-file",
            "/etc/sorcha/publishers/tokens",
        ];
        let out = space.try_kubectl(&arguments, &document(&id).to_string()).await?.out("publish --wait")?;
        ensure!(out.contains(&format!("all 2 connected peers hold version {version}")), "{out}");
        for pod in ["edge-0", "edge-1"] {
            let register = space.pod(pod, "/api/system-register").await?;
            ensure!(
                register.number("/currentVersion") >= version,
                "{pod} is behind when the wait returns: {register}"
            );
        }
        let reported = format!("--for=jsonpath={{.status.minVersion}}={version}");
        space.kubectl(&["wait", "sp/edge", &reported, "--timeout=2m"]).await?;
        let shown = space.kubectl(&["get", "sorchapeers"]).await?;
        ensure!(
            shown.lines().any(|line| line.split_whitespace().any(|word| word == version.to_string())),
            "{shown}"
        );
    }
    Ok(Done::Passed)
}

/// What an application on a peer gets.
async fn read(space: &Space, version: i64) -> Result<()> {
    let path = "/api/system-register/blueprints/purchase-order-v1";
    let answer = space.service("edge", path, &[]).await?;
    let body = answer.json()?;
    ensure!(
        body.number("/version") == version && body["blueprint"] == document("purchase-order-v1"),
        "{body}"
    );
    let tag = answer.header("etag").to_owned();
    ensure!(!tag.is_empty(), "no ETag: {:?}", answer.headers);
    ensure!(answer.header("sorcha-register-version") == version.to_string(), "{:?}", answer.headers);
    ensure!(
        answer.header("sorcha-replica-staleness").parse::<u64>().is_ok_and(|age| age < 60),
        "{:?}",
        answer.headers
    );
    ensure!(answer.header("sorcha-peer-state") == "HeartbeatMonitoring", "{:?}", answer.headers);
    let unchanged = space.service("edge", path, &[("If-None-Match", &tag)]).await?;
    ensure!(unchanged.status == 304, "HTTP {} for a known ETag", unchanged.status);
    Ok(())
}

async fn again_and_without_token(space: &Space, version: i64) -> Result<()> {
    let again = publish(space, "n0-0", "n1", "purchase-order-v1").await?;
    ensure!(again == version, "the same document again got version {again}, not {version}");
    let url = format!("http://n0.{}.svc:8080", space.name);
    let arguments = ["exec", "-i", "n0-0", "--", NODE, "publish", "-", "--id", "other-v1", "--url", &url];
    let refused = space.try_kubectl(&arguments, &document("other-v1").to_string()).await?;
    ensure!(!refused.ok && refused.err.contains("--token-file"), "without a token: {refused:?}");
    Ok(())
}
