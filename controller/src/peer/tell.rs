//! What Events tell of peers beside their conditions: who moved, and a resync that is done.

use std::sync::Arc;

use kube::{ResourceExt as _, runtime::events::Event};
use sorcha_crds::{SorchaPeer, SorchaPeerStatus};

use super::{
    moves::{self, Place, Places},
    observe::{self, Observed},
    status::{Replica, replicas},
};
use crate::{context::Ctx, events::note};

fn places(peer: &SorchaPeer, ctx: &Ctx) -> Places {
    let now = replicas(peer, &Observed::of(ctx, peer), observe::head(&ctx.caches, peer), &Ctx::now());
    now.into_iter().map(|replica| (replica.name.clone(), place(&replica))).collect()
}

/// Notes where peers are at the first look of this process, so that the first move is told.
pub(super) fn first_look(peer: &SorchaPeer, ctx: &Ctx) {
    let uid = peer.uid().unwrap_or_default();
    if ctx.places.last(&uid).is_none() {
        ctx.places.put(uid, Arc::new(places(peer, ctx)));
    }
}

/// Who has moved since the last look, in words.
fn moved(peer: &SorchaPeer, ctx: &Ctx) -> Option<String> {
    let (uid, now) = (peer.uid().unwrap_or_default(), places(peer, ctx));
    let before = ctx.places.last(&uid);
    let known = moves::known(before.as_deref().unwrap_or(&Places::new()), &now);
    ctx.places.put(uid, Arc::new(known));
    moves::told(before.as_deref()?, &now, |central| observe::trouble(&ctx.caches, peer, central))
}

fn place(replica: &Replica) -> Place {
    let report = replica.report.clone().unwrap_or_default();
    let central = if replica.is_connected() { report.central_node } else { None };
    Place { central, failovers: report.failovers.unwrap_or_default(), trouble: report.message }
}

/// Moves to other central nodes, and a resync that is done.
pub(super) fn events(
    peer: &SorchaPeer,
    ctx: &Ctx,
    before: &SorchaPeerStatus,
    after: &SorchaPeerStatus,
) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(message) = moved(peer, ctx) {
        events.push(note("FailedOver".to_owned(), message, true));
    }
    // What is done at the first look was asked for before.
    if before.failovers.is_none() {
        return events;
    }
    if let Some(token) = &after.force_resync
        && before.force_resync != after.force_resync
    {
        events.push(note(
            "Resynced".to_owned(),
            format!("every replica has fetched the register anew, as {token:?} asked"),
            true,
        ));
    }
    events
}
