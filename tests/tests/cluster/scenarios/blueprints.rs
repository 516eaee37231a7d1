//! Blueprints as resources: what `kubectl apply`, `kubectl patch` and `kubectl delete` do to the register.

use std::{rc::Rc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    network::{self, NETWORK},
    publishing::{document, publish},
    run::Done,
    space::Space,
};

const APPLIED: &str = "applied-v1";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    network::settle(space, network::REPLICAS).await?;
    let version = applied(space).await?;
    toggled(space, version).await?;
    adopted_and_refused(space).await?;
    from_a_config_map(space).await?;
    by_a_user_without_rights(space).await?;
    deleted(space).await?;
    Ok(Done::Passed)
}

/// From `kubectl apply` to `kubectl wait` on every peer; the version.
async fn applied(space: &Space) -> Result<i64> {
    let started = Instant::now();
    space.apply(&[manifests::blueprint(APPLIED, NETWORK, &document(APPLIED))]).await?;
    let resource = format!("sbp/{APPLIED}");
    for condition in ["Published", "Converged", "Ready"] {
        let condition = format!("--for=condition={condition}");
        space.kubectl(&["wait", &resource, &condition, "--timeout=60s"]).await?;
    }
    println!(
        "      blueprints: kubectl wait for Converged returns {:.1} s after kubectl apply",
        started.elapsed().as_secs_f64()
    );
    let blueprint = space.get(&[&resource]).await?;
    let entry = entry(space, "n1", APPLIED).await?;
    for (status, held) in [
        ("/status/version", "/version"),
        ("/status/checksum", "/checksum"),
        ("/status/publishedBy", "/publishedBy"),
        ("/status/active", "/isActive"),
    ] {
        ensure!(blueprint.pointer(status) == entry.pointer(held), "{status}: {blueprint}\n{entry}");
    }
    let replicas = usize::try_from(network::REPLICAS)?;
    ensure!(blueprint.text("/status/peers") == format!("{replicas}/{replicas}"), "{blueprint}");
    let read = space.service("edge", &path(APPLIED), &[]).await?.json()?;
    ensure!(read["blueprint"] == document(APPLIED), "at a peer: {read}");
    let table = space.kubectl(&["get", &resource]).await?;
    ensure!(table.contains("PUBLISHED") && table.contains(&format!("{replicas}/{replicas}")), "{table}");
    told(space, APPLIED, "Published").await?;
    Ok(blueprint.number("/status/version"))
}

async fn toggled(space: &Space, version: i64) -> Result<()> {
    let resource = format!("sbp/{APPLIED}");
    for (active, reason) in [(false, "Deprecated"), (true, "Reactivated")] {
        space.patch(&resource, &json!({"spec": {"active": active}})).await?;
        space.until(&resource, 60, &[("Ready", "True"), ("Converged", "True")]).await?;
        let entry = entry(space, "n0", APPLIED).await?;
        ensure!(entry["isActive"] == json!(active) && entry.number("/version") > version, "{entry}");
        told(space, APPLIED, reason).await?;
    }
    Ok(())
}

/// What a publisher has published already: the same document is taken over, another one left alone.
async fn adopted_and_refused(space: &Space) -> Result<()> {
    let version = publish(space, "publisher", "n0", "by-hand-v1").await?;
    space.apply(&[manifests::blueprint("by-hand-v1", NETWORK, &document("by-hand-v1"))]).await?;
    let adopted = space.until("sbp/by-hand-v1", 60, &[("Published", "True")]).await?;
    ensure!(adopted.number("/status/version") == version, "a new version: {adopted}");
    publish(space, "publisher", "n0", "taken-v1").await?;
    let before = entry(space, "n0", "taken-v1").await?;
    space.apply(&[manifests::blueprint("taken-v1", NETWORK, &document("another"))]).await?;
    let refused = space.until_reason("sbp/taken-v1", 60, "Published", "Conflict").await?;
    let condition = refused.expect("Published", "False")?;
    ensure!(condition.message.contains(before.text("/checksum")), "{condition:?}");
    ensure!(entry(space, "n0", "taken-v1").await? == before, "a conflict changed the register");
    told(space, "taken-v1", "Conflict").await?;
    // Not ours: it goes without a word, and the blueprint stays.
    space.kubectl(&["delete", "sbp/taken-v1", "--timeout=30s"]).await?;
    ensure!(entry(space, "n0", "taken-v1").await? == before, "a deletion changed the register");
    Ok(())
}

async fn from_a_config_map(space: &Space) -> Result<()> {
    let reference = json!({"name": "documents", "key": "mapped.json"});
    let mut blueprint = manifests::blueprint("mapped-v1", NETWORK, &Value::Null);
    blueprint["spec"] = json!({"network": NETWORK, "configMapRef": reference, "deletionPolicy": "Retain"});
    space.apply(&[blueprint]).await?;
    space.until_reason("sbp/mapped-v1", 60, "Published", "ConfigMapNotFound").await?;
    let map = |name: &str| {
        let data = json!({"mapped.json": document(name).to_string()});
        let metadata = json!({"name": "documents", "labels": {"sorcha.dev/publish": "true"}});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    };
    let mut unlabelled = map("mapped-v1");
    unlabelled["metadata"]["labels"] = json!({});
    space.apply(&[unlabelled]).await?;
    space.until_reason("sbp/mapped-v1", 60, "Published", "ConfigMapNotReleased").await?;
    space.apply(&[map("mapped-v1")]).await?;
    // It is noticed when it appears, not after the 30 s in which it would be looked at again.
    space.until("sbp/mapped-v1", 15, &[("Published", "True")]).await?;
    let before = entry(space, "n0", "mapped-v1").await?;
    space.apply(&[map("changed")]).await?;
    space.until_reason("sbp/mapped-v1", 60, "Ready", "DocumentChanged").await?;
    ensure!(entry(space, "n0", "mapped-v1").await? == before, "a changed ConfigMap changed the register");
    space.kubectl(&["delete", "sbp/mapped-v1", "--timeout=30s"]).await?;
    ensure!(entry(space, "n0", "mapped-v1").await?["isActive"] == json!(true), "deletionPolicy Retain");
    Ok(())
}

/// Who may view a namespace may look; who may edit it may publish.
async fn by_a_user_without_rights(space: &Space) -> Result<()> {
    for (role, expected) in [("view", "no"), ("edit", "yes")] {
        space.kubectl(&["create", "serviceaccount", role]).await?;
        let account = format!("--serviceaccount={}:{role}", space.name);
        let clusterrole = format!("--clusterrole={role}");
        space.kubectl(&["create", "rolebinding", role, &clusterrole, &account]).await?;
        let user = format!("--as=system:serviceaccount:{}:{role}", space.name);
        eventually(&format!("{role} may create: {expected}"), seconds(30), async || {
            let arguments = ["auth", "can-i", "create", "sorchablueprints.sorcha.dev", &user];
            let answer = space.try_kubectl(&arguments, "").await?;
            ensure!(answer.out.trim() == expected, "{answer:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// With `deletionPolicy: Deprecate`, the default.
async fn deleted(space: &Space) -> Result<()> {
    space.kubectl(&["delete", &format!("sbp/{APPLIED}"), "--timeout=60s"]).await?;
    let entry = entry(space, "n0", APPLIED).await?;
    ensure!(entry["isActive"] == json!(false), "still active: {entry}");
    Ok(())
}

fn path(id: &str) -> String {
    format!("/api/system-register/blueprints/{id}")
}

/// A blueprint as a central node serves it.
async fn entry(space: &Space, central: &str, id: &str) -> Result<Value> {
    space.service(central, &path(id), &[]).await?.json().with_context(|| format!("{id} at {central}"))
}

async fn told(space: &Space, name: &str, reason: &str) -> Result<()> {
    eventually(&format!("an Event {reason} about {name}"), seconds(30), async || {
        let events = space.events("SorchaBlueprint", name).await?;
        ensure!(events.iter().any(|event| event.0 == reason), "{events:?}");
        Ok(())
    })
    .await
}
