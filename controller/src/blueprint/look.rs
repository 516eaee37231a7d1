//! One look at the register: what central nodes say, and the steps that follow.

use std::sync::atomic::{AtomicBool, Ordering};

use kube::ResourceExt as _;
use sorcha_crds::{SorchaBlueprint, blueprint::BlueprintDeletionPolicy};

use super::{
    finalizer::{Finalizer, has_finalizer, set_finalizer},
    nobody, proof, source,
};
use crate::{
    context::Ctx,
    network::Network,
    publication::{
        Outcome, Refusal,
        decide::Wanted,
        document::Missing,
        publisher::Made,
        register::{Fault, Known},
    },
};

/// One look at the register.
pub(super) struct Look<'a> {
    /// Central nodes that are ready.
    ready: &'a [String],
    /// A deletion waits for us, or nobody wants it to.
    held: AtomicBool,
    /// The resource is.
    pub(super) gone: bool,
    pub(super) made: Vec<Made>,
    pub(super) known: Option<Known>,
}

impl<'a> Look<'a> {
    pub(super) fn new(blueprint: &SorchaBlueprint, ready: &'a [String]) -> Self {
        let retained = blueprint.spec.deletion_policy == BlueprintDeletionPolicy::Retain;
        let held = AtomicBool::new(retained || has_finalizer(blueprint));
        Self { ready, held, gone: false, made: Vec::new(), known: None }
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
        Err(error) => Err(Fault::Passing(format!("the resource can't be held for it: {error}"))),
    }
}

/// Looks at the register. What is known of the document from before may be enough; if not, it is read.
pub(super) async fn look(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    network: &Network,
    look: &mut Look<'_>,
) -> Outcome {
    if look.ready.is_empty() {
        return Outcome::waiting(&nobody(network));
    }
    let pinned = blueprint.status.as_ref().and_then(|status| status.checksum.clone());
    let wanted = |document| Wanted {
        id: blueprint.blueprint_id().to_owned(),
        document,
        pinned: pinned.clone(),
        active: blueprint.spec.active,
    };
    if source::is_settled(blueprint) {
        let outcome = ask(blueprint, ctx, network, &wanted(Err(Missing::NotRead)), look).await;
        if outcome != Outcome::Refused(Refusal::Document(Missing::NotRead)) {
            return outcome;
        }
    }
    let _room = ctx.publisher.room().await;
    match source::read(blueprint, ctx).await {
        // Nothing in the register could make up for that.
        Ok(Err(missing)) if pinned.is_none() => Outcome::Refused(missing.into()),
        Ok(document) => ask(blueprint, ctx, network, &wanted(document), look).await,
        Err(why) => Outcome::waiting(&why),
    }
}

/// Asks the ready central nodes in failover order until one has an answer.
async fn ask(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    network: &Network,
    wanted: &Wanted,
    look: &mut Look<'_>,
) -> Outcome {
    let last = ctx.publisher.memory.known(&blueprint.uid().unwrap_or_default());
    let (mut away, mut own) = (Vec::new(), None);
    for central in look.ready {
        let at = match proof::at(ctx, network, central).await {
            Ok(at) => at,
            Err(refusal) => {
                own.get_or_insert(refusal);
                continue;
            }
        };
        let held = &look.held;
        let hold = || hold(blueprint, ctx, held);
        let fault = match ctx.publisher.bring(&at, wanted, last.as_ref(), hold, &mut look.made).await {
            Ok(seen) => {
                let entry = seen.entry.clone();
                look.known = Some(seen);
                return Outcome::InRegister { entry, central: central.clone() };
            }
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
                look.gone = true;
                return Outcome::Waiting("the resource is gone".to_owned());
            }
        }
    }
    own.map_or_else(|| Outcome::waiting(&away.join("; ")), Outcome::Refused)
}
