//! Lets central nodes ask the API server whose a publisher's token is: a right for the whole cluster, so that it can't be
//! owned by anything in a namespace.
//!
//! The chart makes one ClusterRole and one ClusterRoleBinding without subjects; the list of subjects is kept here, the
//! ServiceAccounts of all central nodes that there are. Helm does not know of the list and leaves it alone.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Subject};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use sorcha_crds::{CONTROLLER_FIELD_MANAGER, SorchaCentralNode};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{cache::Triggers, context::Ctx, reconcile::told};

/// Central nodes that come at once are written at once.
const GATHER: Duration = Duration::from_millis(200);
/// Wait before a failed write is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Whether central nodes may ask about tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// This controller gives no such right.
    NotHere,
    /// They may.
    Given,
    /// They may not, and why.
    Fault(String),
}

/// The state, shared with the reconciles, which tell it.
#[derive(Debug)]
pub struct Reviews {
    binding: Option<String>,
    state: Mutex<State>,
}

impl Reviews {
    /// Of a controller that keeps a ClusterRoleBinding, or none.
    #[must_use]
    pub fn new(binding: Option<&str>) -> Self {
        let state = if binding.is_some() { State::Given } else { State::NotHere };
        Self { binding: binding.map(str::to_owned), state: Mutex::new(state) }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether that is news.
    fn set(&self, state: &State) -> bool {
        if let State::Fault(fault) = state {
            tracing::warn!(fault, "central nodes can't ask about publishers' tokens");
        }
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, state.clone()) != *state
    }
}

/// The ServiceAccounts, as namespace and name, of the central nodes that ask about tokens.
fn accounts(nodes: &[Arc<SorchaCentralNode>]) -> BTreeSet<(String, String)> {
    let asking = nodes.iter().filter(|node| node.spec.publishers.kubernetes.enabled);
    asking.map(|node| (node.namespace().unwrap_or_default(), node.name_any())).collect()
}

fn held(binding: &ClusterRoleBinding) -> BTreeSet<(String, String)> {
    let account = |subject: &Subject| (subject.namespace.clone().unwrap_or_default(), subject.name.clone());
    binding.subjects.iter().flatten().map(account).collect()
}

/// Keeps the list of subjects, for ever; with no binding to keep it ends at once.
pub async fn run(ctx: &Ctx, triggers: &Triggers) {
    let Some(binding) = &ctx.reviews.binding else { return };
    let (mut applied, mut next_look) = (None, Instant::now());
    loop {
        let mut wanted = accounts(&ctx.caches.central_nodes.state());
        // One that can't be read runs on as it did.
        wanted.extend(ctx.caches.unreadables.names(&SorchaCentralNode::kind(&())));
        if applied.as_ref() != Some(&wanted) {
            let state = match keep(ctx, binding, &wanted, applied.is_some()).await {
                Ok(()) => State::Given,
                Err(error) => State::Fault(fault(binding, &error)),
            };
            if ctx.reviews.set(&state) {
                triggers.touch_central_nodes(&ctx.caches);
            }
            if state != State::Given {
                applied = None;
                sleep(RETRY).await;
                continue;
            }
            applied = Some(wanted);
            next_look = Instant::now() + ctx.settings.resync;
        }
        if timeout_at(next_look, triggers.nodes.notified()).await.is_err() {
            // Somebody may have changed the list meanwhile: it is looked at.
            applied = None;
        }
        sleep(GATHER).await;
    }
}

/// Writes the list, unless it is looked at first and found as it should be.
async fn keep(
    ctx: &Ctx,
    name: &str,
    wanted: &BTreeSet<(String, String)>,
    is_known: bool,
) -> kube::Result<()> {
    let api: Api<ClusterRoleBinding> = Api::all(ctx.client.clone());
    if !is_known {
        ctx.metrics.called("get", "clusterrolebindings");
        if held(&api.get(name).await?) == *wanted {
            return Ok(());
        }
    }
    let subjects: Vec<_> = wanted
        .iter()
        .map(|(namespace, name)| json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}))
        .collect();
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name}, "subjects": subjects,
    });
    ctx.metrics.called("apply", "clusterrolebindings");
    let parameters = PatchParams::apply(CONTROLLER_FIELD_MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(body)).await?;
    tracing::info!(
        binding = name,
        central_nodes = wanted.len(),
        "central nodes may ask about publishers' tokens"
    );
    Ok(())
}

fn fault(binding: &str, error: &kube::Error) -> String {
    let why = told(error);
    format!(
        "users of the cluster can't publish: the ServiceAccounts of the central nodes are not in ClusterRoleBinding {binding}: \
         {why}; `helm upgrade` of the chart makes it and the controller's right to change it"
    )
}

#[cfg(test)]
mod tests;
