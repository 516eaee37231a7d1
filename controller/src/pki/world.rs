//! What is known without a call of a resource's certificate, of its network's authority, and of the certificates that it meets.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaCentralNode, tls::TlsMode};

use super::{
    Policy, foreign,
    holder::Holder,
    leaf::Leaf,
    managed::{self, Rotation},
    secret,
    x509::CertificateFault,
};
use crate::{context::Ctx, memo::Data, names, network::Network};

/// Certificates, as they were observed.
pub(crate) struct TlsWorld {
    /// The resource.
    pub(crate) holder: Holder,
    pub(super) papers: Papers,
    /// Those of the central nodes that peers are published.
    pub(super) centrals: Vec<(Holder, Papers)>,
    pub(super) rotation: Option<Rotation>,
    pub(super) policy: Policy,
}

impl TlsWorld {
    /// Of a central node.
    #[must_use]
    pub(crate) fn of_central(ctx: &Ctx, holder: Holder) -> Self {
        Self {
            papers: Papers::of(ctx, &holder),
            centrals: Vec::new(),
            rotation: (holder.tls.mode == TlsMode::Managed)
                .then(|| managed::rotation(ctx, &holder))
                .flatten(),
            policy: ctx.settings.certificates.policy(),
            holder,
        }
    }

    /// Of peers and the central nodes of their network.
    #[must_use]
    pub(crate) fn of_peers(ctx: &Ctx, holder: Holder, network: &Network) -> Self {
        let central = |node: &Arc<SorchaCentralNode>| {
            let service = ctx.caches.get(&network.namespace, &node.name_any());
            let holder = Holder::central(node, service.as_deref());
            let papers = Papers::of(ctx, &holder);
            (holder, papers)
        };
        Self { centrals: network.nodes.iter().map(central).collect(), ..Self::of_central(ctx, holder) }
    }

    /// What a change of authorities waits for, and until when.
    pub(super) fn waits(&self, now: Timestamp) -> (Option<Timestamp>, Option<String>) {
        self.rotation.as_ref().map_or((None, None), |rotation| rotation.waits(&self.policy, now))
    }
}

/// What a resource's pods mount.
pub(super) struct Papers {
    content: Option<Material>,
    trust: Option<Arc<ConfigMap>>,
}

/// The content of a Secret that is watched, or that was looked at.
enum Material {
    Watched(Arc<Secret>),
    Seen(Arc<Data>),
}

impl Papers {
    fn of(ctx: &Ctx, holder: &Holder) -> Self {
        let namespace = holder.namespace.as_str();
        let content = holder.secret_name().and_then(|name| match holder.tls.mode {
            TlsMode::Secret => foreign::seen(ctx, namespace, &name).map(Material::Seen),
            _ => ctx.caches.get(namespace, &name).map(Material::Watched),
        });
        let is_wider = holder.tls.mode != TlsMode::Managed && !holder.trust.is_empty();
        let trust = || ctx.caches.get(namespace, &names::trust_config_map(&holder.name));
        Self { content, trust: is_wider.then(trust).flatten() }
    }

    /// The certificate, if there is one.
    pub(super) fn leaf(&self) -> Option<Result<Leaf, CertificateFault>> {
        Some(match self.content.as_ref()? {
            Material::Watched(held) => foreign::read(|key| secret::value(held, key)),
            Material::Seen(data) => foreign::read(|key| data.get(key).map_or(&[][..], Vec::as_slice)),
        })
    }

    /// The certificate with all that its holder trusts.
    pub(super) fn trusting(&self, leaf: &Leaf) -> Leaf {
        let trust = self.trust.as_ref().and_then(|map| map.data.as_ref()?.get(secret::TRUST).cloned());
        Leaf { trust: trust.unwrap_or_else(|| leaf.trust.clone()), ..leaf.clone() }
    }
}
