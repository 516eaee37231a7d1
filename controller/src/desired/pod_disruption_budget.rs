//! How many pods may be away on purpose: one.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::meta::Owner;
use crate::names::{self, Component, label};

fn one_away(
    metadata: ObjectMeta,
    selector: std::collections::BTreeMap<String, String>,
) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(LabelSelector { match_labels: Some(selector), ..LabelSelector::default() }),
        // A pod that is not ready serves nobody: it must never block the drain of a machine.
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata, spec: Some(spec), ..PodDisruptionBudget::default() }
}

/// Over the replicas of one peer resource.
#[must_use]
pub(crate) fn peer_budget(owner: &Owner) -> PodDisruptionBudget {
    one_away(owner.meta(&owner.name), owner.selector())
}

/// Over all central nodes of a network.
#[must_use]
pub(crate) fn network_budget(owner: &Owner) -> PodDisruptionBudget {
    let selector =
        [(label::COMPONENT, Component::CentralNode.label()), (label::NETWORK, owner.network.as_str())];
    let selector = selector.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    one_away(owner.meta(names::network_budget(&owner.network)), selector)
}
