//! `SorchaBlueprint`: look at the register, take a step, say how it stands.
//!
//! What is done follows from what a central node says ([`crate::publication`]); the status from that and from what
//! central nodes report of their peers. An outcome holds until something changes or `resync` is over, so that blueprints
//! which nothing happens to cost no call.

mod spread;
mod status;
mod proof;
mod source;
mod finalizer;
mod look;
mod leave;

use std::{sync::Arc, time::Duration};

use kube::{
    Resource as _, ResourceExt as _,
    runtime::{controller::Action, events::Event},
};
use serde_json::json;
use sorcha_crds::{
    CONTROLLER_FIELD_MANAGER, PAUSED_ANNOTATION, SorchaBlueprint,
    blueprint::BlueprintDeletionPolicy,
    conditions::{READY, is_true},
};
use tokio::time::Instant;

pub(crate) use self::{
    finalizer::{FINALIZER, Finalizer, change_finalizer},
    source::follow_config_maps,
};
use self::{
    finalizer::{has_finalizer, set_finalizer},
    status::{Difference, Standing},
};
use crate::{
    central,
    context::Ctx,
    network::{Network, age},
    publication::{Outcome, Refusal, memory::Circumstances, publisher::Made, register::Fault},
    reconcile::{Error, Written, patch_status},
};

/// What came of one pass.
struct Pass {
    standing: Standing,
    made: Vec<Made>,
    next: Duration,
}

/// What a resource's turn comes to.
enum Turn {
    /// It had one.
    Taken(Pass),
    /// Too many of its namespace have theirs.
    Later,
    /// It needs no more.
    Over,
}

/// Until a turn that was not had. Many who wait do not come at once, nor more than some hundred a second together.
fn later(blueprints: usize) -> Duration {
    let seconds = u64::try_from(blueprints / 256).unwrap_or(u64::MAX).clamp(1, 120);
    Duration::from_secs(seconds).mul_f64(0.5 + rand::random::<f64>())
}

impl Pass {
    const fn quiet(standing: Standing, next: Duration) -> Self {
        Self { standing, made: Vec::new(), next }
    }
}

/// Brings the register to one resource's spec and writes how it stands.
///
/// # Errors
/// [`Error`] when the API server does not do its part. What central nodes say is in the status.
pub async fn reconcile(blueprint: Arc<SorchaBlueprint>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    let started = Instant::now();
    let network = network(&blueprint, &ctx);
    let result = if blueprint.metadata.deletion_timestamp.is_some() {
        leave::leave(&blueprint, &ctx, &network).await
    } else {
        stay(&blueprint, &ctx, &network).await
    };
    let label = match &result {
        Ok(Turn::Taken(Pass { standing: Standing::Looked(outcome), .. })) => outcome.reason(),
        Ok(_) => "ok",
        Err(error) => error.reason(),
    };
    ctx.metrics.reconciled(&SorchaBlueprint::kind(&()), label, started.elapsed());
    let result = result?;
    ctx.failures.forget(&blueprint.uid().unwrap_or_default());
    let pass = match result {
        Turn::Taken(pass) => pass,
        Turn::Later => return Ok(Action::requeue(later(ctx.caches.blueprints.len()))),
        Turn::Over => return Ok(Action::await_change()),
    };
    let next = write_status(&blueprint, &ctx, &network, &pass).await?;
    Ok(Action::requeue(next))
}

/// The central nodes of a blueprint's network in its namespace.
fn network(blueprint: &SorchaBlueprint, ctx: &Ctx) -> Network {
    central::network_named(&ctx.caches, &blueprint.namespace().unwrap_or_default(), &blueprint.spec.network)
}

fn ready(network: &Network) -> Vec<String> {
    let ready = network
        .nodes
        .iter()
        .filter(|node| node.status.as_ref().is_some_and(|status| is_true(&status.conditions, READY)));
    ready.map(|node| node.name_any()).collect()
}

async fn stay(blueprint: &SorchaBlueprint, ctx: &Ctx, network: &Network) -> Result<Turn, Error> {
    if blueprint.annotations().get(PAUSED_ANNOTATION).is_some_and(|value| value == "true") {
        return Ok(Turn::Taken(Pass::quiet(Standing::Paused, ctx.settings.resync)));
    }
    let uid = blueprint.uid().unwrap_or_default();
    let memory = &ctx.publisher.memory;
    let circumstances = Circumstances { generation: blueprint.metadata.generation, ready: ready(network) };
    if let Some((outcome, left)) = memory.recall(&uid, &circumstances) {
        ensure_finalizer(blueprint, ctx, network, &outcome).await?;
        return Ok(Turn::Taken(Pass::quiet(Standing::Looked(outcome), left)));
    }
    let Some(_lane) = ctx.publisher.lanes.enter(&network.namespace) else {
        return Ok(Turn::Later);
    };
    let (mut made, mut known) = (Vec::new(), None);
    let outcome = match duplicate(blueprint, ctx) {
        Some(refusal) => Outcome::Refused(refusal),
        None => {
            let mut state = look::Look::new(blueprint, &circumstances.ready);
            let outcome = look::look(blueprint, ctx, network, &mut state).await;
            if state.gone {
                return Ok(Turn::Over);
            }
            (known, made) = (state.known, state.made);
            outcome
        }
    };
    tell(blueprint, ctx, &made, &outcome);
    let next = memory.keep(&uid, circumstances, &outcome, known, ctx.settings.resync);
    memory.prune(ctx.caches.blueprints.len(), || {
        ctx.caches.blueprints.state().iter().filter_map(|blueprint| blueprint.uid()).collect()
    });
    ensure_finalizer(blueprint, ctx, network, &outcome).await?;
    Ok(Turn::Taken(Pass { standing: Standing::Looked(outcome), made, next }))
}

/// Two resources of one id would undo each other's changes: the older one has it.
fn duplicate(blueprint: &SorchaBlueprint, ctx: &Ctx) -> Option<Refusal> {
    let mine = age(blueprint);
    let older = ctx.caches.blueprints.find(|other| {
        other.blueprint_id() == blueprint.blueprint_id()
            && other.spec.network == blueprint.spec.network
            && other.metadata.namespace == blueprint.metadata.namespace
            && other.metadata.deletion_timestamp.is_none()
            && age(other) < mine
    })?;
    Some(Refusal::Duplicate { id: blueprint.blueprint_id().to_owned(), other: older.name_any() })
}

fn nobody(network: &Network) -> String {
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
async fn ensure_finalizer(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    network: &Network,
    outcome: &Outcome,
) -> Result<(), Error> {
    let wanted = blueprint.spec.deletion_policy == BlueprintDeletionPolicy::Deprecate;
    let Outcome::InRegister { entry, central } = outcome else { return Ok(()) };
    if wanted == has_finalizer(blueprint) {
        return Ok(());
    }
    match set_finalizer(blueprint, ctx, wanted).await? {
        Finalizer::Gone if wanted => {
            // Deleted while it was published: nobody else would deprecate it.
            let id = blueprint.blueprint_id();
            let retired = match proof::at(ctx, network, central).await {
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

/// Writes the status if it differs; tells when to look again.
async fn write_status(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    network: &Network,
    pass: &Pass,
) -> Result<Duration, Error> {
    let before = blueprint.status.clone().unwrap_or_default();
    let after = status::status(blueprint, &pass.standing, &network.nodes, &Ctx::now());
    let uid = blueprint.uid().unwrap_or_default();
    match status::difference(&before, &after) {
        Difference::None => return Ok(pass.next),
        Difference::Counts => {
            if let Err(left) = ctx.publisher.memory.may_count(&uid) {
                return Ok(pass.next.min(left));
            }
        }
        Difference::Real => {}
    }
    ctx.metrics.called("apply", "sorchablueprints/status");
    let written = patch_status(blueprint, ctx, CONTROLLER_FIELD_MANAGER, &json!(after)).await;
    if matches!(written.map_err(Error::Status)?, Written::Not) {
        return Ok(pass.next);
    }
    send(blueprint, ctx, status::events(&pass.made, &before, &after)).await;
    Ok(pass.next)
}

async fn send(blueprint: &SorchaBlueprint, ctx: &Ctx, events: Vec<Event>) {
    for event in events {
        ctx.send(blueprint, &event).await;
    }
}

#[cfg(test)]
mod tests;
