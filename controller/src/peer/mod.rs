//! `SorchaPeer`: observe, desired, apply, status.

mod desired;
mod observe;
mod certificate;
mod moves;
mod status;
mod tell;

use k8s_openapi::{
    api::policy::v1::PodDisruptionBudget,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{ResourceExt as _, runtime::events::Event};
use serde_json::json;
use sorcha_crds::{SorchaCentralNode, SorchaPeer, SorchaPeerStatus, peer::PeerReport};

pub(crate) use self::moves::Places;
use self::observe::Observed;
use crate::{
    apply::owner::Claim,
    central, claims,
    context::Ctx,
    desired::confinement,
    pki::{self, holder::Holder},
    reconcile::{Error, Progress, Subject, check_name, remove_from_status},
};

impl Subject for SorchaPeer {
    type Status = SorchaPeerStatus;

    fn suspended(&self) -> bool {
        self.spec.suspend
    }

    fn written(&self) -> Self::Status {
        SorchaPeerStatus { nodes: Vec::new(), ..self.status.clone().unwrap_or_default() }
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    fn differs(before: &Self::Status, after: &Self::Status) -> bool {
        status::differs(before, after)
    }

    async fn converge(&self, ctx: &Ctx) -> Result<Progress, Error> {
        tell::first_look(self, ctx);
        check_name::<Self, SorchaCentralNode>(self, ctx)?;
        confinement::check(&self.name_any(), &self.spec.pod.annotations)?;
        let desired = desired::peer(ctx, self);
        ctx.applier.check(&desired)?;
        let observed = Observed::of(ctx, self);
        if let Some(mongodb) = &self.spec.store.mongodb
            && observed.pods.is_empty()
        {
            let namespace = self.namespace().unwrap_or_default();
            central::check_secret(ctx, &namespace, mongodb.uri_secret_ref.clone()).await?;
        }
        claims::check(ctx, observed.stateful_set.as_deref(), &desired.stateful_set).await?;
        pki::ensure::ensure(ctx, self, &Holder::peer(self)).await?;
        forget_gone(self, ctx, &observed).await?;
        ctx.applier.apply_surroundings(&desired).await?;
        if desired.budget.is_none() {
            let claim = Claim::Resource(self.uid().unwrap_or_default());
            let namespace = self.namespace().unwrap_or_default();
            ctx.applier.delete::<PodDisruptionBudget>(&claim, &namespace, &self.name_any()).await?;
        }
        ctx.applier.apply(&desired.stateful_set).await?;
        Ok(Progress::Applied)
    }

    fn look_again(&self, ctx: &Ctx, now: &Time) -> Option<Time> {
        pki::finding::look_again(ctx, &Holder::peer(self), now.0).map(Time)
    }

    fn status(&self, ctx: &Ctx, result: &Result<Progress, Error>, now: &Time) -> Self::Status {
        status::status(self, &Observed::of(ctx, self), ctx, result, now)
    }

    fn events(&self, ctx: &Ctx, before: &Self::Status, after: &Self::Status) -> Vec<Event> {
        tell::events(self, ctx, before, after)
    }
}

/// Takes reports of pods that were scaled away, or never were, out of the status.
async fn forget_gone(peer: &SorchaPeer, ctx: &Ctx, observed: &Observed) -> Result<(), Error> {
    let Some(status) = &peer.status else { return Ok(()) };
    let expected = |report: &&PeerReport| observe::is_expected(peer, observed, report);
    let kept: Vec<&PeerReport> = status.nodes.iter().filter(expected).collect();
    if kept.len() == status.nodes.len() {
        return Ok(());
    }
    remove_from_status(peer, ctx, &json!({"nodes": kept})).await.map_err(Error::Status)
}

#[cfg(test)]
mod tests;
