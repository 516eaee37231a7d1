//! The end of a resource: its blueprint is deprecated first, if that is asked for and can be done in time (ADR 16).

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::SignedDuration};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use sorcha_crds::{CONTROLLER_FIELD_MANAGER, SorchaBlueprint, blueprint::BlueprintDeletionPolicy};

use super::{Pass, at, nobody, ready, status::Standing};
use crate::{
    context::Ctx,
    events::note,
    network::Network,
    publication::{Outcome, memory::Circumstances, register::Fault},
    reconcile::Error,
};

/// The finalizer.
pub(super) const FINALIZER: &str = "sorcha.dev/deprecate";
/// Refusal of finalizers for a resource that is being deleted; conflict with another writer.
const INVALID: u16 = 422;
const CONFLICT: u16 = 409;

/// What came of a change of the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finalizer {
    /// It is as wanted, or will be: another writer was first, and the next pass sees what it wrote.
    Set,
    /// The resource is gone, or being deleted.
    Gone,
}

pub(super) fn has_finalizer(blueprint: &SorchaBlueprint) -> bool {
    blueprint.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Adds or removes the finalizer, if nobody else has changed the resource meanwhile.
pub(super) async fn set_finalizer(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    wanted: bool,
) -> Result<Finalizer, Error> {
    let mut finalizers: Vec<&str> =
        blueprint.finalizers().iter().map(String::as_str).filter(|name| *name != FINALIZER).collect();
    if wanted {
        finalizers.push(FINALIZER);
    }
    let body =
        json!({"metadata": {"resourceVersion": blueprint.resource_version(), "finalizers": finalizers}});
    let api: Api<SorchaBlueprint> =
        Api::namespaced(ctx.client.clone(), &blueprint.namespace().unwrap_or_default());
    let parameters =
        PatchParams { field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    ctx.metrics.called("patch", "sorchablueprints");
    match api.patch(&blueprint.name_any(), &parameters, &Patch::Merge(body)).await {
        Ok(_) => Ok(Finalizer::Set),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Finalizer::Gone),
        Err(kube::Error::Api(status)) if status.code == INVALID && wanted => Ok(Finalizer::Gone),
        Err(kube::Error::Api(status)) if status.code == CONFLICT => {
            // A deletion makes a new version, too.
            let now = api.get_metadata_opt(&blueprint.name_any()).await.map_err(Error::Read)?;
            let gone = now.is_none_or(|now| now.metadata.deletion_timestamp.is_some());
            Ok(if gone { Finalizer::Gone } else { Finalizer::Set })
        }
        Err(error) => Err(Error::Status(error)),
    }
}

/// What is done about a resource that is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Let it go.
    Release,
    /// Deprecate its blueprint first.
    Deprecate,
}

/// With no central node of the network in the namespace, there is no register to change.
pub(super) fn farewell(policy: BlueprintDeletionPolicy, central_nodes: usize) -> Farewell {
    match policy {
        BlueprintDeletionPolicy::Retain => Farewell::Release,
        BlueprintDeletionPolicy::Deprecate if central_nodes == 0 => Farewell::Release,
        BlueprintDeletionPolicy::Deprecate => Farewell::Deprecate,
    }
}

/// One pass over a resource that is deleted. `None`: it is let go.
pub(super) async fn leave(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    network: &Network,
) -> Result<Option<Pass>, Error> {
    let uid = blueprint.uid().unwrap_or_default();
    if !has_finalizer(blueprint) {
        ctx.publisher.memory.forget(&uid);
        return Ok(None);
    }
    let now = Ctx::now();
    let until = deadline(blueprint, ctx, &now);
    if farewell(blueprint.spec.deletion_policy, network.nodes.len()) == Farewell::Deprecate
        && let Err((why, next)) = deprecate(blueprint, ctx, network).await
    {
        let left = until.0.duration_since(now.0);
        if left > SignedDuration::ZERO {
            let next = next.min(left.unsigned_abs());
            return Ok(Some(Pass::quiet(Standing::Leaving { why, until }, next)));
        }
        let message = format!("{} stays active in the register: {why}", blueprint.blueprint_id());
        ctx.send(blueprint, &note("NotDeprecated".to_owned(), message, false)).await;
    }
    set_finalizer(blueprint, ctx, false).await?;
    Ok(None)
}

fn deadline(blueprint: &SorchaBlueprint, ctx: &Ctx, now: &Time) -> Time {
    let deleted = blueprint.metadata.deletion_timestamp.as_ref().unwrap_or(now);
    let limit = SignedDuration::try_from(ctx.settings.deprecate_timeout).unwrap_or(SignedDuration::MAX);
    Time(deleted.0.checked_add(limit).unwrap_or(k8s_openapi::jiff::Timestamp::MAX))
}

/// Deprecates the blueprint through the first central node that does it; otherwise tells why not, and when to try again.
async fn deprecate(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    network: &Network,
) -> Result<(), (String, std::time::Duration)> {
    let uid = blueprint.uid().unwrap_or_default();
    // A deleted resource has no further generation; what was remembered of it alive says nothing here.
    let circumstances = Circumstances { generation: None, ready: ready(network) };
    let memory = &ctx.publisher.memory;
    if let Some((Outcome::Waiting(why), left)) = memory.recall(&uid, &circumstances) {
        return Err((why, left));
    }
    let pinned = blueprint.status.as_ref().and_then(|status| status.checksum.as_deref());
    let mut away = Vec::new();
    for central in &circumstances.ready {
        let at = at(network, central);
        match ctx.publisher.retire(&at, blueprint.blueprint_id(), pinned).await {
            Ok(None) => return Ok(()),
            Ok(Some(entry)) => {
                ctx.metrics.published("deprecate", "stored");
                let message = format!("deprecated; version {} at {central}", entry.version);
                ctx.send(blueprint, &note("Deprecated".to_owned(), message, true)).await;
                return Ok(());
            }
            Err(Fault::Passing(why)) => away.push(format!("{central}: {why}")),
            Err(Fault::Refused(refusal)) => away.push(refusal.to_string()),
        }
    }
    let why = if away.is_empty() { nobody(network) } else { away.join("; ") };
    let outcome = Outcome::Waiting(why.clone());
    let wait = memory.keep(&uid, circumstances, &outcome, None, ctx.settings.resync);
    Err((why, wait))
}
