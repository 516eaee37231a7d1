//! Publications, as publishers make them: with `sorcha-node publish` in a pod.

use std::{cell::Cell, collections::BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    eventually::{eventually, seconds},
    look::Look as _,
    space::Space,
};

/// The command of the nodes' image.
pub(crate) const NODE: &str = "/usr/local/bin/sorcha-node";
const TOKEN_FILE: &str = "/etc/sorcha/publishers/tokens";

/// A small blueprint.
pub(crate) fn document(id: &str) -> Value {
    json!({
        "@context": "https://sorcha.dev/blueprints/v1", "id": id, "name": format!("Blueprint {id}"),
        "version": "1.0.0", "participants": [{"id": "buyer"}, {"id": "seller"}],
    })
}

/// Publishes from a pod on a central node; the version it got. A Service may lead nowhere for a moment after its pod has
/// become ready: then it is tried again.
pub(crate) async fn publish(space: &Space, pod: &str, central: &str, id: &str) -> Result<i64> {
    let what = format!("{central} answers");
    let reached = eventually(&what, seconds(15), async || match try_publish(space, pod, central, id).await {
        Err(error) if format!("{error:#}").contains("does not answer") => Err(error),
        other => Ok(other),
    });
    reached.await?
}

async fn try_publish(space: &Space, pod: &str, central: &str, id: &str) -> Result<i64> {
    let url = format!("http://{central}.{}.svc:8080", space.name);
    let arguments = [
        "exec",
        "-i",
        pod,
        "--",
        NODE,
        "publish",
        "-",
        "--id",
        id,
        "--url",
        &url,
        "--token-file",
        TOKEN_FILE,
        "--output",
        "json",
    ];
    let ended = space.try_kubectl(&arguments, &document(id).to_string()).await?;
    let answer: Value = serde_json::from_str(ended.out.trim())
        .with_context(|| format!("publish {id} on {central}: {} {}", ended.out.trim(), ended.err.trim()))?;
    ensure!(ended.ok && answer.number("/version") > 0, "publish {id} on {central}: {answer}");
    Ok(answer.number("/version"))
}

/// Publishes on one central node after the other until told to stop; each blueprint until a node has acknowledged it.
pub(crate) async fn publish_while(space: &Space, going: &Cell<bool>, prefix: &str) -> Result<Published> {
    let mut published = Published::default();
    while going.get() {
        let id = format!("{prefix}-{}", published.ids.len());
        let mut turn = published.ids.len();
        let version = eventually(&format!("{id} is published"), seconds(30), async || {
            turn += 1;
            let result = try_publish(space, "publisher", &format!("n{}", turn % 3), &id).await;
            published.refused += usize::from(result.is_err());
            result
        })
        .await?;
        published.version = published.version.max(version);
        published.ids.insert(id);
    }
    Ok(published)
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) ids: BTreeSet<String>,
    pub(crate) version: i64,
    /// Attempts that no node took.
    pub(crate) refused: usize,
}

/// Ids that a pod holds.
pub(crate) async fn held(space: &Space, pod: &str) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for page in 1.. {
        let path = format!("/api/system-register/blueprints?pageSize=100&page={page}");
        let answer = space.pod(pod, &path).await?;
        // The list stands under one key, whatever that is called.
        let items = answer.as_object().and_then(|object| object.values().find_map(Value::as_array));
        ids.extend(items.into_iter().flatten().map(|item| item.text("/blueprintId").to_owned()));
        if page >= answer.number("/totalPages") {
            break;
        }
    }
    Ok(ids)
}

/// Waits until each of the pods holds all that was acknowledged, and all have one digest.
pub(crate) async fn until_replicated(space: &Space, pods: &[String], published: &Published) -> Result<()> {
    eventually("every replica holds what was acknowledged", seconds(30), async || {
        let mut digests = BTreeSet::new();
        for pod in pods {
            let register = space.pod(pod, "/api/system-register").await?;
            ensure!(register.number("/currentVersion") >= published.version, "{pod}: {register}");
            let held = held(space, pod).await?;
            let missing: Vec<_> = published.ids.difference(&held).collect();
            ensure!(missing.is_empty(), "{pod} has not {missing:?}");
            digests.insert(register.text("/digest").to_owned());
        }
        ensure!(digests.len() <= 1, "digests differ: {digests:?}");
        Ok(())
    })
    .await
}
