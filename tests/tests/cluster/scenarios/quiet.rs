//! When nothing is to be done, nothing is written.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, release, system},
    eventually::{eventually, seconds},
    look::{Look as _, sum},
    manifests,
    network::{self, CENTRAL},
    run::Done,
    space::Space,
};

const REPLICAS: i32 = 3;
const IDLE: Duration = Duration::from_secs(60);
const OWNED: &str =
    "statefulset,service,configmap,secret,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    network::settle(space, REPLICAS).await?;
    // What other scenarios have left makes work while it goes.
    eventually("namespaces that are being deleted are gone", seconds(90), async || {
        let left = cluster.kubectl(&["get", "namespaces"]).await?;
        ensure!(!left.contains("Terminating"), "{left}");
        Ok(())
    })
    .await?;
    let before = eventually("nothing changes any more", seconds(60), async || {
        let (one, _) = (versions(space).await?, tokio::time::sleep(seconds(5)).await);
        let two = versions(space).await?;
        ensure!(one == two, "{one:?} {two:?}");
        Ok(two)
    })
    .await?;
    let controller = format!("deployment/{}", release());
    cluster.kubectl(&["-n", system(), "rollout", "restart", &controller]).await?;
    cluster.kubectl(&["-n", system(), "rollout", "status", &controller, "--timeout=120s"]).await?;
    let leader = eventually("a controller has looked at everything", seconds(60), async || {
        let leader = cluster.leader().await?;
        let metrics = cluster.metrics(system(), &leader).await?;
        let looked =
            |kind: &str| sum(&metrics, &format!("sorcha_controller_reconciles_total{{kind=\"{kind}\""));
        ensure!(looked("SorchaPeer") >= 1.0 && looked("SorchaCentralNode") >= 3.0, "{metrics}");
        Ok(leader)
    })
    .await?;
    let after = versions(space).await?;
    let changed: Vec<_> = after.iter().filter(|(key, value)| before.get(*key) != Some(value)).collect();
    ensure!(changed.is_empty() && after.len() == before.len(), "a second pass wrote {changed:?}");
    idle(cluster, space, &leader).await?;
    spellings(cluster, &leader).await?;
    Ok(Done::Passed)
}

/// Values that the API server writes in a spelling of its own, or leaves out: looked at again and again, nothing is applied.
async fn spellings(cluster: &Rc<Cluster>, leader: &str) -> Result<()> {
    let space = cluster.space("quiet", "").await?;
    let mut peers = manifests::peers("odd", "odd.test", 0);
    peers["spec"]["resources"] = json!({
        "requests": {"cpu": "0.0250", "memory": "65536Ki", "ephemeral-storage": "1e6"},
        "limits": {"cpu": "1000m", "memory": "1024Mi", "ephemeral-storage": 1_073_741_824_i64},
    });
    peers["spec"]["store"]["embedded"]["storage"] = json!({"size": "0.0625Gi"});
    peers["spec"]["pod"] = json!({
        "nodeSelector": {}, "imagePullSecrets": [], "annotations": {"limits": "1000m"},
        "tolerations": [{"key": "a", "operator": "Exists", "value": "", "tolerationSeconds": 0, "effect": "NoExecute"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}, "nodeAffinity": {}},
        "topologySpreadConstraints": [{
            "whenUnsatisfiable": "ScheduleAnyway", "topologyKey": "kubernetes.io/hostname", "maxSkew": 1,
            "matchLabelKeys": [], "labelSelector": {"matchLabels": {}},
        }],
    });
    space.apply(&[peers]).await?;
    let applied = async || {
        let metrics = cluster.metrics(system(), leader).await?;
        Ok::<_, anyhow::Error>(sum(
            &metrics,
            "sorcha_controller_api_calls_total{resource=\"statefulsets\",verb=\"apply\"",
        ))
    };
    eventually("the StatefulSet is there, as desired", seconds(30), async || {
        ensure!(space.exists(&["statefulset", "odd"]).await?, "there is none");
        let before = applied().await?;
        tokio::time::sleep(seconds(3)).await;
        ensure!(applied().await? == before, "it is still being applied");
        Ok(())
    })
    .await?;
    let (calls, before) = (applied().await?, space.get(&["statefulset/odd"]).await?);
    for look in 0..8 {
        space.kubectl(&["annotate", "sp/odd", &format!("look-again={look}"), "--overwrite"]).await?;
        tokio::time::sleep(seconds(1)).await;
    }
    let after = space.get(&["statefulset/odd"]).await?;
    ensure!(applied().await? == calls, "{} applies in eight looks", applied().await? - calls);
    ensure!(
        after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"],
        "it was written: {after}"
    );
    Ok(())
}

/// Resource versions of owned objects; of the resources, whose status lives on, what is not status.
async fn versions(space: &Space) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    let owned = space.get(&[OWNED, "-l", "app.kubernetes.io/managed-by=sorcha-controller"]).await?;
    for object in owned.list("/items") {
        let key = format!("{} {}", object.text("/kind"), object.name());
        versions.insert(key, object.text("/metadata/resourceVersion").to_owned());
    }
    for object in space.get(&["scn,sp"]).await?.list("/items") {
        let mut metadata = object["metadata"].clone();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
        }
        versions.insert(format!("{} {}", object.text("/kind"), object.name()), metadata.to_string());
    }
    Ok(versions)
}

/// What a minute in which nothing happens costs the API server.
async fn idle(cluster: &Cluster, space: &Space, leader: &str) -> Result<()> {
    let calls = async || {
        let metrics = cluster.metrics(system(), leader).await?;
        let status = sum(&metrics, "sorcha_controller_api_calls_total{resource=\"sorchapeers/status\"")
            + sum(&metrics, "sorcha_controller_api_calls_total{resource=\"sorchacentralnodes/status\"");
        Ok::<_, anyhow::Error>((sum(&metrics, "sorcha_controller_api_calls_total"), status))
    };
    let (all, status) = calls().await?;
    let audit = Audit::start(cluster)?;
    tokio::time::sleep(IDLE).await;
    let (all_after, status_after) = calls().await?;
    let others = (all_after - all) - (status_after - status);
    ensure!(others == 0.0, "{others} calls of the controller beside status in an idle minute");
    let resources = 1.0 + CENTRAL.len() as f64;
    ensure!(
        status_after - status <= resources,
        "{} writes of status for {resources} resources",
        status_after - status
    );
    let Some(audit) = audit else {
        println!("      quiet: the nodes' writes are not counted, SORCHA_E2E_AUDIT_LOG is not set");
        return Ok(());
    };
    let writes = audit.end(&space.name)?;
    println!("      quiet: writes to status in an idle minute: {writes:?}");
    for (who, count) in &writes {
        // A peer resource's account speaks for all its pods.
        let pods = if who.ends_with(":edge") { usize::try_from(REPLICAS)? } else { resources as usize };
        ensure!(*count <= pods, "{who} wrote {count} times in an idle minute, for {pods}");
    }
    Ok(())
}

/// The API server's own record.
struct Audit {
    file: std::path::PathBuf,
    from: usize,
}

impl Audit {
    fn start(cluster: &Cluster) -> Result<Option<Self>> {
        let Some(file) = cluster.settings.audit_log.as_ref().map(std::path::PathBuf::from) else {
            return Ok(None);
        };
        let from = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?.len();
        Ok(Some(Self { file, from }))
    }

    /// PATCHes of a namespace's status since then, by who made them.
    fn end(&self, namespace: &str) -> Result<BTreeMap<String, usize>> {
        let log = std::fs::read(&self.file)?;
        let mut writes = BTreeMap::new();
        for line in String::from_utf8_lossy(&log[self.from.min(log.len())..]).lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            let about = event.text("/objectRef/apiGroup") == "sorcha.dev"
                && event.text("/objectRef/subresource") == "status";
            if about && event.text("/verb") == "patch" && event.text("/objectRef/namespace") == namespace {
                *writes.entry(event.text("/user/username").to_owned()).or_default() += 1;
            }
        }
        Ok(writes)
    }
}
