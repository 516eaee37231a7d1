//! `SorchaCentralNode`: the steps of its reconciliation.

mod apply;
mod backups;
mod desired;
mod lineages;
mod observe;
mod publishers;
mod status;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt as _;
use sorcha_crds::{SorchaCentralNode, SorchaCentralNodeStatus, shared::SecretKeyRef};

pub(crate) use self::{
    apply::check_secret,
    observe::{CentralWorld, network_named, nodes_of},
};
use crate::{
    context::Ctx,
    desired::{Desired, Shared, confinement},
    events::{self, Told},
    network::{Contradiction, check_name},
    pki::finding::look_again,
    reconcile::{Difference, Error, Pipeline, Progress, is_new, next_look, paused_by_annotation},
    workload::is_running,
};

/// What is to be done about a central node.
pub(crate) struct CentralPlan {
    /// Whether it is to have a certificate. What runs must go on having one, whatever stands in the way of the rest.
    certificate: bool,
    /// What an older resource contradicts.
    refused: Option<Contradiction>,
    /// Secrets without which its pod would hang without a word.
    secrets: Vec<SecretKeyRef>,
    /// Its register is not the network's.
    divided: Option<Contradiction>,
}

impl Pipeline for SorchaCentralNode {
    type Status = SorchaCentralNodeStatus;
    type World = CentralWorld;
    type Plan = CentralPlan;
    type Objects = (Desired, Shared);
    type Done = Progress;

    fn observe(&self, ctx: &Ctx) -> CentralWorld {
        CentralWorld::of(ctx, self)
    }

    fn plan(&self, world: &CentralWorld) -> Result<CentralPlan, Error> {
        check_name(self, world.namesake.as_deref())?;
        confinement::check(&self.name_any(), &self.spec.pod.annotations)?;
        let refused = world.network.check(self).err();
        Ok(CentralPlan {
            certificate: refused.is_none() || world.stateful_set.is_some(),
            refused,
            secrets: secrets(self, world),
            divided: world.network.check_lineage(self).err(),
        })
    }

    fn build(&self, world: &CentralWorld, _: &CentralPlan) -> (Desired, Shared) {
        let service = |name: &str| world.services.get(name).cloned();
        (desired::node(&world.settings, self), desired::shared(&world.settings, &world.network, service))
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        world: &CentralWorld,
        plan: CentralPlan,
        desired: (Desired, Shared),
    ) -> Result<Progress, Error> {
        apply::apply(self, ctx, world, plan, desired).await
    }

    fn summarise(
        &self,
        world: &CentralWorld,
        outcome: &Result<Progress, Error>,
        now: &Time,
    ) -> Option<SorchaCentralNodeStatus> {
        Some(status::status(self, world, outcome, now))
    }

    fn events(
        &self,
        _: &CentralWorld,
        _: &Result<Progress, Error>,
        [before, after]: [&SorchaCentralNodeStatus; 2],
        now: &Time,
    ) -> Told {
        events::transitions(&before.conditions, &after.conditions, is_new(self, now))
    }

    fn next(&self, world: &CentralWorld, _: &Progress, now: &Time) -> Option<Duration> {
        Some(next_look(self, world.usual, look_again(&world.tls, now.0).map(Time), now))
    }

    fn paused(&self) -> Option<&'static str> {
        self.spec.suspend.then_some("spec.suspend is true").or_else(|| paused_by_annotation(self))
    }

    fn left_alone(why: &'static str) -> Progress {
        Progress::Paused(why)
    }

    fn written(&self) -> SorchaCentralNodeStatus {
        SorchaCentralNodeStatus { node: None, ..self.status.clone().unwrap_or_default() }
    }

    fn conditions(status: &SorchaCentralNodeStatus) -> &[Condition] {
        &status.conditions
    }

    fn difference(before: &SorchaCentralNodeStatus, after: &SorchaCentralNodeStatus) -> Difference {
        if before == after { Difference::None } else { Difference::Real }
    }
}

/// The Secrets that its pod mounts, until it runs.
fn secrets(node: &SorchaCentralNode, world: &CentralWorld) -> Vec<SecretKeyRef> {
    if world.pod.as_deref().is_some_and(is_running) {
        return Vec::new();
    }
    let mongodb = node.spec.store.mongodb.as_ref().and_then(|mongodb| mongodb.uri_secret_ref.clone());
    mongodb.into_iter().chain(node.spec.publishers.tokens_secret_ref.clone()).collect()
}

#[cfg(test)]
mod tests;
