//! Lets central nodes ask the API server whose a publisher's token is: a right for the whole cluster, so that it can't be
//! owned by anything in a namespace.
//!
//! The chart makes one ClusterRole and one ClusterRoleBinding without subjects; the list of subjects is kept here, the
//! ServiceAccounts of all central nodes that there are. Helm does not know of the list and leaves it alone.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRoleBinding, Subject},
};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use sorcha_crds::{CONTROLLER_FIELD_MANAGER, SorchaCentralNode};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    apply::{is_conflict, owner::Claim},
    cache::{Caches, Triggers},
    context::Ctx,
    network::age,
    reconcile::told,
};

/// Central nodes that come at once are written at once.
const GATHER: Duration = Duration::from_millis(200);
/// Central nodes of one namespace that may ask: one object holds the accounts of all namespaces, and may have 1.5 MB.
pub(crate) const OF_NAMESPACE: usize = 128;
/// How often the binding is looked at again because others wrote it in between.
const ATTEMPTS: usize = 4;
/// Wait before a failed write is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Whether central nodes may ask about tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// This controller gives no such right.
    NotHere,
    /// They may.
    Given,
    /// They may not, and why.
    Fault(String),
    /// They may, but for this one: its namespace has too many.
    LeftOut,
}

/// The state, shared with the reconciles, which tell it.
#[derive(Debug)]
pub struct Reviews {
    binding: Option<String>,
    state: Mutex<State>,
    left_out: Mutex<BTreeSet<AccountName>>,
}

impl Reviews {
    /// Of a controller that keeps a ClusterRoleBinding, or none.
    #[must_use]
    pub fn new(binding: Option<&str>) -> Self {
        let state = if binding.is_some() { State::Given } else { State::NotHere };
        Self { binding: binding.map(str::to_owned), state: Mutex::new(state), left_out: Mutex::default() }
    }

    /// How it stands for a central node.
    #[must_use]
    pub(crate) fn state_of(&self, namespace: &str, name: &str) -> State {
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if !left_out.is_empty() && left_out.contains(&(namespace.to_owned(), name.to_owned())) {
            return State::LeftOut;
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether that is news.
    fn set(&self, state: &State, left_out: &BTreeSet<AccountName>) -> bool {
        if let State::Fault(fault) = state {
            tracing::warn!(fault, "central nodes can't ask about publishers' tokens");
        }
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = *held == *state && *others == *left_out;
        held.clone_from(state);
        others.clone_from(left_out);
        !is_same
    }
}

/// A ServiceAccount: namespace and name.
type AccountName = (String, String);

/// Who is to be on the list, and who is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct WantedAccounts {
    accounts: BTreeSet<AccountName>,
    left_out: BTreeSet<AccountName>,
}

/// The ServiceAccounts of the central nodes that ask about tokens: those that a central node owns, and no others that have the
/// name of one. Of one namespace the oldest central nodes' are taken.
fn accounts(caches: &Caches) -> WantedAccounts {
    let asks = |node: &&Arc<SorchaCentralNode>| node.spec.publishers.kubernetes.enabled;
    let mut nodes = caches.central_nodes.state();
    nodes.sort_by_cached_key(|node| age(&**node));
    let asking = nodes.iter().filter(asks).map(|node| (node.namespace(), node.name_any(), node.uid()));
    // One that can't be read runs on as it did.
    let unreadable = caches.unreadables.identities(&SorchaCentralNode::kind(&()));
    let unreadable = unreadable.into_iter().map(|(namespace, name, uid)| (Some(namespace), name, Some(uid)));
    let (mut wanted, mut counts) = (WantedAccounts::default(), HashMap::<String, usize>::new());
    for (namespace, name, uid) in asking.chain(unreadable) {
        let account = (namespace.unwrap_or_default(), name);
        if !owns(caches, &account, uid.as_deref().unwrap_or_default()) {
            continue;
        }
        let count = counts.entry(account.0.clone()).or_default();
        *count += 1;
        let list = if *count > OF_NAMESPACE { &mut wanted.left_out } else { &mut wanted.accounts };
        list.insert(account);
    }
    wanted
}

/// Whether the central node of this uid is the controller of a ServiceAccount of its name.
fn owns(caches: &Caches, (namespace, name): &AccountName, uid: &str) -> bool {
    let account = caches.get::<ServiceAccount>(namespace, name);
    account.is_some_and(|account| Claim::Resource(uid.to_owned()).check(&account.metadata).is_ok())
}

fn held(binding: &ClusterRoleBinding) -> BTreeSet<AccountName> {
    let account = |subject: &Subject| (subject.namespace.clone().unwrap_or_default(), subject.name.clone());
    binding.subjects.iter().flatten().map(account).collect()
}

/// Keeps the list of subjects, for ever; with no binding to keep it ends at once.
pub(crate) async fn run(ctx: &Ctx, triggers: &Triggers) {
    let Some(binding) = &ctx.reviews.binding else { return };
    let (mut applied, mut next_look) = (None, Instant::now());
    loop {
        let wanted = accounts(&ctx.caches);
        if applied.as_ref() != Some(&wanted) {
            let state = match keep(ctx, binding, &wanted.accounts).await {
                Ok(()) => State::Given,
                Err(why) => State::Fault(fault(binding, &why)),
            };
            if ctx.reviews.set(&state, &wanted.left_out) {
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
            // Others may have changed the list meanwhile: it is looked at.
            applied = None;
        }
        sleep(GATHER).await;
    }
}

/// Brings the list to what is wanted. Where others write it at the same time, it is looked at again.
async fn keep(ctx: &Ctx, name: &str, wanted: &BTreeSet<AccountName>) -> Result<(), String> {
    for _ in 1..ATTEMPTS {
        if let Some(result) = keep_once(ctx, name, wanted).await {
            return result;
        }
    }
    keep_once(ctx, name, wanted).await.unwrap_or_else(|| Err("others changed it at each try".to_owned()))
}

/// The binding must be the chart's: it is looked at first, and written only as it was then. `None`: others wrote it meanwhile.
async fn keep_once(ctx: &Ctx, name: &str, wanted: &BTreeSet<AccountName>) -> Option<Result<(), String>> {
    let api: Api<ClusterRoleBinding> = Api::all(ctx.client.clone());
    ctx.metrics.called("get", "clusterrolebindings");
    let binding = match api.get(name).await {
        Ok(binding) => binding,
        Err(error) => return Some(Err(told(&error))),
    };
    let role = &binding.role_ref;
    if (role.kind.as_str(), role.name.as_str()) != ("ClusterRole", name) {
        return Some(Err(format!("it gives {} {}, and not ClusterRole {name}", role.kind, role.name)));
    }
    if held(&binding) == *wanted {
        return Some(Ok(()));
    }
    let subjects: Vec<_> = wanted
        .iter()
        .map(|(namespace, name)| json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}))
        .collect();
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        // What was looked at, and nothing that has come in its place.
        "metadata": {"name": name, "uid": binding.uid(), "resourceVersion": binding.resource_version()},
        "subjects": subjects,
    });
    ctx.metrics.called("apply", "clusterrolebindings");
    let parameters = PatchParams::apply(CONTROLLER_FIELD_MANAGER).force();
    match api.patch(name, &parameters, &Patch::Apply(body)).await {
        Ok(_) => {}
        Err(error) if is_conflict(&error) => return None,
        Err(error) => return Some(Err(told(&error))),
    }
    tracing::info!(
        binding = name,
        central_nodes = wanted.len(),
        "central nodes may ask about publishers' tokens"
    );
    Some(Ok(()))
}

fn fault(binding: &str, why: &str) -> String {
    format!(
        "users of the cluster can't publish: the ServiceAccounts of the central nodes are not in ClusterRoleBinding {binding}: \
         {why}; `helm upgrade` of the chart makes it and the controller's right to change it"
    )
}

#[cfg(test)]
mod tests;
