//! How a blueprint stands: a function of spec, what came of the last look at the register, and the central nodes.

use std::sync::Arc;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::runtime::events::Event;
use sorcha_crds::{
    SorchaBlueprint, SorchaBlueprintStatus, SorchaCentralNode,
    conditions::{self, CONVERGED, ConditionStatus, Finding, PAUSED, PUBLISHED, READY},
    text::{NAME, cut},
};

use super::spread::{Spread, converged, spread};
use crate::{
    events::note,
    publication::{Entry, Outcome, Refusal, publisher::Made},
    reconcile::Difference,
};

/// Reason of `Ready` while a deleted resource waits for its blueprint to be deprecated.
pub(super) const DEPRECATING: &str = "Deprecating";
/// In its message, between the limit and what is waited for.
pub(super) const LONGEST: &str = " at the longest: ";

/// What is known of a blueprint now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The register was looked at.
    Looked(Outcome),
    /// Nothing is done, because the annotation asks for it.
    Paused,
    /// The resource is deleted; the blueprint is to be deprecated first.
    Leaving {
        /// What that waits for.
        why: String,
        /// It waits no longer.
        until: Time,
    },
}

/// The status.
pub(super) fn status(
    blueprint: &SorchaBlueprint,
    standing: &Standing,
    nodes: &[Arc<SorchaCentralNode>],
    now: &Time,
) -> SorchaBlueprintStatus {
    let before = blueprint.status.clone().unwrap_or_default();
    let mut status = match standing {
        Standing::Looked(Outcome::InRegister { entry, central }) => held(entry, central, &before),
        _ => before.clone(),
    };
    status.observed_generation = blueprint.metadata.generation;
    let spread = status.version.map(|version| spread(version, nodes));
    status.peers_up_to_date = spread.map(|spread| spread.up_to_date);
    status.peers_total = spread.map(|spread| spread.total);
    status.peers = spread.map(|Spread { up_to_date, total, .. }| format!("{up_to_date}/{total}"));
    let findings = vec![
        ready(blueprint, standing, &status),
        published(blueprint, standing, &status),
        converged_finding(standing, &status, spread),
        paused(standing),
    ];
    status.conditions = conditions::merge(&before.conditions, findings, blueprint.metadata.generation, now);
    status
}

fn held(entry: &Entry, central: &str, before: &SorchaBlueprintStatus) -> SorchaBlueprintStatus {
    // The answer to a publication does not tell who published; an earlier look may have.
    let known = before.published_by.as_deref().filter(|_| before.checksum.as_ref() == Some(&entry.checksum));
    let known = known.map(|by| cut(by, NAME));
    SorchaBlueprintStatus {
        version: Some(entry.version),
        checksum: Some(entry.checksum.clone()),
        published_at: Some(in_seconds(&entry.published_at)),
        published_by: entry.published_by.clone().or(known),
        active: Some(entry.is_active),
        central_node: Some(central.to_owned()),
        ..SorchaBlueprintStatus::default()
    }
}

/// Times of a status have no fractions.
fn in_seconds(time: &Time) -> Time {
    Time(Timestamp::from_second(time.0.as_second()).unwrap_or_default())
}

/// Whether the register was last seen to be as the spec wants it.
fn is_as_wanted(blueprint: &SorchaBlueprint, status: &SorchaBlueprintStatus) -> bool {
    status.checksum.is_some() && status.active == Some(blueprint.spec.active)
}

const fn state(active: Option<bool>) -> &'static str {
    if let Some(false) = active { "Deprecated" } else { "Published" }
}

fn ready(blueprint: &SorchaBlueprint, standing: &Standing, status: &SorchaBlueprintStatus) -> Finding {
    let so = is_as_wanted(blueprint, status);
    let as_wanted = || {
        let how = if status.active == Some(false) { "inactive" } else { "active" };
        let message = format!("{} is {how} in the register", blueprint.blueprint_id());
        Finding::new(READY, true, state(status.active), message)
    };
    match standing {
        Standing::Leaving { why, until } => {
            let message = format!("deleted; deprecates the blueprint first, until {}{LONGEST}{why}", until.0);
            Finding::new(READY, false, DEPRECATING, message)
        }
        Standing::Looked(Outcome::Refused(refusal)) => {
            Finding::new(READY, false, refusal.reason(), refusal.to_string())
        }
        // What was so is so until somebody has looked: a central node that is away changes nothing in the register.
        Standing::Looked(_) | Standing::Paused if so => as_wanted(),
        Standing::Looked(Outcome::Waiting(why)) => Finding::new(READY, false, "Waiting", why),
        Standing::Looked(Outcome::InRegister { .. }) => {
            Finding::new(READY, false, "Waiting", "others change this blueprint at the same time")
        }
        Standing::Paused => Finding::new(READY, false, "Suspended", "reconciliation is paused"),
    }
}

/// The refusal that keeps the document out of the register. One of a change of a published blueprint does not.
fn keeps_out<'a>(standing: &'a Standing, status: &SorchaBlueprintStatus) -> Option<&'a Refusal> {
    match standing {
        Standing::Looked(Outcome::Refused(refusal)) if refusal.is_ones_own() && status.checksum.is_some() => {
            None
        }
        Standing::Looked(Outcome::Refused(refusal)) => Some(refusal),
        _ => None,
    }
}

fn published(blueprint: &SorchaBlueprint, standing: &Standing, status: &SorchaBlueprintStatus) -> Finding {
    if let Some(refusal) = keeps_out(standing, status) {
        return Finding::new(PUBLISHED, false, refusal.reason(), refusal.to_string());
    }
    if let (Some(version), Some(_)) = (status.version, &status.checksum) {
        let by = status.published_by.as_ref().map_or_else(String::new, |by| format!(", published by {by}"));
        let message = format!("{} is in the register at version {version}{by}", blueprint.blueprint_id());
        return Finding::new(PUBLISHED, true, state(status.active), message);
    }
    match standing {
        Standing::Looked(Outcome::Waiting(why)) => Finding::new(PUBLISHED, false, "Waiting", why),
        _ => {
            Finding::new(PUBLISHED, ConditionStatus::Unknown, "NotLookedAt", "the register was not looked at")
        }
    }
}

fn converged_finding(standing: &Standing, status: &SorchaBlueprintStatus, spread: Option<Spread>) -> Finding {
    match (keeps_out(standing, status), status.version.zip(spread)) {
        (None, Some((version, spread))) => converged(version, spread),
        _ => {
            let message = "the document is not published";
            Finding::new(CONVERGED, ConditionStatus::Unknown, "NotPublished", message)
        }
    }
}

fn paused(standing: &Standing) -> Finding {
    match standing {
        Standing::Paused => {
            let message = "not reconciled: annotation sorcha.dev/paused is \"true\"";
            Finding::new(PAUSED, true, "Suspended", message)
        }
        _ => Finding::new(PAUSED, false, "Reconciling", ""),
    }
}

pub(super) fn difference(before: &SorchaBlueprintStatus, after: &SorchaBlueprintStatus) -> Difference {
    let steady = |status: &SorchaBlueprintStatus| {
        let mut conditions = status.conditions.clone();
        for condition in &mut conditions {
            if condition.type_ == CONVERGED {
                condition.message.clear();
            }
        }
        let counted = SorchaBlueprintStatus {
            peers: None,
            peers_up_to_date: None,
            peers_total: None,
            ..status.clone()
        };
        SorchaBlueprintStatus { conditions, ..counted }
    };
    if before == after {
        Difference::None
    } else if steady(before) == steady(after) {
        Difference::Counts
    } else {
        Difference::Real
    }
}

/// Events of the steps that were made, and of a refusal that is new.
pub(super) fn events(
    made: &[Made],
    before: &SorchaBlueprintStatus,
    after: &SorchaBlueprintStatus,
) -> Vec<Event> {
    let version = after.version.unwrap_or_default();
    let central = after.central_node.as_deref().unwrap_or("a central node");
    let by_hand = before.observed_generation == after.observed_generation && before.checksum.is_some();
    let mut events: Vec<Event> = made
        .iter()
        .map(|step| {
            let (reason, did) = match step {
                Made::Published { new: true } => ("Published", "published".to_owned()),
                Made::Published { new: false } => {
                    let by = after.published_by.as_deref().unwrap_or("somebody");
                    ("Published", format!("the same document was published already, by {by}: adopted"))
                }
                Made::Deprecated if by_hand => {
                    ("Deprecated", "somebody had reactivated it: deprecated again".to_owned())
                }
                Made::Deprecated => ("Deprecated", "deprecated".to_owned()),
                Made::Reactivated if by_hand => {
                    ("Reactivated", "somebody had deprecated it: reactivated".to_owned())
                }
                Made::Reactivated => ("Reactivated", "reactivated".to_owned()),
            };
            note(reason.to_owned(), format!("{did}; version {version} at {central}"), true)
        })
        .collect();
    events.extend(refused(&before.conditions, &after.conditions));
    events
}

fn refused(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let of = |conditions: &[Condition]| {
        conditions
            .iter()
            .find(|c| c.type_ == PUBLISHED && c.status == "False" && c.reason != "Waiting")
            .cloned()
    };
    let (then, now) = (of(before), of(after)?);
    let same = then.is_some_and(|then| then.reason == now.reason);
    (!same).then(|| note(now.reason, now.message, false))
}
