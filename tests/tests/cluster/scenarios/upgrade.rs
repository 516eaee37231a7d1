//! A new version of the chart with live data, and its end.

use std::rc::Rc;

use anyhow::{Result, ensure};

use super::install::helm_install;
use crate::{
    cluster::{Cluster, definitions_release, release, system},
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    network::{self, CENTRAL},
    publishing::{document, held, publish},
    run::Done,
};

const REPLICAS: i32 = 3;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    // An image of their own would hide the controller's new default.
    space.patch("sp/edge", &serde_json::json!({"spec": {"image": null}})).await?;
    network::settle(space, REPLICAS).await?;
    let version = publish(space, "publisher", "n0", "before-upgrade-v1").await?;
    let (before, lineage) =
        (held(space, "n0-0").await?, space.pod("n0-0", "/api/system-register").await?["lineage"].clone());
    let image = &cluster.settings.image_2;
    let node_image = format!("--set=nodeImage={image}");
    let changes = [
        "--set=replicas=1",
        "--set=resources.requests.memory=80Mi",
        "--set=controller.resync=5m",
        &node_image,
    ];
    helm_install(cluster, &changes).await?;
    eventually("all nodes run the new image and are ready", seconds(240), async || {
        let pods = space.get(&["pods", "-l", "app.kubernetes.io/name=sorcha-node"]).await?;
        for pod in pods.list("/items") {
            let runs = pod.text("/spec/containers/0/image");
            ensure!(runs == image, "{} runs {runs}", pod.name());
        }
        for name in CENTRAL {
            space.get(&[&format!("scn/{name}")]).await?.expect("Ready", "True")?;
        }
        let edge = space.get(&["sp/edge"]).await?;
        edge.expect("Synced", "True")?;
        edge.expect("Ready", "True").map(drop)
    })
    .await?;
    for pod in network::edge_pods(REPLICAS).into_iter().chain(CENTRAL.map(|name| format!("{name}-0"))) {
        let register = space.pod(&pod, "/api/system-register").await?;
        ensure!(
            register["lineage"] == lineage && register.number("/currentVersion") >= version,
            "{pod}: {register}"
        );
        ensure!(held(space, &pod).await?.is_superset(&before), "{pod} has lost blueprints");
    }
    space.apply(&[manifests::blueprint("left-v1", network::NETWORK, &document("left-v1"))]).await?;
    space.until("sbp/left-v1", 60, &[("Published", "True")]).await?;
    let held = space.get(&["sbp/left-v1"]).await?;
    ensure!(!held.list("/metadata/finalizers").is_empty(), "a deletion would not be waited for: {held}");
    uninstall(cluster, space).await?;
    // Nobody is left to deprecate it: nothing waits for that.
    let left = space.get(&["sbp/left-v1"]).await?;
    ensure!(left.list("/metadata/finalizers").is_empty(), "it would hang: {left}");
    space.kubectl(&["delete", "sbp/left-v1", "--timeout=20s"]).await?;
    Ok(Done::Passed)
}

/// Definitions, resources and nodes stay; nothing stops.
async fn uninstall(cluster: &Cluster, space: &crate::space::Space) -> Result<()> {
    cluster.helm(&["uninstall", release(), "--namespace", system(), "--wait", "--timeout=2m"]).await?;
    if cluster.occupied.definitions.is_empty() {
        cluster.helm(&["uninstall", &definitions_release(), "--wait", "--timeout=2m"]).await?;
    }
    cluster.kubectl(&["get", "crd", "sorchacentralnodes.sorcha.dev", "sorchapeers.sorcha.dev"]).await?;
    space.kubectl(&["get", "scn/n0", "scn/n1", "scn/n2", "sp/edge"]).await?;
    let edge = network::not_ready(space, "peer", usize::try_from(REPLICAS)?).await?;
    let central = network::not_ready(space, "central-node", CENTRAL.len()).await?;
    ensure!(edge == 0 && central == 0, "{edge} peers and {central} central nodes are not ready");
    let version = publish(space, "publisher", "n1", "after-uninstall-v1").await?;
    eventually("replication goes on without a controller", seconds(30), async || {
        let register = space.pod("edge-0", "/api/system-register").await?;
        ensure!(register.number("/currentVersion") >= version, "{register}");
        Ok(())
    })
    .await
}
