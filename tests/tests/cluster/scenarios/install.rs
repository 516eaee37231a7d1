//! The charts, as the README installs them.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    cluster::{CONTROLLER, Cluster, definitions_release, release, system},
    eventually::{eventually, seconds},
    look::{Look as _, is_ready},
    run::Done,
};

/// Folder of the charts.
pub(crate) const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts");

const DEFINITIONS: [&str; 3] =
    ["sorchacentralnodes.sorcha.dev", "sorchapeers.sorcha.dev", "sorchablueprints.sorcha.dev"];

/// Flags of `helm upgrade --install` for the controller's chart.
pub(crate) fn flags(cluster: &Cluster) -> Result<Vec<String>> {
    let image = &cluster.settings.image;
    let (repository, tag) = image.rsplit_once(':').with_context(|| format!("{image} has no tag"))?;
    Ok(vec![
        format!("--namespace={}", system()),
        format!("--set=image.repository={repository},image.tag={tag}"),
        "--set=demo.enabled=false".to_owned(),
        // The kubelet of the tests' cluster looks every 10 s, and so do the nodes.
        "--set=controller.certificates.settle=30s".to_owned(),
        "--wait".to_owned(),
        "--timeout=3m".to_owned(),
    ])
}

pub(crate) async fn helm_install(cluster: &Cluster, more: &[&str]) -> Result<()> {
    let (crds, chart) = (format!("{CHARTS}/sorcha-crds"), format!("{CHARTS}/sorcha"));
    if cluster.occupied.definitions.is_empty() {
        cluster.helm(&["upgrade", "--install", &definitions_release(), &crds]).await?;
    }
    let flags = flags(cluster)?;
    let mut arguments = vec!["upgrade", "--install", release(), chart.as_str()];
    arguments.extend(flags.iter().map(String::as_str));
    arguments.extend(more);
    cluster.helm(&arguments).await.map(drop)
}

/// Every sample of docs/ passes the schemas and the rules in them.
async fn samples(cluster: &Cluster) -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/samples");
    cluster.kubectl(&["apply", "--dry-run=server", "-f", folder]).await.map(drop)
}

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": system(), "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    cluster.try_kubectl(&["apply", "-f", "-"], &namespace.to_string()).await?.out("kubectl apply")?;
    if cluster.occupied.definitions.is_empty() {
        cluster.definitions.borrow_mut().extend(DEFINITIONS.map(str::to_owned));
    }
    helm_install(cluster, &[]).await?;
    for definition in DEFINITIONS {
        cluster.kubectl(&["wait", "crd", definition, "--for=condition=Established", "--timeout=30s"]).await?;
    }
    samples(cluster).await?;
    let explained = cluster.kubectl(&["explain", "sorchapeer.spec.replicas"]).await?;
    ensure!(explained.contains("How many peers"), "kubectl explain says {explained}");
    eventually("one of two ready controllers holds the lease", seconds(60), async || {
        let pods = cluster.json(&["-n", system(), "get", "pods", "-l", CONTROLLER]).await?;
        let ready = pods.list("/items").iter().filter(|pod| is_ready(pod)).count();
        ensure!(ready == 2, "{ready} controllers are ready");
        cluster.leader().await
    })
    .await?;
    Ok(Done::Passed)
}
