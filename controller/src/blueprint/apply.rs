//! Brings a register to what was built for a blueprint, and the resource's finalizer with it.

use std::time::Duration;

use kube::ResourceExt as _;
use sorcha_crds::SorchaBlueprint;

use super::{
    BlueprintWorld, Finalizer, Intent, Pass,
    finalizer::{has_finalizer, set_finalizer},
    look::{self, Inquiry},
    proof,
    status::Standing,
};
use crate::{
    context::Ctx,
    network::Network,
    publication::{Outcome, Refusal, publisher::Made, register::Fault},
    reconcile::Error,
};

/// Until a turn that was not had. Many who wait do not come at once, nor more than some hundred a second together.
pub(super) fn later(world: &BlueprintWorld) -> Pass {
    let seconds = u64::try_from(world.count / 256).unwrap_or(u64::MAX).clamp(1, 120);
    Pass::Later(Duration::from_secs(seconds).mul_f64(0.5 + rand::random::<f64>()))
}

/// One look at the register, and what follows.
pub(super) async fn look(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    world: &BlueprintWorld,
    mut intent: Intent,
    refusal: Option<Refusal>,
) -> Result<Pass, Error> {
    let Some(_lane) = ctx.publisher.lanes.enter(&world.network.namespace) else { return Ok(later(world)) };
    let mut inquiry = Inquiry::new(blueprint);
    let outcome = match refusal {
        Some(refusal) => Outcome::Refused(refusal),
        None => look::look(blueprint, ctx, world, &mut intent.wanted, &mut inquiry).await,
    };
    if inquiry.gone {
        return Ok(Pass::Over);
    }
    tell(blueprint, ctx, &inquiry.made, &outcome);
    let (memory, uid) = (&ctx.publisher.memory, blueprint.uid().unwrap_or_default());
    let resync = world.settings.resync;
    let next = memory.keep(&uid, world.circumstances.clone(), &outcome, inquiry.known, resync);
    memory.prune(world.count, || {
        ctx.caches.blueprints.state().iter().filter_map(|blueprint| blueprint.uid()).collect()
    });
    ensure_finalizer(blueprint, ctx, world, &intent, &outcome).await?;
    Ok(Pass::Taken { standing: Standing::Looked(outcome), made: inquiry.made, next })
}

/// Why no central node can be asked.
pub(super) fn nobody(network: &Network) -> String {
    let (name, namespace) = (&network.name, &network.namespace);
    if network.nodes.is_empty() {
        return format!("there is no SorchaCentralNode of network {name} in namespace {namespace}");
    }
    let names: Vec<String> = network.nodes.iter().map(|node| node.name_any()).collect();
    format!("no central node of network {name} in namespace {namespace} is ready: {}", names.join(", "))
}

/// To the log and the measurements.
fn tell(blueprint: &SorchaBlueprint, ctx: &Ctx, made: &[Made], outcome: &Outcome) {
    let (namespace, name, id) = (blueprint.namespace(), blueprint.name_any(), blueprint.blueprint_id());
    for step in made {
        let (action, result) = match step {
            Made::Published { new: true } => ("publish", "stored"),
            Made::Published { new: false } => ("publish", "unchanged"),
            Made::Deprecated => ("deprecate", "stored"),
            Made::Reactivated => ("reactivate", "stored"),
        };
        ctx.metrics.published(action, result);
        tracing::info!(namespace, name, id, action, result, "publication");
    }
    if matches!(outcome, Outcome::InRegister { .. }) {
        return;
    }
    ctx.metrics.published("look", outcome.reason());
    // Why stands in the status: keys of documents and words of central nodes are in it.
    tracing::warn!(namespace, name, id, reason = outcome.reason(), "register not as wanted");
}

/// The finalizer is there as long as there is something to deprecate, and the policy asks for it.
pub(super) async fn ensure_finalizer(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    world: &BlueprintWorld,
    intent: &Intent,
    outcome: &Outcome,
) -> Result<(), Error> {
    let wanted = intent.finalizer;
    let Outcome::InRegister { entry, central } = outcome else { return Ok(()) };
    if wanted == has_finalizer(blueprint) {
        return Ok(());
    }
    match set_finalizer(blueprint, ctx, wanted).await? {
        Finalizer::Gone if wanted => {
            // Deleted while it was published: nobody else would deprecate it.
            let id = blueprint.blueprint_id();
            let retired = match proof::at(ctx, &world.network, central).await {
                Ok(at) => ctx.publisher.retire(&at, id, Some(&entry.checksum)).await.map(drop),
                Err(refusal) => Err(Fault::Refused(refusal)),
            };
            tracing::info!(
                name = blueprint.name_any(),
                retired = retired.is_ok(),
                "deleted while it was published"
            );
        }
        Finalizer::Gone | Finalizer::Set => {}
    }
    Ok(())
}
