//! Where a central node is, and what it must prove before it gets a token. Nothing of that comes from a blueprint.

use k8s_openapi::api::core::v1::{Secret, Service};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaCentralNode, conditions::MESSAGE_CHARS, text::cut, tls::TlsMode};
use sorcha_identity::{Identity, Kind};

use crate::{
    context::Ctx,
    names,
    network::Network,
    pki::{self, x509},
    publication::{
        Refusal,
        publisher::{At, Trust},
        tls::Proof,
    },
};

/// A central node of a network, as far as it is to be trusted with a token.
///
/// # Errors
/// [`Refusal::Unproven`], which tells the remedy.
pub(super) async fn at<'a>(ctx: &Ctx, network: &'a Network, central: &'a str) -> Result<At<'a>, Refusal> {
    let trust = trust(ctx, network, central).await;
    let unproven = |message: String| Refusal::Unproven {
        central: central.to_owned(),
        message: cut(&message, MESSAGE_CHARS),
    };
    let trust = trust.map_err(unproven)?;
    Ok(At { namespace: &network.namespace, network: &network.name, central, trust })
}

async fn trust(ctx: &Ctx, network: &Network, central: &str) -> Result<Trust, String> {
    if ctx.publisher.is_local(central) {
        return Ok(Trust::Local);
    }
    let node = network.nodes.iter().find(|node| node.name_any() == central);
    let node = node.ok_or("there is no such SorchaCentralNode")?;
    if node.spec.tls.mode == TlsMode::Disabled {
        return Err("its tls.mode is Disabled: choose Managed, CertManager or Secret, or publish with sorcha-node publish"
            .to_owned());
    }
    check_service(ctx, node)?;
    let identity = Identity::new(&network.name, &network.namespace, Kind::CentralNode, central);
    Ok(Trust::Proof(Proof {
        trusted: authorities(ctx, network, node).await?,
        host: names::service_host(central, &network.namespace),
        identity: identity.map_err(|error| error.to_string())?,
    }))
}

/// A Service of the same name that somebody else made leads wherever they like.
fn check_service(ctx: &Ctx, node: &SorchaCentralNode) -> Result<(), String> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let service = ctx.caches.get::<Service>(&namespace, &name);
    let service = service.ok_or_else(|| format!("its Service {name} is not there yet"))?;
    let uid = node.uid().unwrap_or_default();
    let is_its_own = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
        owner.controller == Some(true) && owner.uid == uid
    };
    if service.owner_references().iter().any(is_its_own) {
        return Ok(());
    }
    Err(format!("Service {name} is not its own: delete it, and the controller makes the right one"))
}

/// The authorities of the network: those that the central node's own mode names, and no further ones.
async fn authorities(
    ctx: &Ctx,
    network: &Network,
    node: &SorchaCentralNode,
) -> Result<Vec<x509::Certificate>, String> {
    let (namespace, name) = (network.namespace.as_str(), node.name_any());
    let (secret, bundle) = match node.spec.tls.mode {
        TlsMode::Managed => {
            let secret = names::authority(&network.name);
            let held = ctx.caches.get::<Secret>(namespace, &secret);
            (secret, held.map(|held| pki::secret::value(&held, pki::secret::TRUST).to_vec()))
        }
        TlsMode::CertManager => {
            let secret = names::cert_manager_secret(&name);
            let held = ctx.caches.get::<Secret>(namespace, &secret);
            (secret, held.map(|held| pki::secret::value(&held, pki::secret::TRUST).to_vec()))
        }
        TlsMode::Secret => {
            let secret = node.spec.tls.secret_name.clone().unwrap_or_default();
            let held = pki::foreign::look(ctx, "Secret", namespace, &secret).await;
            let held = held.map_err(|error| error.to_string())?;
            (secret, held.map(|data| data.get(pki::secret::TRUST).cloned().unwrap_or_default()))
        }
        TlsMode::Disabled => (String::new(), None),
    };
    let bundle =
        bundle.ok_or_else(|| format!("Secret {secret}, which names its authority, is not there yet"))?;
    x509::read(&bundle).map_err(|fault| {
        format!("ca.crt of Secret {secret}: {fault}: put the certificate of the authority there that signs tls.crt")
    })
}

#[cfg(test)]
mod tests;
