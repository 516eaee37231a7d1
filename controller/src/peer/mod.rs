//! `SorchaPeer`: the steps of its reconciliation.

mod desired;
mod findings;
mod moves;
mod observe;
mod replica;
mod status;
mod tell;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::policy::v1::PodDisruptionBudget,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::ResourceExt as _;
use serde_json::json;
use sorcha_crds::{SorchaPeer, SorchaPeerStatus, peer::PeerReport, shared::SecretKeyRef};

pub(crate) use self::{moves::Places, observe::PeerWorld};
use crate::{
    apply::owner::Claim,
    central, claims,
    context::Ctx,
    desired::{Desired, confinement},
    events::{self, Told},
    network::check_name,
    pki::{self, finding::look_again},
    reconcile::{
        Difference, Error, Pipeline, Progress, is_new, next_look, paused_by_annotation, remove_from_status,
    },
};

/// What is to be done about peers.
pub(crate) struct PeerPlan {
    /// The Secret without which their pods would hang without a word.
    secret: Option<SecretKeyRef>,
    /// The reports to keep, where some are of pods that were scaled away, or never were.
    reports: Option<Vec<PeerReport>>,
}

impl Pipeline for SorchaPeer {
    type Status = SorchaPeerStatus;
    type World = PeerWorld;
    type Plan = PeerPlan;
    type Objects = Desired;
    type Done = Progress;

    fn observe(&self, ctx: &Ctx) -> PeerWorld {
        PeerWorld::of(ctx, self)
    }

    fn plan(&self, world: &PeerWorld) -> Result<PeerPlan, Error> {
        check_name(self, world.namesake.as_deref())?;
        confinement::check(&self.name_any(), &self.spec.pod.annotations)?;
        let mongodb = self.spec.store.mongodb.as_ref().filter(|_| world.pods.is_empty());
        Ok(PeerPlan {
            secret: mongodb.map(|mongodb| mongodb.uri_secret_ref.clone()),
            reports: reports(self, world),
        })
    }

    fn build(&self, world: &PeerWorld, _: &PeerPlan) -> Desired {
        desired::peer(&world.settings, self)
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        world: &PeerWorld,
        plan: PeerPlan,
        desired: Desired,
    ) -> Result<Progress, Error> {
        ctx.applier.check(&desired)?;
        let namespace = self.namespace().unwrap_or_default();
        if let Some(secret) = plan.secret {
            central::check_secret(ctx, &namespace, secret).await?;
        }
        claims::check(ctx, world.stateful_set.as_deref(), &desired.stateful_set).await?;
        pki::ensure::ensure(ctx, self, &world.tls.holder).await?;
        if let Some(reports) = plan.reports {
            remove_from_status(self, ctx, &json!({"nodes": reports})).await.map_err(Error::Status)?;
        }
        ctx.applier.apply_surroundings(&desired).await?;
        if desired.budget.is_none() {
            let claim = Claim::Resource(self.uid().unwrap_or_default());
            ctx.applier.delete::<PodDisruptionBudget>(&claim, &namespace, &self.name_any()).await?;
        }
        ctx.applier.apply(&desired.stateful_set).await?;
        Ok(Progress::Applied)
    }

    fn summarise(
        &self,
        world: &PeerWorld,
        outcome: &Result<Progress, Error>,
        now: &Time,
    ) -> Option<SorchaPeerStatus> {
        Some(status::status(self, world, outcome, now))
    }

    fn events(
        &self,
        world: &PeerWorld,
        _: &Result<Progress, Error>,
        [before, after]: [&SorchaPeerStatus; 2],
        now: &Time,
    ) -> Told {
        let mut told = events::transitions(&before.conditions, &after.conditions, is_new(self, now));
        told.events.extend(tell::events(self, world, [before, after], now));
        told
    }

    fn next(&self, world: &PeerWorld, _: &Progress, now: &Time) -> Option<Duration> {
        Some(next_look(self, world.usual, look_again(&world.tls, now.0).map(Time), now))
    }

    fn paused(&self) -> Option<&'static str> {
        self.spec.suspend.then_some("spec.suspend is true").or_else(|| paused_by_annotation(self))
    }

    fn left_alone(why: &'static str) -> Progress {
        Progress::Paused(why)
    }

    fn written(&self) -> SorchaPeerStatus {
        SorchaPeerStatus { nodes: Vec::new(), ..self.status.clone().unwrap_or_default() }
    }

    fn conditions(status: &SorchaPeerStatus) -> &[Condition] {
        &status.conditions
    }

    fn difference(before: &SorchaPeerStatus, after: &SorchaPeerStatus) -> Difference {
        if status::differs(before, after) { Difference::Real } else { Difference::None }
    }

    fn begin(&self, ctx: &Ctx, world: &PeerWorld) {
        // The first move after the first look of this process is told.
        if world.places.is_none() {
            self.note(ctx, world, &Ctx::now());
        }
    }

    fn note(&self, ctx: &Ctx, world: &PeerWorld, now: &Time) {
        ctx.places.put(self.uid().unwrap_or_default(), Arc::new(tell::known(self, world, now)));
    }
}

fn reports(peer: &SorchaPeer, world: &PeerWorld) -> Option<Vec<PeerReport>> {
    let reported = &peer.status.as_ref()?.nodes;
    let kept: Vec<_> = reported.iter().filter(|report| world.is_expected(peer, report)).cloned().collect();
    (kept.len() < reported.len()).then_some(kept)
}

#[cfg(test)]
mod tests;
