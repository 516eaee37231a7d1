//! Controllers that die in the middle of their work.

use std::rc::Rc;

use anyhow::{Result, ensure};

use crate::{
    cluster::{CONTROLLER, Cluster, system},
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    run::Done,
};

const RESOURCES: usize = 20;
/// Kinds that each resource has one of.
const KINDS: [&str; 8] = [
    "statefulset",
    "configmap",
    "secret",
    "serviceaccount",
    "role",
    "rolebinding",
    "networkpolicy",
    "poddisruptionbudget",
];

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("crash", "").await?;
    let names: Vec<String> = (0..RESOURCES).map(|number| format!("peer-{number}")).collect();
    let peers: Vec<_> = names.iter().map(|name| manifests::peers(name, "crash.test", 0)).collect();
    space.apply(&peers).await?;
    cluster
        .kubectl(&["-n", system(), "delete", "pods", "-l", CONTROLLER, "--force", "--grace-period=0"])
        .await?;
    eventually("every resource is reconciled", seconds(120), async || {
        let peers = space.get(&["sp"]).await?;
        for peer in peers.list("/items") {
            let (seen, spec) =
                (peer.number("/status/observedGeneration"), peer.number("/metadata/generation"));
            ensure!(seen == spec, "{}: observedGeneration {seen}, generation {spec}", peer.name());
            peer.expect("Ready", "True")?;
        }
        Ok(())
    })
    .await?;
    for kind in KINDS {
        // Without what they share: the authority.
        let selector = "app.kubernetes.io/managed-by=sorcha-controller,app.kubernetes.io/component=peer";
        let objects = space.get(&[kind, "-l", selector]).await?;
        let objects = objects.list("/items");
        ensure!(objects.len() == RESOURCES, "{} of kind {kind}, not {RESOURCES}", objects.len());
    }
    eventually("one of two ready controllers holds the lease", seconds(60), async || cluster.leader().await)
        .await?;
    Ok(Done::Passed)
}
