//! Deleting resources: Retain and Delete, in the background and in the foreground.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    publishing::publish,
    run::Done,
    space::Space,
};

const CASES: [(&str, &str, &str); 4] = [
    ("rb", "Retain", "background"),
    ("rf", "Retain", "foreground"),
    ("db", "Delete", "background"),
    ("df", "Delete", "foreground"),
];

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("deletion", "").await?;
    space.apply(&[manifests::tokens()]).await?;
    space.apply(&CASES.map(|case| central(&case))).await?;
    space.apply(&CASES.map(|case| peers(&case))).await?;
    for case in &CASES {
        space.until(&format!("scn/c-{}", case.0), 120, &[("Ready", "True")]).await?;
        space.until(&format!("sp/p-{}", case.0), 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    }
    publish(&space, "c-rb-0", "c-rb", "kept-v1").await?;
    let before = eventually("the peer has the publication", seconds(30), async || {
        let register = space.pod("p-rb-0", "/api/system-register").await?;
        let central = space.pod("c-rb-0", "/api/system-register").await?;
        ensure!(register["digest"] == central["digest"], "{register}");
        Ok(register)
    })
    .await?;
    for (kind, prefix) in [("sp", "p"), ("scn", "c")] {
        for (name, _, cascade) in CASES {
            let cascade = format!("--cascade={cascade}");
            space.kubectl(&["delete", kind, &format!("{prefix}-{name}"), &cascade, "--timeout=90s"]).await?;
        }
        for (name, policy, _) in CASES {
            gone(&space, &format!("{prefix}-{name}"), policy).await?;
        }
    }
    again(&space, &before).await?;
    Ok(Done::Passed)
}

fn with_policy(mut object: Value, policy: &str) -> Value {
    object["spec"]["deletionPolicy"] = policy.into();
    object["spec"]["drain"] = Value::Null;
    object
}

/// Each in a network of its own.
fn central((name, policy, _): &(&str, &str, &str)) -> Value {
    let mut object = with_policy(manifests::embedded(&format!("c-{name}"), &format!("{name}.test")), policy);
    object["spec"]["drain"] = json!({"spread": "1s", "timeout": "2s"});
    object
}

fn peers((name, policy, _): &(&str, &str, &str)) -> Value {
    let mut object = with_policy(manifests::peers(&format!("p-{name}"), &format!("{name}.test"), 1), policy);
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("drain");
    }
    object
}

async fn gone(space: &Space, name: &str, policy: &str) -> Result<()> {
    let selector =
        format!("app.kubernetes.io/instance={name},app.kubernetes.io/managed-by=sorcha-controller");
    let kinds = "statefulset,service,configmap,secret,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget,pod";
    space.until_gone(60, &[kinds, "-l", &selector]).await?;
    let claim = format!("data-{name}-0");
    if policy == "Delete" {
        return space.until_gone(60, &["pvc", &claim]).await;
    }
    let kept = space.get(&["pvc", &claim]).await?;
    ensure!(kept.pointer("/metadata/deletionTimestamp").is_none(), "{claim} is being deleted");
    Ok(())
}

/// Resources of the same names take the kept volumes up.
async fn again(space: &Space, before: &Value) -> Result<()> {
    space.apply(&[central(&CASES[0]), peers(&CASES[0])]).await?;
    space.until("scn/c-rb", 120, &[("Ready", "True")]).await?;
    let edge = space
        .until("sp/p-rb", 120, &[("Ready", "True"), ("Synced", "True"), ("SplitBrain", "False")])
        .await?;
    for pod in ["c-rb-0", "p-rb-0"] {
        let now = space.pod(pod, "/api/system-register").await?;
        ensure!(
            now["lineage"] == before["lineage"] && now["digest"] == before["digest"],
            "{pod} holds {now}, not {before}"
        );
    }
    let history = space.pod("p-rb-0", "/api/sync/history").await?;
    let full = history.list("").iter().any(|sync| sync.text("/syncType") == "Full");
    ensure!(!full, "the peer fetched all again: {history} {}", edge["status"]["nodes"]);
    Ok(())
}
