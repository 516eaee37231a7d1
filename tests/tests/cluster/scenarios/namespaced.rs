//! A controller for one namespace only, with Roles and nothing cluster-wide.

use std::rc::Rc;

use anyhow::{Result, ensure};

use super::install::{CHARTS, flags};
use crate::{
    cluster::{Cluster, release},
    eventually::{always, seconds},
    look::Look as _,
    manifests,
    run::Done,
};

const NETWORK: &str = "namespaced.test";

/// Runs where no other controller does.
pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let inside = cluster.space("namespaced", "-in").await?;
    let outside = cluster.space("namespaced", "-out").await?;
    let chart = format!("{CHARTS}/sorcha");
    let namespace = format!("--namespace={}", inside.name);
    let alone = format!("{}-alone", release());
    let flags = flags(cluster)?;
    let mut arguments = vec!["install", alone.as_str(), chart.as_str()];
    arguments.extend(flags.iter().filter(|flag| !flag.starts_with("--namespace")).map(String::as_str));
    arguments.extend([namespace.as_str(), "--set=scope=Namespace,replicas=1"]);
    cluster.helm(&arguments).await?;
    for kind in ["clusterrole", "clusterrolebinding"] {
        let selector = format!("app.kubernetes.io/instance={alone}");
        let made = cluster.kubectl(&["get", kind, "-o", "name", "-l", &selector]).await?;
        ensure!(made.trim().is_empty(), "scope Namespace makes {made}");
    }
    for space in [&outside, &inside] {
        let objects =
            [manifests::tokens(), manifests::embedded("n0", NETWORK), manifests::peers("edge", NETWORK, 1)];
        space.apply(&objects).await?;
    }
    inside.until("scn/n0", 120, &[("Ready", "True")]).await?;
    // Tokens of the Secret are taken; users of the cluster are not, and the status says why.
    let node = inside.until("scn/n0", 10, &[("PublishersConfigured", "True")]).await?;
    let told = node.expect_reason("PublishersConfigured", "True", "TokensOnly")?.message.to_owned();
    ensure!(told.contains("scope Namespace"), "{told}");
    inside.until("sp/edge", 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    always("the other namespace is left alone", seconds(3), async || {
        ensure!(!outside.exists(&["statefulset"]).await?, "objects were made in {}", outside.name);
        let peer = outside.get(&["sp/edge"]).await?;
        ensure!(peer.list("/status/conditions").is_empty(), "a status was written: {peer}");
        Ok(())
    })
    .await?;
    cluster.helm(&["uninstall", &alone, &namespace, "--wait", "--timeout=2m"]).await?;
    Ok(Done::Passed)
}
