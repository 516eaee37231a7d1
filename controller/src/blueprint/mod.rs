//! `SorchaBlueprint`: the steps of its reconciliation.
//!
//! What is done follows from what a central node says ([`crate::publication`]); the status from that and from what
//! central nodes report of their peers. An outcome holds until something changes or `resync` is over, so that blueprints
//! which nothing happens to cost no call.

mod apply;
mod finalizer;
mod leave;
mod look;
mod observe;
mod proof;
mod source;
mod spread;
mod status;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sorcha_crds::{SorchaBlueprint, SorchaBlueprintStatus, blueprint::BlueprintDeletionPolicy};

pub(crate) use self::{
    finalizer::{FINALIZER, Finalizer, change_finalizer},
    observe::BlueprintWorld,
    source::follow_config_maps,
};
use self::{leave::Leave, status::Standing};
use crate::{
    context::Ctx,
    events::Told,
    publication::{Outcome, Refusal, decide::Wanted, document::Missing, publisher::Made},
    reconcile::{Difference, Error, Pipeline, paused_by_annotation},
};

/// What is to be done about a blueprint.
pub(crate) enum BlueprintPlan {
    /// Nothing: what the last look found holds for so long.
    Recall(Outcome, Duration),
    /// Look at the register, unless that is refused.
    Look(Option<Refusal>),
    /// Wait: many of its namespace are being looked at.
    Wait,
    /// Let the resource go, its blueprint deprecated first where that is asked for.
    Leave(Leave),
}

/// What the register is to hold, and whether a deletion is to wait for that.
pub(crate) struct Intent {
    wanted: Wanted,
    finalizer: bool,
}

/// What came of one pass.
pub(crate) enum Pass {
    /// The register was looked at, or is known from the last look.
    Taken {
        /// How it stands.
        standing: Standing,
        /// What was done.
        made: Vec<Made>,
        /// Until the next pass.
        next: Duration,
    },
    /// Nothing was done, because the annotation asks for it.
    Paused,
    /// Too many of its namespace are looked at; until it is tried again.
    Later(Duration),
    /// It needs no more.
    Over,
}

impl Pass {
    const fn quiet(standing: Standing, next: Duration) -> Self {
        Self::Taken { standing, made: Vec::new(), next }
    }
}

impl Pipeline for SorchaBlueprint {
    type Status = SorchaBlueprintStatus;
    type World = BlueprintWorld;
    type Plan = BlueprintPlan;
    type Objects = Intent;
    type Done = Pass;
    const REMEMBERED: bool = false;

    fn observe(&self, ctx: &Ctx) -> BlueprintWorld {
        BlueprintWorld::of(ctx, self)
    }

    fn plan(&self, world: &BlueprintWorld) -> Result<BlueprintPlan, Error> {
        if self.metadata.deletion_timestamp.is_some() {
            return Ok(BlueprintPlan::Leave(leave::plan(self, world)));
        }
        Ok(match (&world.last, world.is_crowded) {
            (Some((outcome, left)), _) => BlueprintPlan::Recall(outcome.clone(), *left),
            (None, true) => BlueprintPlan::Wait,
            (None, false) => BlueprintPlan::Look(duplicate(self, world)),
        })
    }

    fn build(&self, _: &BlueprintWorld, _: &BlueprintPlan) -> Intent {
        let wanted = Wanted {
            id: self.blueprint_id().to_owned(),
            document: Err(Missing::NotRead),
            pinned: self.status.as_ref().and_then(|status| status.checksum.clone()),
            active: self.spec.active,
        };
        Intent { wanted, finalizer: self.spec.deletion_policy == BlueprintDeletionPolicy::Deprecate }
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        world: &BlueprintWorld,
        plan: BlueprintPlan,
        intent: Intent,
    ) -> Result<Pass, Error> {
        match plan {
            BlueprintPlan::Wait => Ok(apply::later(world)),
            BlueprintPlan::Recall(outcome, left) => {
                apply::ensure_finalizer(self, ctx, world, &intent, &outcome).await?;
                Ok(Pass::quiet(Standing::Looked(outcome), left))
            }
            BlueprintPlan::Look(refusal) => apply::look(self, ctx, world, intent, refusal).await,
            BlueprintPlan::Leave(leave) => leave::leave(self, ctx, world, &intent, leave).await,
        }
    }

    fn summarise(
        &self,
        world: &BlueprintWorld,
        outcome: &Result<Pass, Error>,
        now: &Time,
    ) -> Option<SorchaBlueprintStatus> {
        let standing = match outcome {
            Ok(Pass::Taken { standing, .. }) => standing,
            Ok(Pass::Paused) => &Standing::Paused,
            Ok(Pass::Later(_) | Pass::Over) | Err(_) => return None,
        };
        Some(status::status(self, standing, &world.network.nodes, now))
    }

    fn events(
        &self,
        _: &BlueprintWorld,
        outcome: &Result<Pass, Error>,
        [before, after]: [&SorchaBlueprintStatus; 2],
        _: &Time,
    ) -> Told {
        let made = if let Ok(Pass::Taken { made, .. }) = outcome { made.as_slice() } else { &[] };
        Told { events: status::events(made, before, after), held_back: Vec::new() }
    }

    fn next(&self, world: &BlueprintWorld, pass: &Pass, _: &Time) -> Option<Duration> {
        match pass {
            Pass::Taken { next, .. } | Pass::Later(next) => Some(*next),
            Pass::Paused => Some(world.settings.resync),
            Pass::Over => None,
        }
    }

    fn paused(&self) -> Option<&'static str> {
        paused_by_annotation(self).filter(|_| self.metadata.deletion_timestamp.is_none())
    }

    fn left_alone(_: &'static str) -> Pass {
        Pass::Paused
    }

    fn label(pass: &Pass) -> &'static str {
        if let Pass::Taken { standing: Standing::Looked(outcome), .. } = pass {
            outcome.reason()
        } else {
            "ok"
        }
    }

    fn written(&self) -> SorchaBlueprintStatus {
        self.status.clone().unwrap_or_default()
    }

    fn conditions(status: &SorchaBlueprintStatus) -> &[Condition] {
        &status.conditions
    }

    fn difference(before: &SorchaBlueprintStatus, after: &SorchaBlueprintStatus) -> Difference {
        status::difference(before, after)
    }

    /// Its finalizer may wait for us.
    fn is_over(&self) -> bool {
        false
    }
}

/// Two resources of one id would undo each other's changes: the older one has it.
fn duplicate(blueprint: &SorchaBlueprint, world: &BlueprintWorld) -> Option<Refusal> {
    let id = blueprint.blueprint_id().to_owned();
    world.older.clone().map(|other| Refusal::Duplicate { id, other })
}

#[cfg(test)]
mod tests;
