//! One look at the register: what central nodes say, and the steps that follow.

use std::sync::atomic::{AtomicBool, Ordering};

use kube::ResourceExt as _;
use sorcha_crds::{SorchaBlueprint, blueprint::BlueprintDeletionPolicy};

use super::{
    BlueprintWorld,
    apply::nobody,
    finalizer::{Finalizer, has_finalizer, set_finalizer},
    proof, source,
};
use crate::{
    context::Ctx,
    publication::{
        Entry, Outcome, Refusal,
        decide::Wanted,
        document::Missing,
        publisher::Made,
        register::{Fault, Known},
    },
};

/// What comes of one look at the register.
pub(super) struct Inquiry {
    /// A deletion waits for us, or nobody wants it to.
    held: AtomicBool,
    /// The resource is.
    pub(super) gone: bool,
    pub(super) made: Vec<Made>,
    pub(super) known: Option<Known>,
}

impl Inquiry {
    pub(super) fn new(blueprint: &SorchaBlueprint) -> Self {
        let retained = blueprint.spec.deletion_policy == BlueprintDeletionPolicy::Retain;
        let held = AtomicBool::new(retained || has_finalizer(blueprint));
        Self { held, gone: false, made: Vec::new(), known: None }
    }
}

/// Whatever happens after this, a deletion waits until the blueprint is looked for.
async fn hold(blueprint: &SorchaBlueprint, ctx: &Ctx, held: &AtomicBool) -> Result<(), Fault> {
    if held.load(Ordering::Relaxed) {
        return Ok(());
    }
    match set_finalizer(blueprint, ctx, true).await {
        Ok(Finalizer::Set) => {
            held.store(true, Ordering::Relaxed);
            Ok(())
        }
        Ok(Finalizer::Gone) => Err(Fault::Gone),
        Err(error) => Err(Fault::Passing(format!("the finalizer can't be set: {error}"))),
    }
}

/// Looks at the register. What is known of the document from before may be enough; if not, it is read.
pub(super) async fn look(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    world: &BlueprintWorld,
    wanted: &mut Wanted,
    inquiry: &mut Inquiry,
) -> Outcome {
    if world.circumstances.ready.is_empty() {
        return Outcome::waiting(&nobody(&world.network));
    }
    if source::is_settled(blueprint) {
        let outcome = ask(blueprint, ctx, world, wanted, inquiry).await;
        if outcome != Outcome::Refused(Refusal::Document(Missing::NotRead)) {
            return outcome;
        }
    }
    let _room = ctx.publisher.room().await;
    match source::read(blueprint, ctx).await {
        // Nothing in the register could make up for that.
        Ok(Err(missing)) if wanted.pinned.is_none() => Outcome::Refused(missing.into()),
        Ok(document) => {
            wanted.document = document;
            ask(blueprint, ctx, world, wanted, inquiry).await
        }
        Err(why) => Outcome::waiting(&why),
    }
}

/// Asks the ready central nodes in failover order until one has an answer.
async fn ask(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    world: &BlueprintWorld,
    wanted: &Wanted,
    inquiry: &mut Inquiry,
) -> Outcome {
    let last = ctx.publisher.memory.known(&blueprint.uid().unwrap_or_default());
    let (mut away, mut own) = (Vec::new(), None);
    for central in &world.circumstances.ready {
        let fault = match bring(blueprint, ctx, world, central, wanted, last.as_ref(), inquiry).await {
            Ok(entry) => return Outcome::InRegister { entry, central: central.clone() },
            Err(fault) => fault,
        };
        match fault {
            // Another one may, such as while settings roll out.
            Fault::Refused(refusal) if refusal.is_ones_own() => {
                own.get_or_insert(refusal);
            }
            Fault::Refused(refusal) => return Outcome::Refused(refusal),
            Fault::Passing(why) => away.push(format!("{central}: {why}")),
            Fault::Gone => {
                inquiry.gone = true;
                return Outcome::Waiting("the resource is gone".to_owned());
            }
        }
    }
    own.map_or_else(|| Outcome::waiting(&away.join("; ")), Outcome::Refused)
}

/// Brings the register of one central node to what is wanted.
async fn bring(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    world: &BlueprintWorld,
    central: &str,
    wanted: &Wanted,
    last: Option<&Known>,
    inquiry: &mut Inquiry,
) -> Result<Entry, Fault> {
    let at = proof::at(ctx, &world.network, central).await.map_err(Fault::Refused)?;
    let held = &inquiry.held;
    let hold = || hold(blueprint, ctx, held);
    let seen = ctx.publisher.bring(&at, wanted, last, hold, &mut inquiry.made).await?;
    Ok(inquiry.known.insert(seen).entry.clone())
}
