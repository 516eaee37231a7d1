//! What Events tell of peers beside their conditions: who moved, and a resync that is done.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::events::Event;
use sorcha_crds::{SorchaPeer, SorchaPeerStatus};

use super::{
    moves::{self, PeerPlace, Places},
    observe::PeerWorld,
    replica::{Replica, replicas},
};
use crate::events::note;

fn places(peer: &SorchaPeer, world: &PeerWorld, now: &Time) -> Places {
    let replicas = replicas(peer, world, now);
    replicas.into_iter().map(|replica| (replica.name.clone(), place(&replica))).collect()
}

/// Where the peers are known to be after this look.
pub(super) fn known(peer: &SorchaPeer, world: &PeerWorld, now: &Time) -> Places {
    moves::known(world.places.as_deref().unwrap_or(&Places::new()), &places(peer, world, now))
}

/// Who has moved since the last look, in words.
fn moved(peer: &SorchaPeer, world: &PeerWorld, now: &Time) -> Option<String> {
    let before = world.places.as_deref()?;
    moves::told(before, &places(peer, world, now), |central| world.trouble(peer, central))
}

fn place(replica: &Replica) -> PeerPlace {
    let report = replica.report.clone().unwrap_or_default();
    let central = if replica.is_connected() { report.central_node } else { None };
    PeerPlace { central, failovers: report.failovers.unwrap_or_default(), trouble: report.message }
}

/// Moves to other central nodes, and a resync that is done.
pub(super) fn events(
    peer: &SorchaPeer,
    world: &PeerWorld,
    [before, after]: [&SorchaPeerStatus; 2],
    now: &Time,
) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(message) = moved(peer, world, now) {
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
