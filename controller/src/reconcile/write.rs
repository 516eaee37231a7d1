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
    let Some(text) = apply_status(subject, ctx, &json!(after)).await? else { return Ok(None) };
    if P::REMEMBERED
        && let Ok(Seen::Readable(written)) = object::read::<P>(&text, Cut::Document)
    {
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
async fn settle<P: Pipeline>(written: P, ctx: &Ctx, ours: &[Condition]) -> Result<(), CallFault> {
    if P::conditions(&written.written()).iter().any(|held| ours.iter().all(|c| c.type_ != held.type_)) {
        return remove_from_status(&written, ctx, &json!({"conditions": ours})).await;
    }
    ctx.remember(written);
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

/// Applies the controller's part of a resource's status; the text of the resource as it is then.
async fn apply_status<S: Cached>(
    subject: &S,
    ctx: &Ctx,
    status: &serde_json::Value,
) -> Result<Option<Vec<u8>>, CallFault> {
    let body = json!({
        "apiVersion": S::api_version(&()), "kind": S::kind(&()),
        // The status of a new resource of the same name is left alone.
        "metadata": {"name": subject.name_any(), "uid": subject.uid()},
        "status": status,
    });
    let parameters = PatchParams::apply(CONTROLLER_FIELD_MANAGER).force();
    patch(subject, ctx, "apply", &parameters, &Patch::Apply(body)).await
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
    let body = json!({
        "metadata": {"uid": subject.uid(), "resourceVersion": subject.resource_version()}, "status": lists,
    });
    let parameters =
        PatchParams { field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    patch(subject, ctx, "patch", &parameters, &Patch::Merge(body)).await.map(drop)
}

/// `None` where the resource is gone, or is another one now: that is no error.
async fn patch<S: Cached>(
    subject: &S,
    ctx: &Ctx,
    verb: &str,
    parameters: &PatchParams,
    patch: &Patch<serde_json::Value>,
) -> Result<Option<Vec<u8>>, CallFault> {
    ctx.metrics.called(verb, &format!("{}/status", S::plural(&())));
    let request = Request::new(S::url_path(&(), Some(&subject.namespace().unwrap_or_default())));
    let request = request.patch_subresource("status", &subject.name_any(), parameters, patch);
    match call::object(&ctx.client, request).await {
        Err(fault) if fault.code() == Some(409) => Ok(None),
        other => other,
    }
}
