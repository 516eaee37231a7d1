//! `SorchaCentralNode`: observe, desired, apply, status.

mod backups;
mod desired;
mod lineages;
mod observe;
mod publishers;
mod status;

use k8s_openapi::{
    api::{apps::v1::StatefulSet, batch::v1::CronJob, core::v1::Secret, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{ResourceExt as _, runtime::events::Event};
use rand::RngExt as _;
use serde_json::json;
use sorcha_crds::{
    SorchaCentralNode, SorchaCentralNodeStatus, SorchaPeer,
    central_node::ManagedMongoDb,
    shared::{DeletionPolicy, SecretKeyRef},
};

use self::observe::Observed;
pub use self::observe::{network, network_named};
use crate::{
    apply::owner::Claim,
    claims,
    context::Ctx,
    desired::{Desired, Shared, confinement, new_secret},
    names,
    network::Network,
    pki::{self, holder::Holder},
    reconcile::{Error, Progress, Subject, check_name},
    rollout::Turn,
    workload::is_running,
};

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
        check_name::<Self, SorchaPeer>(self, ctx)?;
        confinement::check(&self.name_any(), &self.spec.pod.annotations)?;
        let desired = desired::node(ctx, self);
        ctx.applier.check(&desired)?;
        let (network, observed) = (observe::network(&ctx.caches, self), Observed::of(ctx, self));
        let refused = network.check(self);
        // Before anything that may stand in the way: what runs must go on having a certificate.
        if refused.is_ok() || observed.stateful_set.is_some() {
            pki::ensure::ensure(ctx, self, &Holder::central(ctx, self)).await?;
        }
        refused?;
        check_secrets(self, ctx, &observed).await?;
        claims::check(ctx, observed.stateful_set.as_deref(), &desired.stateful_set).await?;
        apply_shared(ctx, &network).await?;
        let progress = apply_own(self, ctx, &desired, &observed, &network).await?;
        network.check_lineage(self)?;
        Ok(progress)
    }

    fn look_again(&self, ctx: &Ctx, now: &Time) -> Option<Time> {
        pki::finding::look_again(ctx, &Holder::central(ctx, self), now.0).map(Time)
    }

    fn status(&self, ctx: &Ctx, result: &Result<Progress, Error>, now: &Time) -> Self::Status {
        status::status(self, &Observed::of(ctx, self), ctx, result, now)
    }

    fn events(&self, _: &Ctx, _: &Self::Status, _: &Self::Status) -> Vec<Event> {
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
    match budget {
        Some(budget) => drop(ctx.applier.apply(&budget).await?),
        None => delete_budget(ctx, network).await?,
    }
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

async fn delete_budget(ctx: &Ctx, network: &Network) -> Result<(), Error> {
    let unwanted = desired::budget(network);
    let (claim, name) = (Claim::of(&unwanted.metadata), unwanted.name_any());
    ctx.applier.delete::<PodDisruptionBudget>(&claim, &network.namespace, &name).await.map_err(Error::from)
}

/// The password is made once and never changed: the server keeps it in its volume.
async fn ensure_secret(ctx: &Ctx, network: &Network, server: &ManagedMongoDb) -> Result<(), Error> {
    let owner = desired::mongodb_owner(network);
    // The server is applied after its Secret.
    if ctx.caches.get::<StatefulSet>(&network.namespace, &owner.name).is_some() {
        return Ok(());
    }
    let password = hex::encode(rand::rng().random::<[u8; 24]>());
    // One that is there stays as it is.
    ctx.applier.put(None, &new_secret(&owner, server, &password)).await.map(drop).map_err(Error::Apply)
}

/// The Secret goes where the volume with its password goes: away with the last central node, or not at all.
async fn own_secret(ctx: &Ctx, network: &Network) -> Result<(), Error> {
    let owner = desired::mongodb_owner(network);
    let claim = Claim::of(&owner.meta(&owner.name));
    let references = match desired::managed_deletion_policy(network) {
        DeletionPolicy::Retain => Vec::new(),
        DeletionPolicy::Delete => owner.references,
    };
    let body = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": owner.name, "namespace": network.namespace, "ownerReferences": references},
    });
    ctx.applier.apply_metadata::<Secret>(&claim, &body).await.map_err(Error::Apply)
}

async fn apply_own(
    node: &SorchaCentralNode,
    ctx: &Ctx,
    desired: &Desired,
    observed: &Observed,
    network: &Network,
) -> Result<Progress, Error> {
    ctx.applier.apply_surroundings(desired).await?;
    if desired.backup.is_none() {
        let (namespace, uid) = (node.namespace().unwrap_or_default(), node.uid().unwrap_or_default());
        ctx.applier
            .delete::<CronJob>(&Claim::Resource(uid), &namespace, &names::backup(&node.name_any()))
            .await?;
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
