//! What others fill: a user's Secret, and the authorities that a spec names. They are read by name and not watched.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use sorcha_crds::tls::{CaKeyRef, TrustSource};

use super::{
    holder::Holder,
    leaf::Leaf,
    secret,
    x509::{self, Certificate, CertificateFault},
};
use crate::{
    context::Ctx,
    memo::{Data, ObjectKey},
    names,
    reconcile::Error,
};

/// Longest content that is remembered.
const REMEMBERED_BYTES: usize = 32 * 1024;
/// The contents of one namespace that are remembered, together.
const NAMESPACE_BYTES: usize = 4 * 1024 * 1024;

/// Looks at an object, at most once in `--foreign-refresh` while it is there.
pub(crate) async fn look(
    ctx: &Ctx,
    kind: &'static str,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Data>>, Error> {
    let key = (kind, namespace.to_owned(), name.to_owned());
    if let Some(data) = ctx.foreign.fresh(&key) {
        return Ok(Some(data));
    }
    let data = if kind == "Secret" {
        let found = ctx.secret(namespace, name).await.map_err(Error::Read)?;
        found.map(|secret| data_of(&secret))
    } else {
        ctx.metrics.called("get", "configmaps");
        let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
        let found = api.get_opt(name).await.map_err(Error::Read)?;
        found.map(|map| map.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes())).collect())
    };
    let Some(data) = data.map(Arc::new) else {
        // What comes is not kept waiting.
        ctx.foreign.forget(&key);
        return Ok(None);
    };
    // Long ones are read again: there may be many of them.
    if size(&data) <= REMEMBERED_BYTES {
        let of_namespace =
            |key: &ObjectKey, data: &Arc<Data>| if key.1 == namespace { size(data) } else { 0 };
        ctx.foreign.put_within(key, Arc::clone(&data), NAMESPACE_BYTES, of_namespace);
    }
    Ok(Some(data))
}

fn size(data: &Data) -> usize {
    data.iter().map(|(key, value)| key.len() + value.len()).sum()
}

fn data_of(secret: &Secret) -> Data {
    secret.data.clone().unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
}

/// The further authorities that a resource trusts.
///
/// # Errors
/// Naming the object and key that is missing or can't be read.
pub(super) async fn trust(ctx: &Ctx, holder: &Holder) -> Result<Vec<Certificate>, Error> {
    let mut all = Vec::new();
    // Those of single central nodes are looked at all the same: a pod would wait for one that is missing without a word.
    for (source, is_for_all) in holder
        .trust
        .iter()
        .map(|source| (source, true))
        .chain(holder.listed.iter().map(|source| (source, false)))
    {
        let (kind, reference) = match source {
            TrustSource { config_map_ref: Some(reference), .. } => ("ConfigMap", reference),
            TrustSource { secret_ref: Some(reference), .. } => ("Secret", reference),
            // The schema has refused it.
            TrustSource { .. } => continue,
        };
        let data = look(ctx, kind, &holder.namespace, &reference.name).await?;
        let value = data.as_ref().and_then(|data| data.get(&reference.key));
        let Some(value) = value else { return Err(missing(kind, reference, &holder.namespace)) };
        let certificates =
            x509::read(value).map_err(|fault| unusable(kind, &reference.name, &reference.key, &fault))?;
        if is_for_all {
            all.extend(certificates);
        }
    }
    Ok(all)
}

fn missing(kind: &str, CaKeyRef { name, key }: &CaKeyRef, namespace: &str) -> Error {
    let message = format!(
        "{kind} {name} has no key {key}, or does not exist: create it in namespace {namespace} with the authority's \
         certificate (PEM)"
    );
    Error::Certificate { reason: "TrustNotFound", message }
}

fn unusable(kind: &str, name: &str, key: &str, fault: &CertificateFault) -> Error {
    Error::Certificate { reason: "TrustUnusable", message: format!("{kind} {name}, key {key}: {fault}") }
}

/// The Secret of a user, as far as it is known; from memory alone.
#[must_use]
pub(super) fn seen(ctx: &Ctx, namespace: &str, name: &str) -> Option<Arc<Data>> {
    ctx.foreign.last(&("Secret", namespace.to_owned(), name.to_owned()))
}

/// The certificate in a Secret of which `value` gives the values.
pub(super) fn read<'a>(value: impl Fn(&str) -> &'a [u8]) -> Result<Leaf, CertificateFault> {
    Leaf::read(value(secret::CERTIFICATE), value(secret::KEY), value(secret::TRUST))
}

/// A user's Secret, which must be there and fit.
///
/// # Errors
/// What is missing, and the remedy.
pub(super) async fn ensure(
    ctx: &Ctx,
    holder: &Holder,
    name: &str,
    further: &[Certificate],
) -> Result<Leaf, Error> {
    let data = look(ctx, "Secret", &holder.namespace, name).await?;
    let Some(data) = data else {
        let (name, namespace) = (name.to_owned(), holder.namespace.clone());
        return Err(Error::SecretMissing { name, key: secret::CERTIFICATE.to_owned(), namespace });
    };
    let checked = read(|key| data.get(key).map_or(&[][..], Vec::as_slice))
        .and_then(|leaf| usable(holder, &leaf, further).map(|()| leaf));
    checked.map_err(|fault| {
        // It may be mended any moment: the next look is a new one, and until then this is what was seen.
        ctx.foreign.age(&("Secret", holder.namespace.clone(), name.to_owned()));
        Error::Certificate { reason: "CertificateUnusable", message: format!("Secret {name}: {fault}") }
    })
}

/// Whether central nodes and peers would take a certificate for what it must say.
///
/// # Errors
/// What it lacks.
pub(crate) fn usable(holder: &Holder, leaf: &Leaf, further: &[Certificate]) -> Result<(), CertificateFault> {
    let names = &leaf.pair.certificate.names;
    if let Some(uri) = holder.names.uris.iter().find(|uri| !names.uris.contains(*uri)) {
        return Err(CertificateFault(format!(
            "tls.crt has no URI name {uri}, by which the node proves who it is"
        )));
    }
    if let Some(host) = holder.host.as_ref().filter(|host| !stands_for(names, host)) {
        return Err(CertificateFault(format!("tls.crt has no DNS name {host}, under which peers dial")));
    }
    if further.is_empty() && x509::read(leaf.trust.as_bytes()).is_err() {
        return Err(CertificateFault(
            "ca.crt has no certificate: put that of the authority there, or name it in spec.tls.trust"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Whether a host is among the names, with a wildcard for its first label.
fn stands_for(names: &x509::Names, host: &str) -> bool {
    let wild = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    names.dns.contains(host) || wild.is_some_and(|wild| names.dns.contains(&wild))
}

/// The ConfigMap with everybody whom a node trusts whose certificate comes from elsewhere.
#[must_use]
pub(super) fn trust_map(holder: &Holder, leaf: &Leaf, further: &[Certificate]) -> ConfigMap {
    let own = x509::read(leaf.trust.as_bytes()).unwrap_or_default();
    let bundle = x509::bundle(own.iter().chain(further));
    ConfigMap {
        metadata: holder.meta(names::trust_config_map(&holder.name)),
        data: Some([(secret::TRUST.to_owned(), bundle)].into()),
        ..ConfigMap::default()
    }
}

/// A Secret that cert-manager fills, as the cache shows it.
#[must_use]
pub(super) fn cached(ctx: &Ctx, namespace: &str, name: &str) -> Option<Result<Leaf, CertificateFault>> {
    let secret = ctx.caches.get::<Secret>(namespace, name)?;
    Some(read(|key| secret::value(&secret, key)))
}
