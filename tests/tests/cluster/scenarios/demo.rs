//! The demo network and `helm test`, as the chart's README uses them.

use std::rc::Rc;

use anyhow::{Result, ensure};

use super::install::helm_install;
use crate::{
    cluster::{Cluster, release, system},
    eventually::{eventually, seconds},
    look::Look as _,
    run::Done,
    space::Space,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let system = Space::new(Rc::clone(cluster), system().to_owned());
    let without = test(cluster).await?;
    ensure!(without.contains("the controller answers"), "helm test without the demo says: {without}");
    let image = format!("--set=demo.mongodb.image={}", cluster.settings.mongodb_image);
    // The server of MongoDB's protocol that the tests use knows no passwords.
    helm_install(cluster, &["--set=demo.enabled=true", "--set=demo.mongodb.authentication=Disabled", &image])
        .await?;
    for name in ["scn/n0", "scn/n1", "scn/n2", "sp/edge"] {
        system.until(name, 180, &[("Ready", "True")]).await?;
    }
    let drill = test(cluster).await?;
    for told in ["is deleted", "is connected again", "every resource is Ready", "passed in"] {
        ensure!(drill.contains(told), "helm test does not say {told:?}: {drill}");
    }
    for line in drill.lines().filter(|line| line.contains(" s  every peer")) {
        println!("      demo: {}", line.trim());
    }
    helm_install(cluster, &[]).await?;
    system.until_gone(90, &["scn,sp,statefulset,pvc", "--selector=app.kubernetes.io/part-of=sorcha"]).await?;
    eventually("the demo's volumes are gone", seconds(60), async || {
        let claims = system.get(&["pvc"]).await?;
        ensure!(claims.list("/items").is_empty(), "{claims}");
        Ok(())
    })
    .await?;
    Ok(Done::Passed)
}

/// `helm test`; what its pod said.
async fn test(cluster: &Cluster) -> Result<String> {
    cluster.helm(&["test", release(), "--namespace", system(), "--logs", "--timeout=5m"]).await
}
