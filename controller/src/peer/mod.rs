//! `SorchaPeer`: observe, desired, apply, status.

mod desired;
mod observe;
mod certificate;
mod status;

use k8s_openapi::{
    api::policy::v1::PodDisruptionBudget,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{ResourceExt as _, runtime::events::Event};
use serde_json::json;
use sorcha_crds::{SorchaPeer, SorchaPeerStatus, node_field_manager};

use self::observe::Observed;
use crate::{
    central,
    context::Ctx,
    pki::{self, holder::Holder},
    reconcile::{Error, Progress, Subject, patch_status},
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
        let observed = Observed::of(ctx, self);
        if let Some(mongodb) = &self.spec.store.mongodb
            && observed.pods.is_empty()
        {
            let namespace = self.namespace().unwrap_or_default();
            central::check_secret(ctx, &namespace, mongodb.uri_secret_ref.clone()).await?;
        }
        pki::ensure::ensure(ctx, self, &Holder::peer(self)).await?;
        forget_gone(self, ctx, &observed).await?;
        apply(self, ctx).await
    }

    fn look_again(&self, ctx: &Ctx, now: &Time) -> Option<Time> {
        pki::finding::look_again(ctx, &Holder::peer(self), now.0).map(Time)
    }

    fn status(&self, ctx: &Ctx, result: &Result<Progress, Error>, now: &Time) -> Self::Status {
        status::status(self, &Observed::of(ctx, self), ctx, result, now)
    }

    fn events(before: &Self::Status, after: &Self::Status) -> Vec<Event> {
        status::events(before, after)
    }
}

/// Takes reports of pods that were scaled away out of the status, in the name of those who wrote them.
async fn forget_gone(peer: &SorchaPeer, ctx: &Ctx, observed: &Observed) -> Result<(), Error> {
    for pod in observe::gone(peer, observed) {
        ctx.metrics.called("apply", "sorchapeers/status");
        patch_status(peer, ctx, &node_field_manager(&pod), &json!({})).await.map_err(Error::Status)?;
    }
    Ok(())
}

async fn apply(peer: &SorchaPeer, ctx: &Ctx) -> Result<Progress, Error> {
    let desired = desired::peer(ctx, peer);
    ctx.applier.apply_surroundings(&desired).await?;
    if desired.budget.is_none() {
        let (uid, namespace) = (peer.uid().unwrap_or_default(), peer.namespace().unwrap_or_default());
        ctx.applier.delete::<PodDisruptionBudget>(&uid, &namespace, &peer.name_any()).await?;
    }
    ctx.applier.apply(&desired.stateful_set).await?;
    Ok(Progress::Applied)
}

#[cfg(test)]
mod tests;
