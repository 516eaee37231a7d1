//! `SorchaCentralNode`: observe, desired, apply, status.

mod backups;
mod desired;
mod lineages;
mod observe;
mod publishers;
mod status;

use k8s_openapi::{
    api::{apps::v1::StatefulSet, batch::v1::CronJob, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::events::Event,
};
use rand::RngExt as _;
use serde_json::json;
use sorcha_crds::{
    CONTROLLER_FIELD_MANAGER, SorchaCentralNode, SorchaCentralNodeStatus,
    central_node::ManagedMongoDb,
    shared::{DeletionPolicy, SecretKeyRef},
};

use self::observe::Observed;
use crate::{
    context::Ctx,
    desired::{Shared, new_secret},
    names,
    network::Network,
    pki::{self, holder::Holder},
    reconcile::{Error, Progress, Subject},
    rollout::Turn,
    workload::is_running,
};

pub use self::observe::{network, network_named};

impl Subject for SorchaCentralNode {
    type Status = SorchaCentralNodeStatus;

    fn suspended(&self) -> bool {
        self.spec.suspend
    }

    fn written(&self) -> Self::Status {
        SorchaCentralNodeStatus { node: None, ..self.status.clone().unwrap_or_default() }
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn differs(before: &Self::Status, after: &Self::Status) -> bool {
        before != after
    }

    async fn converge(&self, ctx: &Ctx) -> Result<Progress, Error> {
        // Before anything that may stand in the way: what runs must go on having a certificate.
        pki::ensure::ensure(ctx, self, &Holder::central(ctx, self)).await?;
        let network = observe::network(&ctx.caches, self);
        network.check(self)?;
        let observed = Observed::of(ctx, self);
        check_secrets(self, ctx, &observed).await?;
        apply_shared(ctx, &network).await?;
        apply_own(self, ctx, &observed, &network).await
    }

    fn look_again(&self, ctx: &Ctx, now: &Time) -> Option<Time> {
        pki::finding::look_again(ctx, &Holder::central(ctx, self), now.0).map(Time)
    }

    fn status(&self, ctx: &Ctx, result: &Result<Progress, Error>, now: &Time) -> Self::Status {
        status::status(self, &Observed::of(ctx, self), ctx, result, now)
    }

    fn events(_: &Self::Status, _: &Self::Status) -> Vec<Event> {
        Vec::new()
    }
}

/// A pod whose Secret is missing would hang without a word: say it, and make none. Looked at until the pod runs.
async fn check_secrets(node: &SorchaCentralNode, ctx: &Ctx, observed: &Observed) -> Result<(), Error> {
    if observed.pod.as_deref().is_some_and(is_running) {
        return Ok(());
    }
    let mongodb = node.spec.store.mongodb.as_ref().and_then(|mongodb| mongodb.uri_secret_ref.clone());
    let publishers = node.spec.publishers.tokens_secret_ref.clone();
    for reference in mongodb.into_iter().chain(publishers) {
        check_secret(ctx, &node.namespace().unwrap_or_default(), reference).await?;
    }
    Ok(())
}

/// Checks that a Secret has a key.
///
/// # Errors
/// [`Error::SecretMissing`] naming Secret, key and namespace.
pub async fn check_secret(ctx: &Ctx, namespace: &str, reference: SecretKeyRef) -> Result<(), Error> {
    let SecretKeyRef { name, key } = reference;
    let secret = ctx.secret(namespace, &name).await.map_err(Error::Read)?;
    if secret.and_then(|secret| secret.data).is_some_and(|data| data.contains_key(&key)) {
        return Ok(());
    }
    Err(Error::SecretMissing { name, key, namespace: namespace.to_owned() })
}

/// What the network's central nodes have in common. Whoever comes first makes it.
async fn apply_shared(ctx: &Ctx, network: &Network) -> Result<(), Error> {
    let Shared { config_map, budget, mongodb } = desired::shared(ctx, network);
    ctx.applier.apply(&config_map).await?;
    ctx.applier.apply(&budget).await?;
    if let (Some(server), Some((_, settings))) = (mongodb, network.managed()) {
        ensure_secret(ctx, network, settings).await?;
        ctx.applier.apply(&server.service).await?;
        ctx.applier.apply(&server.network_policy).await?;
        // Owners and deletion policy are part of the StatefulSet: when they change, it changes.
        if ctx.applier.apply(&server.stateful_set).await? {
            own_secret(ctx, network).await?;
        }
    }
    Ok(())
}

/// The password is made once and never changed: the server keeps it in its volume.
async fn ensure_secret(ctx: &Ctx, network: &Network, server: &ManagedMongoDb) -> Result<(), Error> {
    let owner = desired::mongodb_owner(network);
    // The server is applied after its Secret.
    let known = ctx.caches.get::<StatefulSet>(&network.namespace, &owner.name).is_some()
        || ctx.secret(&network.namespace, &owner.name).await.map_err(Error::Read)?.is_some();
    if known {
        return Ok(());
    }
    let password = hex::encode(rand::rng().random::<[u8; 24]>());
    ctx.metrics.called("create", "secrets");
    let api = Api::namespaced(ctx.client.clone(), &network.namespace);
    match api.create(&PostParams::default(), &new_secret(&owner, server, &password)).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(|_| ()).map_err(Error::Read),
    }
}

/// The Secret goes where the volume with its password goes: away with the last central node, or not at all.
async fn own_secret(ctx: &Ctx, network: &Network) -> Result<(), Error> {
    let owner = desired::mongodb_owner(network);
    let references = match desired::managed_deletion_policy(network) {
        DeletionPolicy::Retain => Vec::new(),
        DeletionPolicy::Delete => owner.references,
    };
    let body = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": owner.name, "ownerReferences": references},
    });
    ctx.metrics.called("apply", "secrets");
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &network.namespace);
    let parameters = PatchParams::apply(CONTROLLER_FIELD_MANAGER).force();
    api.patch_metadata(&owner.name, &parameters, &Patch::Apply(body)).await.map(|_| ()).map_err(Error::Read)
}

async fn apply_own(
    node: &SorchaCentralNode,
    ctx: &Ctx,
    observed: &Observed,
    network: &Network,
) -> Result<Progress, Error> {
    let desired = desired::node(ctx, node);
    ctx.applier.apply_surroundings(&desired).await?;
    if desired.backup.is_none() {
        let (namespace, uid) = (node.namespace().unwrap_or_default(), node.uid().unwrap_or_default());
        ctx.applier.delete::<CronJob>(&uid, &namespace, &names::backup(&node.name_any())).await?;
    }
    let stateful_set = &desired.stateful_set;
    if !observed.pods_would_change(stateful_set) {
        ctx.applier.apply(stateful_set).await?;
        return Ok(Progress::Applied);
    }
    if let Turn::After(other) = observe::take_turn(ctx, node, network) {
        return Ok(Progress::WaitingFor(other));
    }
    let applied = ctx.applier.apply(stateful_set).await;
    observe::turn_is_used(ctx, node, network);
    applied?;
    Ok(Progress::Applied)
}

#[cfg(test)]
mod tests;
