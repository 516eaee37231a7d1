//! `tls.mode: CertManager`: asks cert-manager for a certificate and says how far it is. No issuer is ever made here.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ObjectMeta},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{Policy, foreign, holder::Holder, leaf::Leaf, x509::Certificate};
use crate::{
    apply::{covers_open, gate::Permit, is_conflict, owner::Claim},
    context::Ctx,
    names,
    reconcile::{Error, said},
};

/// Longest Certificate that is remembered.
const REMEMBERED_BYTES: usize = 32 * 1024;
/// API version of the resource that is asked for.
pub(crate) const API_VERSION: &str = "cert-manager.io/v1";

/// The Certificate of a resource; pure.
#[must_use]
pub(crate) fn certificate(holder: &Holder, policy: &Policy) -> Value {
    let Some(issuer) = &holder.tls.issuer_ref else { return Value::Null };
    // As Go writes them: written otherwise, they would differ from what is there for ever.
    let go = |seconds: u64| format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (life, before) = (policy.lifetime.as_secs(), policy.lifetime.as_secs() / 3);
    let labels = names::labels(holder.component, &holder.name, &holder.network);
    json!({
        "apiVersion": API_VERSION, "kind": "Certificate",
        "metadata": {
            "name": holder.name, "namespace": holder.namespace, "labels": labels, "ownerReferences": [holder.owner],
        },
        "spec": {
            "secretName": names::cert_manager_secret(&holder.name),
            // By these labels the controller sees the Secret.
            "secretTemplate": {"labels": labels},
            "commonName": holder.name,
            "duration": go(life), "renewBefore": go(before),
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "server auth", "client auth"],
            "uris": holder.names.uris, "dnsNames": holder.names.dns, "ipAddresses": holder.names.ips,
            "issuerRef": {"name": issuer.name, "kind": issuer.kind.as_str(), "group": issuer.group},
        },
    })
}

/// Asks for the certificate and reads what came of it.
///
/// # Errors
/// What is waited for: the definitions, the issuer, or a Secret that fits.
pub(super) async fn ensure(ctx: &Ctx, holder: &Holder, further: &[Certificate]) -> Result<Leaf, Error> {
    let wanted = certificate(holder, &ctx.settings.certificates.policy());
    let held = ask(ctx, holder, &wanted).await?;
    let name = names::cert_manager_secret(&holder.name);
    let issued = ctx.caches.get::<Secret>(&holder.namespace, &name).is_some();
    match foreign::cached(ctx, &holder.namespace, &name) {
        Some(Ok(leaf)) => {
            let fits = foreign::usable(holder, &leaf, further);
            fits.map(|()| leaf).map_err(|fault| Error::Certificate {
                reason: "CertificateUnusable",
                message: format!("Secret {name}, made by cert-manager: {fault}"),
            })
        }
        Some(Err(fault)) if issued && is_ready(&held) => Err(Error::Certificate {
            reason: "CertificateUnusable",
            message: format!("Secret {name}, made by cert-manager: {fault}"),
        }),
        _ => Err(waiting(holder, &held)),
    }
}

/// How often a Certificate is looked at again because others wrote it in between.
const ATTEMPTS: usize = 4;

async fn ask(ctx: &Ctx, holder: &Holder, wanted: &Value) -> Result<Arc<Value>, Error> {
    let key = (holder.namespace.clone(), holder.name.clone());
    if let Some(held) =
        ctx.certificates.fresh(&key).filter(|held| covers_open(held, wanted) && is_ready(held))
    {
        return Ok(held);
    }
    let claim = Claim::Resource(holder.owner.uid.clone());
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"));
    let place = ctx.applier.dynamic_place(&resource, &holder.namespace, &holder.name);
    for _ in 0..ATTEMPTS {
        let held = read(ctx, holder, &resource).await?;
        let permit = match &held {
            Some(held) => place.seen(&held.metadata, &claim)?,
            None => {
                check_secret(ctx, holder).await?;
                // It is known to be missing; that it still is, the write sees to.
                place.missing()
            }
        };
        let held = held.map(|held| serde_json::to_value(held).unwrap_or_default());
        let value = match held.filter(|held| covers_open(held, wanted)) {
            Some(held) => held,
            None => match apply(&permit, wanted).await? {
                Some(applied) => applied,
                None => continue,
            },
        };
        let value = Arc::new(value);
        // A long one is read again: others may write what they like into it.
        if value.to_string().len() <= REMEMBERED_BYTES {
            ctx.certificates.put(key, Arc::clone(&value));
        }
        return Ok(value);
    }
    Err(place.contended().into())
}

/// The Certificate as it is now.
async fn read(ctx: &Ctx, holder: &Holder, resource: &ApiResource) -> Result<Option<DynamicObject>, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &holder.namespace, resource);
    ctx.metrics.called("get", "certificates");
    match api.get(&holder.name).await {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 && names_it(&status, &holder.name) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(not_installed(holder)),
        Err(error) => Err(Error::Read(error)),
    }
}

/// `None`: others wrote first.
async fn apply(permit: &Permit<'_, DynamicObject>, wanted: &Value) -> Result<Option<Value>, Error> {
    match permit.apply(wanted).await {
        Ok(applied) => Ok(Some(serde_json::to_value(applied).unwrap_or_default())),
        Err(error) if is_conflict(&error) => Ok(None),
        Err(error) => Err(refused(error)),
    }
}

/// cert-manager writes over whatever Secret it is pointed at: one that is there before anything was asked for must be the
/// one of an earlier Certificate of this resource.
async fn check_secret(ctx: &Ctx, holder: &Holder) -> Result<(), Error> {
    let name = names::cert_manager_secret(&holder.name);
    let found = ctx.secret(&holder.namespace, &name).await.map_err(Error::Read)?;
    let Some(found) = found else { return Ok(()) };
    let made_here = names::labels(holder.component, &holder.name, &holder.network);
    let claim = Claim::of(&ObjectMeta { labels: Some(made_here), ..ObjectMeta::default() });
    let by_cert_manager = found.annotations().get("cert-manager.io/certificate-name") == Some(&holder.name);
    if by_cert_manager {
        return Ok(());
    }
    let place = ctx.applier.place::<Secret>(&holder.namespace, &name);
    place.seen(&found.metadata, &claim).map(drop).map_err(Error::Apply)
}

/// Whether a 404 speaks of the object, and not of its kind.
fn names_it(status: &kube::core::Status, name: &str) -> bool {
    status.details.as_ref().is_some_and(|details| details.name == name)
}

fn not_installed(holder: &Holder) -> Error {
    let message = format!(
        "the API server knows no Certificate of {API_VERSION}: install cert-manager, or choose another tls.mode for {}",
        holder.name
    );
    Error::Certificate { reason: "CertManagerMissing", message }
}

fn refused(error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
            let message = format!("cert-manager's Certificate is refused: {}", said(&status));
            Error::Certificate { reason: "CertificateRefused", message }
        }
        error => Error::Read(error),
    }
}

fn ready(held: &Value) -> Option<&Value> {
    held["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")
}

fn is_ready(held: &Value) -> bool {
    ready(held).is_some_and(|condition| condition["status"] == "True")
}

/// Why there is no certificate, in cert-manager's words.
fn waiting(holder: &Holder, held: &Value) -> Error {
    let issuer =
        holder.tls.issuer_ref.as_ref().map(|issuer| format!("{} {}", issuer.kind.as_str(), issuer.name));
    let said = ready(held).and_then(|condition| condition["message"].as_str());
    let said = said.unwrap_or("cert-manager has not reported anything on it: check that cert-manager runs");
    let message = format!("Certificate {} waits for {}: {said}", holder.name, issuer.unwrap_or_default());
    Error::Certificate { reason: "WaitingForCertificate", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_404_of_the_kind_is_not_one_of_the_object() {
        let status = |details: Value| {
            serde_json::from_value::<kube::core::Status>(
                json!({"code": 404, "reason": "NotFound", "details": details}),
            )
            .expect("a status")
        };
        assert!(names_it(&status(json!({"name": "n0", "kind": "certificates"})), "n0"));
        assert!(!names_it(&status(json!({})), "n0"));
    }
}
