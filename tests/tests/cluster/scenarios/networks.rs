//! Networks side by side.

use std::{collections::BTreeSet, rc::Rc};

use anyhow::{Result, ensure};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    publishing::{held, publish},
    run::Done,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let one = cluster.space("networks", "-1").await?;
    let two = cluster.space("networks", "-2").await?;
    let same = "sorcha.dev";
    one.apply(&[manifests::tokens(), manifests::embedded("n0", same), manifests::peers("edge", same, 1)])
        .await?;
    two.apply(&[
        manifests::tokens(),
        manifests::embedded("n0", same),
        manifests::peers("edge", same, 1),
        manifests::embedded("m0", "other.test"),
        manifests::peers("far", "other.test", 1),
    ])
    .await?;
    // The same network name in two namespaces, and two networks in one namespace.
    let all = [(&one, "n0", "edge"), (&two, "n0", "edge"), (&two, "m0", "far")];
    for (space, central, peers) in all {
        space.until(&format!("scn/{central}"), 120, &[("Ready", "True")]).await?;
        space.until(&format!("sp/{peers}"), 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    }
    for (number, (space, central, _)) in all.iter().enumerate() {
        for count in 0..=number {
            publish(space, &format!("{central}-0"), central, &format!("of-network-{number}-{count}")).await?;
        }
    }
    let (mut lineages, mut digests) = (BTreeSet::new(), BTreeSet::new());
    for (number, (space, central, peers)) in all.iter().enumerate() {
        let register = eventually("the peer holds what its central node does", seconds(30), async || {
            let ours = space.pod(&format!("{peers}-0"), "/api/system-register").await?;
            let theirs = space.pod(&format!("{central}-0"), "/api/system-register").await?;
            ensure!(
                ours["digest"] == theirs["digest"] && ours["lineage"] == theirs["lineage"],
                "{ours} {theirs}"
            );
            Ok(ours)
        })
        .await?;
        lineages.insert(register.text("/lineage").to_owned());
        digests.insert(register.text("/digest").to_owned());
        let ids = held(space, &format!("{peers}-0")).await?;
        let foreign: Vec<_> = ids
            .iter()
            .filter(|id| id.starts_with("of-network-") && !id.starts_with(&format!("of-network-{number}-")))
            .collect();
        ensure!(foreign.is_empty(), "{peers} in {} holds {foreign:?}", space.name);
        ensure!(ids.iter().filter(|id| id.starts_with("of-network-")).count() == number + 1, "{ids:?}");
        let peers = space.until(&format!("sp/{peers}"), 10, &[("SplitBrain", "False")]).await?;
        ensure!(peers.text("/status/central") == *central, "{}", peers["status"]);
    }
    ensure!(lineages.len() == 3 && digests.len() == 3, "lineages {lineages:?}, digests {digests:?}");
    Ok(Done::Passed)
}
