//! Certificates by cert-manager. Needs no node that runs.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    run::Done,
    space::Space,
};

const CERTIFICATES: &str = "certificates.cert-manager.io";

/// Certificates by cert-manager: its definition is the real one, the issuer is this test.
pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let there = cluster.kubectl(&["get", "crd", CERTIFICATES, "--ignore-not-found", "-o", "name"]).await?;
    if !there.trim().is_empty() {
        return Ok(Done::Skipped(
            "the cluster has cert-manager, whose definition this scenario would replace",
        ));
    }
    let space = cluster.space("cert-manager", "").await?;
    let mut peers = manifests::peers("edge", "cert-manager.test", 1);
    peers["spec"]["tls"] = json!({"mode": "CertManager", "issuerRef": {"name": "ours"}});
    space.apply(&[peers]).await?;
    space.until_reason("sp/edge", 30, "CertificateValid", "CertManagerMissing").await?;
    let definition = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/cert-manager/certificates.yaml");
    cluster.kubectl(&["create", "-f", definition]).await?;
    cluster.definitions.borrow_mut().push(CERTIFICATES.to_owned());
    cluster.kubectl(&["wait", "crd", CERTIFICATES, "--for=condition=Established", "--timeout=30s"]).await?;
    let waiting = space.until_reason("sp/edge", 30, "CertificateValid", "WaitingForCertificate").await?;
    waiting.expect_reason("Ready", "False", "WaitingForCertificate")?;
    let asked = space.get(&["certificates.cert-manager.io", "edge"]).await?;
    issue(&space, &asked, false).await?;
    let unusable = space.until_reason("sp/edge", 30, "CertificateValid", "CertificateUnusable").await?;
    let told = unusable.expect("Ready", "False")?.message.to_owned();
    ensure!(told.contains("ca.crt has no certificate"), "{told}");
    issue(&space, &asked, true).await?;
    let object = space.until_reason("sp/edge", 30, "CertificateValid", "Issued").await?;
    ensure!(object["status"]["certificate"].text("/issuer") == "ours", "{}", object["status"]["certificate"]);
    let set =
        eventually("the pods mount it", seconds(30), async || space.get(&["statefulset", "edge"]).await)
            .await?;
    ensure!(set.to_string().contains("edge-cert-manager-tls"), "{set}");
    ensure!(
        !space.exists(&["secret", "sorcha-ca.cert-manager.test"]).await?,
        "there is an authority of ours"
    );
    Ok(Done::Passed)
}

/// What cert-manager does when an issuer has signed.
async fn issue(space: &Space, asked: &Value, with_authority: bool) -> Result<()> {
    let made = signed(asked)?;
    let mut data = json!({"tls.crt": made.certificate, "tls.key": made.key});
    if with_authority {
        data["ca.crt"] = json!(made.authority);
    }
    let labels = &asked["spec"]["secretTemplate"]["labels"];
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "stringData": data,
        "metadata": {"name": asked["spec"]["secretName"], "labels": labels},
    });
    space.apply(&[secret]).await?;
    let ready = json!({"status": {"conditions": [{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "up to date",
        "lastTransitionTime": "2026-11-25T10:00:00Z",
    }]}});
    let arguments =
        ["patch", "certificates.cert-manager.io", "edge", "--subresource=status", "--type=merge", "-p"];
    space.kubectl(&[&arguments[..], &[&ready.to_string()]].concat()).await.map(drop)
}

struct Signed {
    certificate: String,
    key: String,
    authority: String,
}

fn signed(asked: &Value) -> Result<Signed> {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    };
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "ours");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?.pem();
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name.push(DnType::CommonName, asked["spec"].text("/commonName"));
    for uri in asked.list("/spec/uris") {
        leaf.subject_alt_names.push(SanType::URI(uri.as_str().unwrap_or_default().try_into()?));
    }
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &Issuer::new(authority, authority_key))?.pem();
    Ok(Signed { certificate, key: key.serialize_pem(), authority: authority_certificate })
}
