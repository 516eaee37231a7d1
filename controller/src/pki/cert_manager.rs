//! `tls.mode: CertManager`: asks cert-manager for a certificate and says how far it is. No issuer is ever made here.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use sorcha_crds::CONTROLLER_FIELD_MANAGER;

use super::{Policy, foreign, holder::Holder, leaf::Leaf, x509::Certificate};
use crate::{apply::covers_open, context::Ctx, names, reconcile::Error};

/// API version of the resource that is asked for.
pub const API_VERSION: &str = "cert-manager.io/v1";

/// The Certificate of a resource; pure.
#[must_use]
pub fn certificate(holder: &Holder, policy: &Policy) -> Value {
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

async fn ask(ctx: &Ctx, holder: &Holder, wanted: &Value) -> Result<Arc<Value>, Error> {
    let key = (holder.namespace.clone(), holder.name.clone());
    if let Some(held) =
        ctx.certificates.fresh(&key).filter(|held| covers_open(held, wanted) && is_ready(held))
    {
        return Ok(held);
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"));
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &holder.namespace, &resource);
    ctx.metrics.called("get", "certificates");
    let held = match api.get(&holder.name).await {
        Ok(found) => Some(found),
        Err(kube::Error::Api(status)) if status.code == 404 && names_it(&status, &holder.name) => None,
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(not_installed(holder)),
        Err(error) => return Err(Error::Read(error)),
    };
    let value = held.map(|held| serde_json::to_value(held).unwrap_or_default());
    let value = match value.filter(|held| covers_open(held, wanted)) {
        Some(held) => held,
        None => {
            ctx.metrics.called("apply", "certificates");
            let parameters = PatchParams::apply(CONTROLLER_FIELD_MANAGER).force();
            let applied = api.patch(&holder.name, &parameters, &Patch::Apply(wanted)).await;
            serde_json::to_value(applied.map_err(refused)?).unwrap_or_default()
        }
    };
    let value = Arc::new(value);
    ctx.certificates.put(key, Arc::clone(&value));
    Ok(value)
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
            let message = format!("cert-manager's Certificate is refused: {}", status.message);
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
    let said = said.unwrap_or("cert-manager has not said anything of it: does it run?");
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
