//! The end of a resource: its blueprint is deprecated first, if that is asked for and can be done in time (ADR 16).

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::SignedDuration};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaBlueprint, blueprint::BlueprintDeletionPolicy, conditions::READY};

use super::{
    BlueprintWorld, Intent, Pass,
    apply::{later, nobody},
    finalizer::{has_finalizer, set_finalizer},
    proof, source,
    status::{DEPRECATING, LONGEST, Standing},
};
use crate::{
    context::Ctx,
    events::note,
    publication::{Outcome, register::Fault},
    reconcile::Error,
};

/// Whether the blueprint is deprecated first. With no central node of the network in the namespace, there is no register to change.
pub(super) fn is_deprecated_first(policy: BlueprintDeletionPolicy, central_nodes: usize) -> bool {
    policy == BlueprintDeletionPolicy::Deprecate && central_nodes > 0
}

/// What is to be done about one resource that is deleted.
pub(crate) enum Leave {
    /// Nothing: nobody waits for us.
    Forget,
    /// Let it go.
    Release,
    /// Deprecate its blueprint first, until then at the longest.
    Deprecate {
        /// When that is given up.
        until: Time,
        /// What became of attempts, if there were any and the time is over.
        given_up: Option<String>,
    },
}

pub(super) fn plan(blueprint: &SorchaBlueprint, world: &BlueprintWorld) -> Leave {
    if !has_finalizer(blueprint) {
        return Leave::Forget;
    }
    if !is_deprecated_first(blueprint.spec.deletion_policy, world.network.nodes.len()) {
        return Leave::Release;
    }
    let until = deadline(blueprint, world);
    let given_up = if until.0 <= world.now.0 { tried(blueprint) } else { None };
    Leave::Deprecate { until, given_up }
}

/// One pass over a resource that is deleted.
pub(super) async fn leave(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    world: &BlueprintWorld,
    intent: &Intent,
    leave: Leave,
) -> Result<Pass, Error> {
    match leave {
        Leave::Forget => {
            ctx.publisher.memory.forget(&blueprint.uid().unwrap_or_default());
            return Ok(Pass::Over);
        }
        Leave::Release => {}
        Leave::Deprecate { until, given_up } => {
            if let Some(pass) = say_farewell(blueprint, ctx, world, intent, until, given_up).await {
                return Ok(pass);
            }
        }
    }
    set_finalizer(blueprint, ctx, false).await?;
    Ok(Pass::Over)
}

/// Deprecates the blueprint, or tells that it was not; `None`: that is over. What was tried waits for no further turn once its
/// time is over.
async fn say_farewell(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    world: &BlueprintWorld,
    intent: &Intent,
    until: Time,
    given_up: Option<String>,
) -> Option<Pass> {
    let why = match given_up {
        Some(why) => why,
        None => {
            let Some(_lane) = ctx.publisher.lanes.enter(&world.network.namespace) else {
                return Some(later(world));
            };
            let (why, next) = deprecate(blueprint, ctx, world, intent).await.err()?;
            let left = until.0.duration_since(world.now.0);
            if left > SignedDuration::ZERO {
                let next = next.min(left.unsigned_abs());
                return Some(Pass::quiet(Standing::Leaving { why, until }, next));
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

fn deadline(blueprint: &SorchaBlueprint, world: &BlueprintWorld) -> Time {
    let deleted = blueprint.metadata.deletion_timestamp.as_ref().unwrap_or(&world.now);
    let limit = SignedDuration::try_from(world.settings.deprecate_timeout).unwrap_or(SignedDuration::MAX);
    Time(deleted.0.checked_add(limit).unwrap_or(k8s_openapi::jiff::Timestamp::MAX))
}

/// Deprecates the blueprint through the first central node that does it; otherwise tells why not, and when to try again.
async fn deprecate(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    world: &BlueprintWorld,
    intent: &Intent,
) -> Result<(), (String, Duration)> {
    if let Some((Outcome::Waiting(why), left)) = &world.last {
        return Err((why.clone(), *left));
    }
    let why = match pinned(blueprint, ctx, intent).await {
        Ok(pinned) => match retire(blueprint, ctx, world, &pinned).await {
            Ok(()) => return Ok(()),
            Err(away) if away.is_empty() => nobody(&world.network),
            Err(away) => away.join("; "),
        },
        Err(why) => why,
    };
    let (memory, uid) = (&ctx.publisher.memory, blueprint.uid().unwrap_or_default());
    let (circumstances, outcome) = (world.circumstances.clone(), Outcome::waiting(&why));
    let wait = memory.keep(&uid, circumstances, &outcome, None, world.settings.resync);
    Err((why, wait))
}

/// Checksum of what was published for this resource. A controller that ended after the publication has not written it into
/// the status: then it is that of the document.
async fn pinned(blueprint: &SorchaBlueprint, ctx: &Ctx, intent: &Intent) -> Result<String, String> {
    if let Some(checksum) = &intent.wanted.pinned {
        return Ok(checksum.clone());
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
    world: &BlueprintWorld,
    pinned: &str,
) -> Result<(), Vec<String>> {
    let mut away = Vec::new();
    for central in &world.circumstances.ready {
        let retired = match proof::at(ctx, &world.network, central).await {
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
