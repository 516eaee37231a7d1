//! Scheduled backups: a CronJob from the spec, a bundle on a volume, and what is restored from it.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    publishing::{NODE, document},
    run::Done,
    space::Space,
};

const NETWORK: &str = "backup.test";
const CLAIM: &str = "register-backups";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("backup", "").await?;
    let mut node = manifests::embedded("n0", NETWORK);
    // Only by hand.
    node["spec"]["backup"] = json!({"schedule": "0 0 29 2 *", "keep": 2, "claimName": CLAIM});
    space.apply(&[manifests::tokens(), claim(), node]).await?;
    space.until("scn/n0", 120, &[("Ready", "True"), ("BackedUp", "Unknown")]).await?;
    publish(&space).await?;
    space.kubectl(&["create", "job", "by-hand", "--from=cronjob/n0-backup"]).await?;
    let node = space.until("scn/n0", 90, &[("BackedUp", "True")]).await?;
    ensure!(!node.text("/status/backup/lastSuccessfulTime").is_empty(), "{}", node["status"]);

    let said = space.kubectl(&["logs", "job/by-hand"]).await?;
    ensure!(said.contains("by the register's creator"), "the backup is not signed: {said}");
    let bundle =
        said.split_whitespace().find(|word| word.starts_with("/backups/register-")).context("no name")?;
    let register = space.service("n0", "/api/system-register", &[]).await?.json()?;
    let digest = register.text("/digest").to_owned();
    ensure!(said.contains(&digest), "another register than n0's, {digest}: {said}");
    space.apply(&[restoring(cluster, bundle)]).await?;
    eventually("the backup is restored", seconds(60), async || {
        let pod = space.get(&["pod", "restore"]).await?;
        ensure!(pod.text("/status/phase") == "Succeeded", "it is {}", pod["status"]);
        Ok(())
    })
    .await?;
    let logs = space.kubectl(&["logs", "restore"]).await?;
    // What the command remarks on standard error comes first.
    let summary = logs.find("\n{").map_or(logs.as_str(), |at| &logs[at..]);
    let restored: Value = serde_json::from_str(summary.trim()).with_context(|| logs.clone())?;
    ensure!(restored.text("/lineage") == register.text("/lineage"), "{restored}");
    ensure!(
        restored["entries"] == register["blueprintCount"] && restored["findings"] == json!([]),
        "{restored}"
    );

    space.patch("scn/n0", &json!({"spec": {"backup": null}})).await?;
    space.until_gone(30, &["cronjobs"]).await?;
    let node = space.get(&["scn/n0"]).await?;
    ensure!(node.condition("BackedUp").is_none() && node["status"]["backup"].is_null(), "{}", node["status"]);
    ensure!(space.exists(&["pvc", CLAIM]).await?, "the volume with the backups is gone");
    Ok(Done::Passed)
}

fn claim() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    })
}

async fn publish(space: &Space) -> Result<()> {
    let words = [
        "exec",
        "-i",
        "n0-0",
        "--",
        NODE,
        "publish",
        "-",
        "--id",
        "saved-v1",
        "--token-file",
        "/etc/sorcha/publishers/tokens",
    ];
    eventually("a blueprint is published", seconds(30), async || {
        space.try_kubectl(&words, &document("saved-v1").to_string()).await?.out("publish").map(drop)
    })
    .await
}

/// Into an empty store, as an administrator would.
fn restoring(cluster: &Cluster, bundle: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "restore"},
        "spec": {
            "restartPolicy": "Never", "enableServiceLinks": false, "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "restore", "image": cluster.settings.image, "imagePullPolicy": "IfNotPresent",
                "command": [
                    NODE, "register", "restore", bundle, "--data-dir", "/data/n0", "--require-signature", "--yes", "--output", "json",
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "backups", "mountPath": "/backups"}, {"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [
                {"name": "backups", "persistentVolumeClaim": {"claimName": CLAIM}},
                {"name": "data", "emptyDir": {}},
            ],
        },
    })
}
