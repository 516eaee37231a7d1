//! Objects that can't be read: each is told so in its own status, and nothing else is done about it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource as _,
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::json;
use sorcha_crds::{
    SorchaBlueprint, SorchaCentralNode, SorchaPeer,
    conditions::{Finding, PUBLISHED, READY, merge},
};
use tokio::sync::Notify;

use super::{
    call::{self, CallFault},
    object::Unreadable,
};
use crate::{
    blueprint::{FINALIZER, change_finalizer},
    context::Ctx,
    events::note,
};

/// Field manager of these conditions: the usual one would lose all that it has said of the object.
const FIELD_MANAGER: &str = "sorcha-controller-unreadable";
/// Reason of the conditions.
const REASON: &str = "InvalidSpec";
/// Wait before what could not be told is told again.
const RETRY: Duration = Duration::from_secs(10);

/// Kind, namespace and name.
type UnreadableKey = (String, String, String);

struct KnownUnreadable {
    object: Unreadable,
    told: bool,
}

/// The objects that can't be read, of all kinds.
#[derive(Default)]
pub(crate) struct Unreadables {
    known: Mutex<HashMap<UnreadableKey, KnownUnreadable>>,
    news: Notify,
}

impl Unreadables {
    fn known(&self) -> MutexGuard<'_, HashMap<UnreadableKey, KnownUnreadable>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One is there.
    pub(crate) fn put(&self, kind: &str, object: Unreadable) {
        let key = (kind.to_owned(), object.namespace.clone(), object.name.clone());
        let mut known = self.known();
        let same = known.get(&key).is_some_and(|known| known.object == object);
        if !same {
            tracing::warn!(kind, namespace = key.1, name = key.2, "can't be read: {}", object.problem);
            known.insert(key, KnownUnreadable { object, told: false });
            self.news.notify_one();
        }
    }

    /// It can be read, or is gone.
    pub(crate) fn remove(&self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.known().remove(&key);
    }

    /// After a list: those that were not in it are gone.
    pub(crate) fn keep(&self, kind: &str, listed: &HashSet<(String, String)>) {
        self.known().retain(|key, _| key.0 != kind || listed.contains(&(key.1.clone(), key.2.clone())));
    }

    /// Namespaces, names and uids of those of a kind.
    pub(crate) fn identities(&self, kind: &str) -> Vec<(String, String, String)> {
        let known = self.known();
        let of_kind = known.iter().filter(|(key, _)| key.0 == kind);
        of_kind.map(|(key, known)| (key.1.clone(), key.2.clone(), known.object.uid.clone())).collect()
    }

    fn untold(&self) -> Vec<(UnreadableKey, Unreadable)> {
        let known = self.known();
        let untold = known.iter().filter(|(_, known)| !known.told);
        untold.map(|(key, known)| (key.clone(), known.object.clone())).collect()
    }

    fn told(&self, key: &UnreadableKey, object: &Unreadable) {
        if let Some(known) = self.known().get_mut(key).filter(|known| known.object == *object) {
            known.told = true;
        }
    }
}

/// Tells each of them so, for ever.
pub(crate) async fn run(ctx: &Ctx) {
    let unreadables = &ctx.caches.unreadables;
    loop {
        let mut failed = false;
        for (key, object) in unreadables.untold() {
            match tell(ctx, &key.0, &object).await {
                Ok(()) => unreadables.told(&key, &object),
                // It has changed meanwhile, and comes again as it is now.
                Err(fault) if matches!(fault.code(), Some(404 | 409)) => unreadables.told(&key, &object),
                Err(fault) => {
                    failed = true;
                    let (kind, namespace, name) = &key;
                    tracing::warn!(
                        kind,
                        namespace,
                        name,
                        fault = fault.logged(),
                        "its status does not say that it can't be read"
                    );
                }
            }
        }
        if failed {
            tokio::time::sleep(RETRY).await;
        } else {
            unreadables.news.notified().await;
        }
    }
}

/// A kind with a status of ours.
struct StatusKind {
    path: String,
    api_version: String,
    plural: String,
    conditions: &'static [&'static str],
}

fn told_of(kind: &str, namespace: &str) -> Option<StatusKind> {
    fn of<K: kube::Resource<DynamicType = ()>>(
        namespace: &str,
        conditions: &'static [&'static str],
    ) -> StatusKind {
        StatusKind {
            path: K::url_path(&(), Some(namespace)),
            api_version: K::api_version(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            conditions,
        }
    }
    if kind == SorchaCentralNode::kind(&()) {
        Some(of::<SorchaCentralNode>(namespace, &[READY]))
    } else if kind == SorchaPeer::kind(&()) {
        Some(of::<SorchaPeer>(namespace, &[READY]))
    } else if kind == SorchaBlueprint::kind(&()) {
        Some(of::<SorchaBlueprint>(namespace, &[READY, PUBLISHED]))
    } else {
        None
    }
}

async fn tell(ctx: &Ctx, kind: &str, object: &Unreadable) -> Result<(), CallFault> {
    let Some(told) = told_of(kind, &object.namespace) else { return Ok(()) };
    if object.deleted.is_some() {
        return release(ctx, kind, &told, object).await;
    }
    let message = format!(
        "{}; the controller does not reconcile this resource: correct it, or bring controller and definitions to one version",
        object.problem
    );
    let finding = |type_: &&'static str| Finding::new(type_, false, REASON, message.clone());
    let before: Vec<_> =
        object.conditions.iter().filter(|held| told.conditions.contains(&&*held.type_)).cloned().collect();
    let after = merge(&before, told.conditions.iter().map(finding).collect(), object.generation, &Ctx::now());
    if before == after {
        return Ok(());
    }
    let body = json!({
        "apiVersion": told.api_version, "kind": kind, // One that was made anew under the name is left alone.
        "metadata": {"name": object.name, "uid": (!object.uid.is_empty()).then_some(&object.uid)},
        "status": {"conditions": after},
    });
    ctx.metrics.called("apply", &format!("{}/status", told.plural));
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let request =
        Request::new(&told.path).patch_subresource("status", &object.name, &parameters, &Patch::Apply(body));
    drop(call::send(&ctx.client, call::metadata_only(request)).await?);
    ctx.send_about(&reference(kind, &told, object), &note(REASON.to_owned(), message, false)).await;
    Ok(())
}

/// What can't be read can't be deprecated; it is not held back either.
async fn release(ctx: &Ctx, kind: &str, told: &StatusKind, object: &Unreadable) -> Result<(), CallFault> {
    if !object.finalizers.iter().any(|name| name == FINALIZER) {
        return Ok(());
    }
    change_finalizer(&ctx.client, &object.namespace, &object.name, Some(&object.uid), false).await?;
    let message = format!("its blueprint stays as it is in the register: {}", object.problem);
    ctx.send_about(&reference(kind, told, object), &note("NotDeprecated".to_owned(), message, false)).await;
    Ok(())
}

fn reference(kind: &str, told: &StatusKind, object: &Unreadable) -> ObjectReference {
    ObjectReference {
        api_version: Some(told.api_version.clone()),
        kind: Some(kind.to_owned()),
        namespace: Some(object.namespace.clone()),
        name: Some(object.name.clone()),
        uid: Some(object.uid.clone()),
        ..ObjectReference::default()
    }
}
