//! Conditions (Kubernetes API conventions): `type, status, reason, message, lastTransitionTime, observedGeneration`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::text::cut;

/// Longest message of a condition, characters: it quotes texts of other programs, and a status has many.
pub const MESSAGE_CHARS: usize = 1000;

/// The resource does what its spec asks for. kstatus, `kubectl wait`, Argo CD and Flux read this one.
pub const READY: &str = "Ready";
/// The objects of the resource are being brought to the spec, or wait for their turn.
pub const PROGRESSING: &str = "Progressing";
/// Reconciliation is paused by `spec.suspend` or the annotation.
pub const PAUSED: &str = "Paused";
/// The nodes have a certificate that their counterparts accept; `False` with the reason `PlainText` when TLS is disabled.
pub const CERTIFICATE_VALID: &str = "CertificateValid";
/// Central node: its store answers.
pub const STORE_REACHABLE: &str = "StoreReachable";
/// Central node: its register passed the integrity check.
pub const REGISTER_VALID: &str = "RegisterValid";
/// Central node: publishers exist, in all the ways that its spec asks for.
pub const PUBLISHERS_CONFIGURED: &str = "PublishersConfigured";
/// Central node: the newest backup that was due has been made; only where backups are asked for.
pub const BACKED_UP: &str = "BackedUp";
/// Central node: every connected peer holds the newest version. Blueprint: every connected peer holds it.
pub const CONVERGED: &str = "Converged";
/// Reason of `Converged`: connected peers have been behind for too long.
pub const PEERS_LAGGING: &str = "PeersLagging";
/// Reason of `Converged`: central nodes of one network serve registers of different lineages.
pub const LINEAGES_DIFFER: &str = "LineagesDiffer";
/// Peer: every replica is connected to a central node.
pub const CONNECTED: &str = "Connected";
/// Peer: every replica holds its central node's newest version.
pub const SYNCED: &str = "Synced";
/// Peer: at least one replica reaches no central node and serves the last good register.
pub const ISOLATED: &str = "Isolated";
/// Peer: a register of another lineage was met; nothing was merged.
pub const SPLIT_BRAIN: &str = "SplitBrain";
/// Peer: no central node contradicts what the replicas hold, and none has lost it.
pub const HISTORY_INTACT: &str = "HistoryIntact";
/// Blueprint: the register holds this document under this id.
pub const PUBLISHED: &str = "Published";

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl ConditionStatus {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// One condition; [`merge`] adds time and generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Condition type.
    pub type_: &'static str,
    /// Its status.
    pub status: ConditionStatus,
    /// One CamelCase word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Finding {
    /// A finding, its message cut to the limit.
    #[must_use]
    pub fn new(
        type_: &'static str,
        status: impl Into<ConditionStatus>,
        reason: &'static str,
        message: impl AsRef<str>,
    ) -> Self {
        Self { type_, status: status.into(), reason, message: cut(message.as_ref(), MESSAGE_CHARS) }
    }
}

/// The conditions of `findings`: an unchanged status keeps its `lastTransitionTime`, and types without a finding are removed.
/// Equal input gives equal output, so that an unchanged status is not written.
#[must_use]
pub fn merge(
    before: &[Condition],
    findings: Vec<Finding>,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    findings
        .into_iter()
        .map(|finding| {
            let same = before
                .iter()
                .find(|c| c.type_ == finding.type_ && c.status == finding.status.as_str())
                .map(|c| c.last_transition_time.clone());
            Condition {
                type_: finding.type_.to_owned(),
                status: finding.status.as_str().to_owned(),
                reason: finding.reason.to_owned(),
                message: finding.message,
                last_transition_time: same.unwrap_or_else(|| now.clone()),
                observed_generation: generation,
            }
        })
        .collect()
}

/// Whether a condition type has the status `True`.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        serde_json::from_value(text.into()).expect("a time")
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let (first, second) = (at("2026-11-22T10:00:00Z"), at("2026-11-22T11:00:00Z"));
        let before = merge(&[], vec![Finding::new(READY, false, "Starting", "0 of 3")], Some(1), &first);
        let message =
            merge(&before, vec![Finding::new(READY, false, "Starting", "1 of 3")], Some(2), &second);
        assert_eq!(message[0].last_transition_time, first);
        assert_eq!((message[0].message.as_str(), message[0].observed_generation), ("1 of 3", Some(2)));
        let flipped = merge(&message, vec![Finding::new(READY, true, "Ready", "3 of 3")], Some(2), &second);
        assert_eq!(flipped[0].last_transition_time, second);
    }

    #[test]
    fn a_message_is_bounded_whoever_wrote_it() {
        let finding = Finding::new(READY, false, "Rejected", "é".repeat(700_000));
        assert_eq!(finding.message.chars().count(), MESSAGE_CHARS);
    }

    #[test]
    fn a_type_that_nothing_is_said_of_is_gone() {
        let now = at("2026-11-22T10:00:00Z");
        let before = merge(&[], vec![Finding::new(PAUSED, true, "Suspended", "")], Some(1), &now);
        assert_eq!(merge(&before, vec![], Some(1), &now), vec![]);
    }
}
