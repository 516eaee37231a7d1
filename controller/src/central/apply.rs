//! Applies what was built for a central node, in the order in which one needs the other.

use k8s_openapi::api::{
    apps::v1::StatefulSet, batch::v1::CronJob, core::v1::Secret, policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt as _;
use rand::RngExt as _;
use serde_json::json;
use sorcha_crds::{
    SorchaCentralNode,
    central_node::ManagedMongoDb,
    shared::{DeletionPolicy, SecretKeyRef},
};

use super::{CentralPlan, CentralWorld, desired};
use crate::{
    apply::owner::Claim,
    claims,
    context::{Ctx, TurnHolder},
    desired::{Desired, Shared, new_secret},
    names,
    network::Network,
    pki,
    reconcile::{Error, Progress},
    rollout::{self, RollingNode, Turn},
    workload::is_settled,
};

pub(super) async fn apply(
    node: &SorchaCentralNode,
    ctx: &Ctx,
    world: &CentralWorld,
    plan: CentralPlan,
    (own, shared): (Desired, Shared),
) -> Result<Progress, Error> {
    ctx.applier.check(&own)?;
    if plan.certificate {
        pki::ensure::ensure(ctx, node, &world.tls.holder).await?;
    }
    plan.refused.map_or(Ok(()), Err)?;
    for secret in plan.secrets {
        check_secret(ctx, &world.network.namespace, secret).await?;
    }
    claims::check(ctx, world.stateful_set.as_deref(), &own.stateful_set).await?;
    apply_shared(ctx, world, &shared).await?;
    let progress = apply_own(node, ctx, world, &own).await?;
    plan.divided.map_or(Ok(progress), |divided| Err(divided.into()))
}

/// Checks that a Secret has a key.
///
/// # Errors
/// [`Error::SecretMissing`] naming Secret, key and namespace.
pub(crate) async fn check_secret(ctx: &Ctx, namespace: &str, reference: SecretKeyRef) -> Result<(), Error> {
    let SecretKeyRef { name, key } = reference;
    let secret = ctx.secret(namespace, &name).await.map_err(Error::Read)?;
    if secret.and_then(|secret| secret.data).is_some_and(|data| data.contains_key(&key)) {
        return Ok(());
    }
    Err(Error::SecretMissing { name, key, namespace: namespace.to_owned() })
}

/// What the network's central nodes have in common. Whoever comes first makes it.
async fn apply_shared(ctx: &Ctx, world: &CentralWorld, shared: &Shared) -> Result<(), Error> {
    let (network, Shared { config_map, budget, mongodb }) = (&world.network, shared);
    ctx.applier.apply(config_map).await?;
    match budget {
        Some(budget) => drop(ctx.applier.apply(budget).await?),
        None => delete_budget(ctx, network).await?,
    }
    if let (Some(server), Some((_, settings))) = (mongodb, network.managed()) {
        ensure_secret(ctx, world, settings).await?;
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
async fn ensure_secret(ctx: &Ctx, world: &CentralWorld, server: &ManagedMongoDb) -> Result<(), Error> {
    // The server is applied after its Secret.
    if world.has_database {
        return Ok(());
    }
    let owner = desired::mongodb_owner(&world.network);
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
    world: &CentralWorld,
    desired: &Desired,
) -> Result<Progress, Error> {
    ctx.applier.apply_surroundings(desired).await?;
    if desired.backup.is_none() {
        let (namespace, uid) = (node.namespace().unwrap_or_default(), node.uid().unwrap_or_default());
        ctx.applier
            .delete::<CronJob>(&Claim::Resource(uid), &namespace, &names::backup(&node.name_any()))
            .await?;
    }
    let stateful_set = &desired.stateful_set;
    if !world.pods_would_change(stateful_set) {
        ctx.applier.apply(stateful_set).await?;
        return Ok(Progress::Applied);
    }
    if let Turn::After(other) = take_turn(ctx, node, &world.network) {
        return Ok(Progress::WaitingFor(other));
    }
    let applied = ctx.applier.apply(stateful_set).await;
    turn_is_used(ctx, node, &world.network);
    applied?;
    Ok(Progress::Applied)
}

/// Whether this central node may change its pod now; if so, the turn is its own until its pod is ready again. The caches are asked
/// again: since the world was observed another one may have had its turn.
fn take_turn(ctx: &Ctx, node: &SorchaCentralNode, network: &Network) -> Turn {
    let member = |node: &SorchaCentralNode| {
        let set = ctx.caches.get::<StatefulSet>(&network.namespace, &node.name_any());
        RollingNode { name: node.name_any(), settled: set.as_deref().is_none_or(is_settled) }
    };
    let me = member(node);
    let others: Vec<RollingNode> =
        network.nodes.iter().filter(|other| other.name_any() != me.name).map(|other| member(other)).collect();
    let mut turns = ctx.turns();
    let held = turns.entry((network.namespace.clone(), network.name.clone())).or_default();
    // A holder that is ready again, as the cache shows it, has had its turn.
    let over = held.as_ref().is_some_and(|holder| {
        let settled = std::iter::once(&me).chain(&others).any(|m| m.name == holder.name && m.settled);
        holder.applied && settled && !ctx.applier.is_behind::<StatefulSet>(&network.namespace, &holder.name)
    });
    if over {
        *held = None;
    }
    let turn = rollout::turn(&me, &others, held.as_ref().map(|holder| holder.name.as_str()));
    if turn == Turn::Now {
        *held = Some(TurnHolder { name: me.name, applied: false });
    }
    turn
}

/// The change that the turn was taken for has been applied.
fn turn_is_used(ctx: &Ctx, node: &SorchaCentralNode, network: &Network) {
    let mut turns = ctx.turns();
    if let Some(Some(holder)) = turns.get_mut(&(network.namespace.clone(), network.name.clone()))
        && holder.name == node.name_any()
    {
        holder.applied = true;
    }
}
