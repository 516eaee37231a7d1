//! The end of a resource: its blueprint is deprecated first, if that is asked for and can be done in time (ADR 16).

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::SignedDuration};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaBlueprint, blueprint::BlueprintDeletionPolicy, conditions::READY};

use super::{
    Pass, Turn,
    finalizer::{has_finalizer, set_finalizer},
    nobody, proof, ready, source,
    status::{DEPRECATING, LONGEST, Standing},
};
use crate::{
    context::Ctx,
    events::note,
    network::Network,
    publication::{Outcome, memory::Circumstances, register::Fault},
    reconcile::Error,
};

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

/// One pass over a resource that is deleted.
pub(super) async fn leave(blueprint: &SorchaBlueprint, ctx: &Ctx, network: &Network) -> Result<Turn, Error> {
    if !has_finalizer(blueprint) {
        ctx.publisher.memory.forget(&blueprint.uid().unwrap_or_default());
        return Ok(Turn::Over);
    }
    if farewell(blueprint.spec.deletion_policy, network.nodes.len()) == Farewell::Deprecate
        && let Some(turn) = say_farewell(blueprint, ctx, network).await
    {
        return Ok(turn);
    }
    set_finalizer(blueprint, ctx, false).await?;
    Ok(Turn::Over)
}

/// Deprecates the blueprint, or tells that it was not; `None`: that is over. What was tried waits for no further turn once its
/// time is over.
async fn say_farewell(blueprint: &SorchaBlueprint, ctx: &Ctx, network: &Network) -> Option<Turn> {
    let now = Ctx::now();
    let until = deadline(blueprint, ctx, &now);
    let left = until.0.duration_since(now.0);
    let is_over = left <= SignedDuration::ZERO;
    let why = match tried(blueprint).filter(|_| is_over) {
        Some(why) => why,
        None => {
            let Some(_lane) = ctx.publisher.lanes.enter(&network.namespace) else {
                return Some(Turn::Later);
            };
            let (why, next) = deprecate(blueprint, ctx, network).await.err()?;
            if !is_over {
                let next = next.min(left.unsigned_abs());
                return Some(Turn::Taken(Pass::quiet(Standing::Leaving { why, until }, next)));
            }
            why
        }
    };
    let message = format!("{} stays active in the register: {why}", blueprint.blueprint_id());
    ctx.send(blueprint, &note("NotDeprecated".to_owned(), message, false)).await;
    None
}

/// What became of attempts to deprecate it, if there were any.
fn tried(blueprint: &SorchaBlueprint) -> Option<String> {
    let conditions = &blueprint.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == READY)?;
    let why = ready.message.split_once(LONGEST).map_or(ready.message.as_str(), |(_, why)| why);
    (ready.reason == DEPRECATING).then(|| why.to_owned())
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
    let why = match pinned(blueprint, ctx).await {
        Ok(pinned) => match retire(blueprint, ctx, network, &circumstances.ready, &pinned).await {
            Ok(()) => return Ok(()),
            Err(away) if away.is_empty() => nobody(network),
            Err(away) => away.join("; "),
        },
        Err(why) => why,
    };
    let outcome = Outcome::waiting(&why);
    let wait = memory.keep(&uid, circumstances, &outcome, None, ctx.settings.resync);
    Err((why, wait))
}

/// Checksum of what was published for this resource. A controller that ended after the publication has not written it into
/// the status: then it is that of the document.
async fn pinned(blueprint: &SorchaBlueprint, ctx: &Ctx) -> Result<String, String> {
    if let Some(checksum) = blueprint.status.as_ref().and_then(|status| status.checksum.clone()) {
        return Ok(checksum);
    }
    let _room = ctx.publisher.room().await;
    match source::read(blueprint, ctx).await? {
        Ok(document) => Ok(document.checksum),
        Err(missing) => {
            Err(format!("whether it was published can't be told without its document: {missing}"))
        }
    }
}

/// Why the ready central nodes do not deprecate it, if none does.
async fn retire(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    network: &Network,
    ready: &[String],
    pinned: &str,
) -> Result<(), Vec<String>> {
    let mut away = Vec::new();
    for central in ready {
        let retired = match proof::at(ctx, network, central).await {
            Ok(at) => ctx.publisher.retire(&at, blueprint.blueprint_id(), Some(pinned)).await,
            Err(refusal) => Err(Fault::Refused(refusal)),
        };
        match retired {
            Ok(None) => return Ok(()),
            Ok(Some(entry)) => {
                ctx.metrics.published("deprecate", "stored");
                let message = format!("deprecated; version {} at {central}", entry.version);
                ctx.send(blueprint, &note("Deprecated".to_owned(), message, true)).await;
                return Ok(());
            }
            Err(Fault::Passing(why)) => away.push(format!("{central}: {why}")),
            Err(Fault::Refused(refusal)) => away.push(refusal.to_string()),
            // Only publications come upon that.
            Err(Fault::Gone) => {}
        }
    }
    Err(away)
}
