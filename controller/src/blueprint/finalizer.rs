//! The finalizer, which makes a deletion wait until the blueprint is deprecated (ADR 16).

use kube::{
    Client, Resource as _, ResourceExt as _,
    api::{GetParams, Patch, PatchParams},
    core::Request,
};
use serde_json::json;
use sorcha_crds::{CONTROLLER_FIELD_MANAGER, SorchaBlueprint};

use crate::{
    context::Ctx,
    feed::{
        call::{self, CallFault},
        object,
    },
    reconcile::Error,
};

/// Its name.
pub(crate) const FINALIZER: &str = "sorcha.dev/deprecate";
/// Refusal of finalizers for a resource that is being deleted.
const INVALID: u16 = 422;
/// Conflict with another writer.
const CONFLICT: u16 = 409;
/// How often it is tried when others write at the same time.
const ATTEMPTS: usize = 4;

/// What came of a change of the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finalizer {
    /// It is as wanted.
    Set,
    /// The resource is gone, or being deleted and may have no new one.
    Gone,
}

pub(super) fn has_finalizer(blueprint: &SorchaBlueprint) -> bool {
    blueprint.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Adds or removes the finalizer of the resource that was seen, and no other of the same name.
pub(super) async fn set_finalizer(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    wanted: bool,
) -> Result<Finalizer, Error> {
    let (namespace, name) = (blueprint.namespace().unwrap_or_default(), blueprint.name_any());
    ctx.metrics.called("patch", "sorchablueprints");
    let changed = change_finalizer(&ctx.client, &namespace, &name, blueprint.uid().as_deref(), wanted).await;
    changed.map_err(Error::Status)
}

/// The same by name. Finalizers of others are read first: the cache does not hold them.
///
/// # Errors
/// When the API server does not do it.
pub(crate) async fn change_finalizer(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: Option<&str>,
    wanted: bool,
) -> Result<Finalizer, CallFault> {
    let request = Request::new(SorchaBlueprint::url_path(&(), Some(namespace)));
    for _ in 0..ATTEMPTS {
        let text = call::object(client, request.get_metadata(name, &GetParams::default())).await?;
        let held = text.as_deref().and_then(object::identity);
        let Some(held) = held.filter(|held| uid.is_none_or(|uid| uid == held.uid)) else {
            return Ok(Finalizer::Gone);
        };
        if held.deleted && wanted {
            return Ok(Finalizer::Gone);
        }
        let is_held = held.finalizers.iter().any(|name| name == FINALIZER);
        if is_held == wanted {
            return Ok(Finalizer::Set);
        }
        let mut finalizers: Vec<&str> =
            held.finalizers.iter().map(String::as_str).filter(|name| *name != FINALIZER).collect();
        finalizers.extend(wanted.then_some(FINALIZER));
        let body = json!({"metadata": {"resourceVersion": held.version, "finalizers": finalizers}});
        let parameters = PatchParams {
            field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match call::send(client, request.patch_metadata(name, &parameters, &Patch::Merge(body))).await {
            Ok(_) => return Ok(Finalizer::Set),
            Err(fault) if fault.code() == Some(404) => return Ok(Finalizer::Gone),
            // Another writer was first.
            Err(fault) if matches!(fault.code(), Some(CONFLICT | INVALID)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Err(CallFault::Away("others changed its metadata at each try".to_owned()))
}
