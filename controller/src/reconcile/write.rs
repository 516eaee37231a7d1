//! Writes how a resource stands, where that differs from what was written last, and tells what has changed.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::json;
use sorcha_crds::CONTROLLER_FIELD_MANAGER;

use super::{Difference, Error, Pipeline, is_new};
use crate::{
    cache::Cached,
    context::Ctx,
    events,
    feed::{
        call::{self, CallFault},
        object::{self, Cut, Seen},
    },
};

/// Writes the status; tells how long a difference that is not worth a write yet has to wait.
pub(super) async fn write_status<P: Pipeline>(
    subject: &P,
    ctx: &Ctx,
    world: &P::World,
    outcome: &Result<P::Done, Error>,
    now: &Time,
) -> Result<Option<Duration>, CallFault> {
    let Some(after) = subject.summarise(world, outcome, now) else { return Ok(None) };
    let before = subject.written();
    if !is_new(subject, now) {
        tell_overdue(subject, ctx, P::conditions(&after)).await;
    }
    match P::difference(&before, &after) {
        Difference::None => return Ok(None),
        Difference::Counts => {
            if let Err(left) = ctx.publisher.memory.may_count(&subject.uid().unwrap_or_default()) {
                return Ok(Some(left));
            }
        }
        Difference::Real => {}
    }
    ctx.metrics.called("apply", &format!("{}/status", P::plural(&())));
    let written = match patch_status(subject, ctx, CONTROLLER_FIELD_MANAGER, &json!(after)).await? {
        Written::Not => return Ok(None),
        Written::As(written) => written,
    };
    if let Some(written) = written.filter(|_| P::REMEMBERED) {
        settle(written, ctx, P::conditions(&after)).await?;
    }
    let told = subject.events(world, outcome, [&before, &after], now);
    hold_back(subject, ctx, told.held_back);
    for event in told.events {
        ctx.send(subject, &event).await;
    }
    subject.note(ctx, world, now);
    Ok(None)
}

/// Conditions that others added stay when ours are applied.
async fn settle<P: Pipeline>(written: Box<P>, ctx: &Ctx, ours: &[Condition]) -> Result<(), CallFault> {
    if P::conditions(&written.written()).iter().any(|held| ours.iter().all(|c| c.type_ != held.type_)) {
        return remove_from_status(&*written, ctx, &json!({"conditions": ours})).await;
    }
    ctx.remember(*written);
    Ok(())
}

fn hold_back(subject: &impl kube::ResourceExt, ctx: &Ctx, mut faults: Vec<Condition>) {
    if faults.is_empty() {
        return;
    }
    let uid = subject.uid().unwrap_or_default();
    faults.extend(ctx.held_back.last(&uid).iter().flat_map(|held| held.iter().cloned()));
    ctx.held_back.put(uid, Arc::new(faults));
}

async fn tell_overdue<S: Cached>(subject: &S, ctx: &Ctx, now: &[Condition]) {
    let uid = subject.uid().unwrap_or_default();
    let Some(held_back) = ctx.held_back.last(&uid) else { return };
    ctx.held_back.forget(&uid);
    for event in events::overdue(&held_back, now) {
        ctx.send(subject, &event).await;
    }
}

/// What came of a write of a status.
enum Written<S> {
    /// Nothing: the resource is gone, or is another one now.
    Not,
    /// The resource as it is then, if it can be read.
    As(Option<Box<S>>),
}

/// Applies a part of a resource's status under a field manager's name. A resource that is gone is no error.
///
/// # Errors
/// When the API server does not answer, or not to us.
async fn patch_status<S: Cached>(
    subject: &S,
    ctx: &Ctx,
    manager: &str,
    status: &serde_json::Value,
) -> Result<Written<S>, CallFault> {
    let body = json!({
        "apiVersion": S::api_version(&()), "kind": S::kind(&()),
        // That of one that was made anew under the name is left alone.
        "metadata": {"name": subject.name_any(), "uid": subject.uid()},
        "status": status,
    });
    let request = Request::new(S::url_path(&(), Some(&subject.namespace().unwrap_or_default())));
    let parameters = PatchParams::apply(manager).force();
    let request = request.patch_subresource("status", &subject.name_any(), &parameters, &Patch::Apply(body));
    let Some(text) = object_as_it_was(ctx, request).await? else { return Ok(Written::Not) };
    Ok(Written::As(match object::read(&text, Cut::Document) {
        Ok(Seen::Readable(object)) => Some(Box::new(object)),
        Ok(Seen::Unreadable(_)) | Err(_) => None,
    }))
}

/// Replaces a list of a resource's status by one without what is not anybody's to write there, unless it has changed
/// meanwhile: then the next look does it.
///
/// # Errors
/// When the API server does not answer, or not to us.
pub(crate) async fn remove_from_status<S: Cached>(
    subject: &S,
    ctx: &Ctx,
    lists: &serde_json::Value,
) -> Result<(), CallFault> {
    ctx.metrics.called("patch", &format!("{}/status", S::plural(&())));
    let body = json!({
        "metadata": {"uid": subject.uid(), "resourceVersion": subject.resource_version()}, "status": lists,
    });
    let request = Request::new(S::url_path(&(), Some(&subject.namespace().unwrap_or_default())));
    let parameters =
        PatchParams { field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = request.patch_subresource("status", &subject.name_any(), &parameters, &Patch::Merge(body));
    object_as_it_was(ctx, request).await.map(drop)
}

/// The answer to a write; `None` where the object is gone, or is another one now.
async fn object_as_it_was(
    ctx: &Ctx,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Option<Vec<u8>>, CallFault> {
    match call::object(&ctx.client, request).await {
        Err(fault) if fault.code() == Some(409) => Ok(None),
        other => other,
    }
}
