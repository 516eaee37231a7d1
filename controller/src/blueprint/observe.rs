//! What is known of a blueprint, of the central nodes of its network, and of the last look at their register; reads caches and
//! memories only.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use sorcha_crds::{
    SorchaBlueprint,
    conditions::{READY, is_true},
};

use crate::{
    cache::Caches,
    central,
    config::Settings,
    context::Ctx,
    network::{Network, age},
    publication::{Outcome, memory::Circumstances},
};

/// A blueprint and its surroundings.
pub(crate) struct BlueprintWorld {
    pub(super) settings: Arc<Settings>,
    /// The central nodes of its network in its namespace.
    pub(super) network: Network,
    /// Generation of the spec, and the central nodes that are ready.
    pub(super) circumstances: Circumstances,
    /// What came of the last look, and for how long that holds.
    pub(super) last: Option<(Outcome, Duration)>,
    /// Many of its namespace are being looked at.
    pub(super) is_crowded: bool,
    /// An older resource with its id.
    pub(super) older: Option<String>,
    /// All blueprints.
    pub(super) count: usize,
    pub(super) now: Time,
}

impl BlueprintWorld {
    pub(super) fn of(ctx: &Ctx, blueprint: &SorchaBlueprint) -> Self {
        let namespace = blueprint.namespace().unwrap_or_default();
        let network = central::network_named(&ctx.caches, &namespace, &blueprint.spec.network);
        let is_leaving = blueprint.metadata.deletion_timestamp.is_some();
        // A deleted resource has no further generation; what was remembered of it alive says nothing then.
        let generation = blueprint.metadata.generation.filter(|_| !is_leaving);
        let circumstances = Circumstances { generation, ready: ready(&network) };
        let last = ctx.publisher.memory.recall(&blueprint.uid().unwrap_or_default(), &circumstances);
        let is_crowded = ctx.publisher.lanes.are_full(&namespace);
        // All blueprints are gone through for it: only before a look.
        let is_asked = last.is_none() && !is_crowded && !is_leaving;
        Self {
            settings: Arc::clone(&ctx.settings),
            older: is_asked.then(|| older(&ctx.caches, blueprint)).flatten(),
            count: ctx.caches.blueprints.len(),
            now: Ctx::now(),
            network,
            circumstances,
            last,
            is_crowded,
        }
    }
}

fn ready(network: &Network) -> Vec<String> {
    let ready = network
        .nodes
        .iter()
        .filter(|node| node.status.as_ref().is_some_and(|status| is_true(&status.conditions, READY)));
    ready.map(|node| node.name_any()).collect()
}

fn older(caches: &Caches, blueprint: &SorchaBlueprint) -> Option<String> {
    let mine = age(blueprint);
    let older = caches.blueprints.find(|other| {
        other.blueprint_id() == blueprint.blueprint_id()
            && other.spec.network == blueprint.spec.network
            && other.metadata.namespace == blueprint.metadata.namespace
            && other.metadata.deletion_timestamp.is_none()
            && age(other) < mine
    })?;
    Some(older.name_any())
}
