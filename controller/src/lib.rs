//! The controller: turns `SorchaCentralNode` and `SorchaPeer` resources into running nodes and
//! publishes `SorchaBlueprint` resources.
//!
//! The modules stand in the order in which data flows. A reconcile ([`reconcile`]) observes: it reads caches
//! (`cache`). It plans and builds (pure: `desired`, [`central`], `peer`, `blueprint`), applies what differs (`apply`,
//! [`publication`]), summarises (pure) and writes the status. It holds no state
//! that a restart loses: what is remembered only saves calls.
//!
//! Deliberately absent: webhooks, finalizers on nodes, documents of blueprints in memory, and the node's code: the two
//! programs meet in `sorcha_crds`, in `sorcha_config` and in the HTTP API.
//! Begin with [`run::run`], `reconcile::Pipeline`, [`context::Ctx`], `apply::Applier`.

pub mod config;
pub mod names;
pub mod metrics;
pub(crate) mod json;
pub(crate) mod feed;
pub(crate) mod cache;
pub mod network;
pub(crate) mod workload;
pub(crate) mod rollout;
pub(crate) mod desired;
pub(crate) mod apply;
pub(crate) mod reports;
pub(crate) mod events;
pub(crate) mod memo;
pub(crate) mod failures;
pub mod publication;
pub(crate) mod reviews;
pub mod context;
pub mod reconcile;
pub mod pki;
pub(crate) mod certificates;
pub(crate) mod claims;
pub mod central;
pub(crate) mod peer;
pub(crate) mod blueprint;
pub mod http;
pub mod leader;
pub mod run;
pub mod release;
pub mod logging;
pub mod drill;

#[cfg(test)]
pub(crate) mod fixtures;
