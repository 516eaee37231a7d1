//! What a run takes away at its end: all that it made, and nothing that was there before.

use anyhow::{Result, ensure};

use crate::{
    cluster::{Cluster, definitions_release, release, system},
    eventually::{eventually, seconds},
    look::Look as _,
    space::Space,
};

/// Namespaces, releases and definitions of this run.
pub(crate) async fn nothing_behind(cluster: &Cluster) -> Result<()> {
    let spaces: Vec<Space> = cluster.spaces.borrow().iter().map(|(_, space)| space.clone()).collect();
    for space in &spaces {
        // One that is gone already is not missed; one that stays is found below.
        let _gone = space.delete().await.is_err();
    }
    eventually("the run's namespaces are gone", seconds(180), async || {
        let there = names(cluster, &["namespaces"]).await?;
        let left: Vec<_> = spaces.iter().filter(|space| there.contains(&space.name)).collect();
        for space in &left {
            release_blueprints(space).await?;
        }
        ensure!(left.is_empty(), "left: {:?}", left.iter().map(|space| &space.name).collect::<Vec<_>>());
        Ok(())
    })
    .await?;
    uninstall(cluster).await?;
    definitions(cluster).await?;
    let kinds = ["namespaces,clusterroles,clusterrolebindings"];
    let left = names(cluster, &kinds).await?.into_iter().filter(|name| name.contains(release()));
    let left: Vec<String> = left.collect();
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    Ok(())
}

async fn names(cluster: &Cluster, what: &[&str]) -> Result<Vec<String>> {
    let objects = cluster.json(&[&["get"], what].concat()).await?;
    Ok(objects.list("/items").iter().map(|object| object.name().to_owned()).collect())
}

/// A blueprint that is being deleted waits for a controller, which may be gone.
async fn release_blueprints(space: &Space) -> Result<()> {
    for blueprint in space.get(&["sorchablueprints.sorcha.dev"]).await?.list("/items") {
        if !blueprint.text("/metadata/deletionTimestamp").is_empty() {
            let patch = serde_json::json!({"metadata": {"finalizers": null}});
            let what = format!("sorchablueprints.sorcha.dev/{}", blueprint.name());
            // It may have gone in the meantime.
            let _gone = space.patch(&what, &patch).await.is_err();
        }
    }
    Ok(())
}

async fn uninstall(cluster: &Cluster) -> Result<()> {
    let namespace = format!("--namespace={}", system());
    let how = ["--ignore-not-found", "--wait", "--timeout=2m"];
    cluster.helm(&[&["uninstall", release(), &namespace][..], &how].concat()).await?;
    cluster.helm(&[&["uninstall", &definitions_release()][..], &how].concat()).await?;
    let how = ["--ignore-not-found", "--timeout=120s"];
    cluster.kubectl(&[&["delete", "namespace", system()][..], &how].concat()).await.map(drop)
}

/// A definition goes with every resource of its kind: not while there are others' ones.
async fn definitions(cluster: &Cluster) -> Result<()> {
    let made = cluster.definitions.borrow().clone();
    for definition in made {
        let there = cluster.kubectl(&["get", "crd", &definition, "--ignore-not-found", "-o", "name"]).await?;
        if there.trim().is_empty() {
            continue;
        }
        let used = cluster.json(&["get", &definition, "--all-namespaces"]).await?;
        if let Some(one) = used.list("/items").first() {
            let whose = format!("{}/{}", one.text("/metadata/namespace"), one.name());
            println!("      the definition {definition} stays: there is {whose}, which is not of this run");
            continue;
        }
        cluster.kubectl(&["delete", "crd", &definition, "--timeout=60s"]).await?;
    }
    Ok(())
}
