//! Certificates as the controller makes, renews, repairs and replaces them. Needs no node that runs.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    cluster::{CONTROLLER, Cluster, release, system},
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    run::Done,
    space::Space,
};

const NETWORK: &str = "certificates.test";
const AUTHORITY: &str = "sorcha-ca.certificates.test";
/// "Within seconds".
const REPAIR: u64 = 10;
/// Both waits of a change of authorities, and what the reconciles between them take.
pub(super) const CHANGE: u64 = 150;

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("certificates", "").await?;
    let peers = manifests::peers("edge", NETWORK, 1);
    space.apply(&[manifests::tokens(), manifests::embedded("n0", NETWORK), peers]).await?;
    issued(&space).await?;
    repaired(&space).await?;
    asked(&space).await?;
    outside(&space).await?;
    followed(&space).await?;
    unreadable(&space).await?;
    Ok(Done::Passed)
}

async fn issued(space: &Space) -> Result<()> {
    for what in ["scn/n0", "sp/edge"] {
        let object = space.until_reason(what, 30, "CertificateValid", "Issued").await?;
        let certificate = &object["status"]["certificate"];
        ensure!(certificate.text("/issuer").starts_with("Sorcha CA "), "{what}: {certificate}");
        ensure!(!certificate.text("/notAfter").is_empty(), "{what}: {certificate}");
    }
    for name in ["n0", "edge"] {
        let secret = space.get(&["secret", &format!("{name}-tls")]).await?;
        let keys: Vec<&String> = secret["data"].as_object().context("data")?.keys().collect();
        ensure!(keys == ["ca.crt", "tls.crt", "tls.key"], "{name}-tls has {keys:?}");
        ensure!(secret.text("/type") == "kubernetes.io/tls", "{}", secret.text("/type"));
        let set = space.get(&["statefulset", name]).await?;
        let volumes = set.list("/spec/template/spec/volumes");
        let mounted = volumes.iter().any(|v| v.text("/secret/secretName") == format!("{name}-tls"));
        ensure!(mounted, "{name} does not mount its certificate: {set}");
    }
    ensure!(
        trusted(space, "edge").await? == published(space).await?,
        "edge trusts others than are published"
    );
    Ok(())
}

/// A key of a Secret as text.
async fn decoded(space: &Space, secret: &str, key: &str) -> Result<String> {
    let template = format!("{{{{index .data {key:?} | base64decode}}}}");
    space.kubectl(&["get", "secret", secret, "-o", &format!("go-template={template}")]).await
}

pub(super) async fn trusted(space: &Space, name: &str) -> Result<String> {
    decoded(space, &format!("{name}-tls"), "ca.crt").await
}

async fn published(space: &Space) -> Result<String> {
    let map = space.get(&["configmap", AUTHORITY]).await?;
    Ok(map["data"].text("/ca.crt").to_owned())
}

async fn certificate(space: &Space, name: &str) -> Result<String> {
    decoded(space, &format!("{name}-tls"), "tls.crt").await
}

async fn until_another(space: &Space, name: &str, before: &str, within: u64) -> Result<String> {
    eventually(&format!("{name} has another certificate"), seconds(within), async || {
        let now = certificate(space, name).await?;
        ensure!(now.contains("BEGIN CERTIFICATE") && now != before, "it is {now}");
        Ok(now)
    })
    .await
}

/// Deleted and damaged Secrets are made anew within seconds.
async fn repaired(space: &Space) -> Result<()> {
    let before = certificate(space, "edge").await?;
    space.kubectl(&["delete", "secret", "edge-tls"]).await?;
    until_another(space, "edge", &before, REPAIR).await?;
    let before = certificate(space, "n0").await?;
    space.patch("secret/n0-tls", &json!({"data": {"tls.crt": "Z2FyYmFnZQ=="}})).await?;
    until_another(space, "n0", &before, REPAIR).await?;
    let told = eventually("an Event tells", seconds(REPAIR), async || {
        let events = space.events("SorchaCentralNode", "n0").await?;
        events
            .into_iter()
            .find(|event| event.0 == "CertificateRenewed")
            .context("no Event CertificateRenewed")
    })
    .await?;
    ensure!(told.2.contains("could not be used"), "{told:?}");
    let trust = trusted(space, "edge").await?;
    space.patch("secret/edge-tls", &json!({"data": {"ca.crt": "", "more": "eA=="}})).await?;
    eventually("edge trusts the authority again", seconds(REPAIR), async || {
        let now = trusted(space, "edge").await?;
        ensure!(now == trust, "it trusts {now:?}");
        Ok(())
    })
    .await
}

/// An annotation asks for a new certificate, once.
async fn asked(space: &Space) -> Result<()> {
    let before = certificate(space, "edge").await?;
    space.kubectl(&["annotate", "sp/edge", "sorcha.dev/rotate-certificate=one"]).await?;
    let now = until_another(space, "edge", &before, REPAIR).await?;
    tokio::time::sleep(seconds(3)).await;
    ensure!(certificate(space, "edge").await? == now, "it was made twice");
    Ok(())
}

/// A peer outside the cluster gets a certificate from the command, which the Secret remembers.
async fn outside(space: &Space) -> Result<()> {
    let controller = format!("deploy/{}", release());
    let arguments = [
        "-n",
        system(),
        "exec",
        &controller,
        "--",
        "/usr/local/bin/sorcha-controller",
        "identity",
        "peer",
        "far",
        "--network",
        NETWORK,
        "--namespace",
        &space.name,
        "--days",
        "1",
        "-o",
        "yaml",
    ];
    let manifest = space.cluster.kubectl(&arguments).await?;
    ensure!(manifest.contains("name: far-tls"), "{manifest}");
    space.try_kubectl(&["apply", "-f", "-"], &manifest).await?.out("kubectl apply")?;
    ensure!(decoded(space, "far-tls", "ca.crt").await? == published(space).await?, "far trusts others");
    let until = space.get(&["secret", AUTHORITY]).await?;
    let until = until["metadata"]["annotations"].text("/sorcha.dev~1outside-until").to_owned();
    ensure!(!until.is_empty(), "the authority does not know of it");
    // For the change of authorities that follows, it has ended.
    space.kubectl(&["annotate", "secret", AUTHORITY, "sorcha.dev/outside-until-"]).await.map(drop)
}

/// One authority follows another while controllers end; every certificate is made anew before the old one is forgotten.
async fn followed(space: &Space) -> Result<()> {
    let (old, before) = (published(space).await?, certificate(space, "edge").await?);
    space.kubectl(&["annotate", "scn/n0", "sorcha.dev/rotate-ca=one"]).await?;
    let both = eventually("both authorities are trusted", seconds(REPAIR), async || {
        let now = trusted(space, "edge").await?;
        ensure!(now.matches("BEGIN").count() == 2 && now.contains(&old), "{now}");
        ensure!(trusted(space, "n0").await? == now, "n0 does not trust both");
        Ok(now)
    })
    .await?;
    ensure!(certificate(space, "edge").await? == before, "the new authority signs too early");
    kill(space).await?;
    until_another(space, "edge", &before, CHANGE).await?;
    ensure!(trusted(space, "edge").await? == both, "the old authority is forgotten too early");
    kill(space).await?;
    let alone = eventually("the old authority is forgotten", seconds(CHANGE), async || {
        let now = published(space).await?;
        ensure!(now.matches("BEGIN").count() == 1 && now != old, "{now}");
        Ok(now)
    })
    .await?;
    eventually("the nodes are told", seconds(REPAIR), async || {
        for name in ["n0", "edge"] {
            ensure!(trusted(space, name).await? == alone, "{name} still trusts the old one");
        }
        let secret = space.get(&["secret", AUTHORITY]).await?;
        let keys = secret["data"].as_object().context("data")?;
        ensure!(!keys.keys().any(|key| key.starts_with("previous")), "the old key is still there");
        Ok(())
    })
    .await?;
    space.until_reason("sp/edge", REPAIR, "CertificateValid", "Issued").await.map(drop)
}

/// The controller that reconciles ends without a word.
async fn kill(space: &Space) -> Result<()> {
    let arguments = ["-n", system(), "delete", "pods", "-l", CONTROLLER, "--grace-period=0", "--force"];
    space.cluster.kubectl(&arguments).await.map(drop)
}

/// A key that can't be read is told, and written over by nobody.
async fn unreadable(space: &Space) -> Result<()> {
    let secret = space.get(&["secret", AUTHORITY]).await?;
    let key = secret["data"]["tls.key"].clone();
    space.patch(&format!("secret/{AUTHORITY}"), &json!({"data": {"tls.key": "Z2FyYmFnZQ=="}})).await?;
    for what in ["scn/n0", "sp/edge"] {
        let object = space.until_reason(what, 30, "CertificateValid", "AuthorityUnreadable").await?;
        let condition = object.expect_reason("Ready", "False", "AuthorityUnreadable")?;
        ensure!(condition.message.contains("restore it, or"), "{condition:?}");
    }
    let now = space.get(&["secret", AUTHORITY]).await?;
    ensure!(now["data"].text("/tls.key") == "Z2FyYmFnZQ==", "it was written over");
    space.patch(&format!("secret/{AUTHORITY}"), &json!({"data": {"tls.key": key}})).await?;
    for what in ["scn/n0", "sp/edge"] {
        space.until_reason(what, 30, "CertificateValid", "Issued").await?;
    }
    Ok(())
}
