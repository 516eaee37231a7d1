//! Events, on transitions only: they follow from the conditions before and after, so that none is sent twice.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};
use sorcha_crds::conditions::{
    BACKED_UP, CERTIFICATE_VALID, CONVERGED, HISTORY_INTACT, ISOLATED, LINEAGES_DIFFER, PEERS_LAGGING, READY,
    REGISTER_VALID, SPLIT_BRAIN, STORE_REACHABLE,
};

/// Longest note that the API server takes, bytes.
const NOTE_BYTES: usize = 1000;

/// A resource is new for so long: what is missing then is usually on its way.
pub(crate) const START: Duration = Duration::from_secs(180);

/// What a change of conditions has to tell.
#[derive(Default)]
pub(crate) struct Told {
    /// Events.
    pub events: Vec<Event>,
    /// Faults that a start passes through; told when they are still there once it is over.
    pub held_back: Vec<Condition>,
}

/// Events of a change of conditions; `new`: the resource was made less than [`START`] ago.
#[must_use]
pub(crate) fn transitions(before: &[Condition], after: &[Condition], new: bool) -> Told {
    let mut told = Told::default();
    if before.is_empty() {
        return told;
    }
    for now in after {
        let then = before.iter().find(|c| c.type_ == now.type_);
        if now.type_ == CONVERGED {
            told.events.extend(divided(then, now));
            continue;
        }
        let same = then.is_some_and(|then| {
            then.status == now.status && (then.reason == now.reason || !reasons_count(&now.type_))
        });
        let from_ready = then.is_some_and(|then| then.status == "True");
        let usual = USUAL.contains(&now.reason.as_str()) && !from_ready;
        // That all is well from the start is told by Ready alone.
        let first = now.type_ != READY && then.is_none_or(|then| then.status == "Unknown");
        if same || usual || (then.is_none() || first) && is_good(now) {
            continue;
        }
        let passing = AT_START.contains(&now.reason.as_str()) && !is_good(now);
        if new && passing && !has_served(before) {
            told.held_back.push(now.clone());
        } else {
            told.events.extend(event(now));
        }
    }
    told
}

/// A resource that was ready once has its start behind it.
fn has_served(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.type_ == READY && condition.status == "True")
}

/// Events of faults that a start did not pass, but was left with.
#[must_use]
pub(crate) fn overdue(held_back: &[Condition], now: &[Condition]) -> Vec<Event> {
    let same =
        |a: &Condition, b: &Condition| (&a.type_, &a.status, &a.reason) == (&b.type_, &b.status, &b.reason);
    let still = now.iter().filter(|now| held_back.iter().any(|held| same(held, now)));
    still.filter_map(event).collect()
}

/// That publications are on their way is usual; that some peers don't follow, or central nodes disagree, is not.
fn divided(then: Option<&Condition>, now: &Condition) -> Option<Event> {
    let unusual = |condition: &Condition| {
        [(PEERS_LAGGING, "PeersCaughtUp"), (LINEAGES_DIFFER, "LineagesAgree")]
            .into_iter()
            .find(|(reason, _)| condition.reason == *reason)
    };
    match (then.and_then(unusual), unusual(now)) {
        (then, Some((reason, _))) if then.is_none_or(|(before, _)| before != reason) => {
            Some(note(reason.to_owned(), now.message.clone(), false))
        }
        (Some((_, over)), None) if now.status != "Unknown" => {
            Some(note(over.to_owned(), now.message.clone(), true))
        }
        _ => None,
    }
}

/// Conditions whose reason is worth an Event of its own.
fn reasons_count(type_: &str) -> bool {
    [READY, CERTIFICATE_VALID, HISTORY_INTACT, REGISTER_VALID].contains(&type_)
}

fn is_good(condition: &Condition) -> bool {
    let bad_when_true = matches!(condition.type_.as_str(), ISOLATED | SPLIT_BRAIN);
    // A certificate that ends soon is still valid.
    let warns = condition.reason == "ExpiringSoon";
    condition.status == if bad_when_true { "False" } else { "True" } && !warns
}

/// Reasons that every start and every update pass through.
const USUAL: [&str; 7] = [
    "PodMissing",
    "PodStarting",
    "PodTerminating",
    "NotServing",
    "Updating",
    "WaitingForTurn",
    "WaitingForCertificate",
];

/// Reasons that a start may pass through: peers that come before their central node, volumes that are being made, a
/// database that is starting.
const AT_START: [&str; 4] = ["NoCentralNode", "PodUnschedulable", "StoreUnreachable", "Unreachable"];

fn event(condition: &Condition) -> Option<Event> {
    let told = [
        READY,
        ISOLATED,
        SPLIT_BRAIN,
        HISTORY_INTACT,
        STORE_REACHABLE,
        REGISTER_VALID,
        CERTIFICATE_VALID,
        BACKED_UP,
    ]
    .contains(&condition.type_.as_str());
    let known = condition.status != "Unknown";
    (told && known).then(|| note(condition.reason.clone(), condition.message.clone(), is_good(condition)))
}

/// An Event.
#[must_use]
pub(crate) fn note(reason: String, mut message: String, good: bool) -> Event {
    if message.len() > NOTE_BYTES {
        let end = (0..=NOTE_BYTES).rev().find(|i| message.is_char_boundary(*i)).unwrap_or_default();
        message.truncate(end);
    }
    Event {
        type_: if good { EventType::Normal } else { EventType::Warning },
        reason,
        note: Some(message),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use sorcha_crds::conditions::{ConditionStatus, Finding, merge};

    use super::*;

    fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Event> {
        super::transitions(before, after, false).events
    }

    #[test]
    fn a_start_tells_no_faults_that_it_passes_through() {
        let isolated = |now: bool| {
            let (reason, message) = if now { ("NoCentralNode", "1 of 1") } else { ("NotIsolated", "") };
            Finding::new(ISOLATED, now, reason, message)
        };
        let start = conditions(&[], isolated(false));
        let cut_off = conditions(&start, isolated(true));
        let told = super::transitions(&start, &cut_off, true);
        assert!(told.events.is_empty());
        assert!(overdue(&told.held_back, &conditions(&cut_off, isolated(false))).is_empty(), "it has passed");
        let late = overdue(&told.held_back, &cut_off);
        assert_eq!(
            (late.len(), late[0].reason.as_str(), late[0].type_),
            (1, "NoCentralNode", EventType::Warning)
        );
        // One that is not at its start tells it at once.
        assert_eq!(super::transitions(&start, &cut_off, false).events.len(), 1);
    }

    #[test]
    fn a_start_tells_what_a_user_must_mend() {
        let start = conditions(&[], Finding::new(READY, false, "PodStarting", ""));
        for reason in ["SecretNotFound", "PodFailing", "NameTaken", "Conflict", "InvalidSpec"] {
            let failed = conditions(&start, Finding::new(READY, false, reason, "why"));
            assert_eq!(super::transitions(&start, &failed, true).events.len(), 1, "{reason}");
        }
        let unbound = conditions(&start, Finding::new(READY, false, "PodUnschedulable", "unbound claims"));
        assert!(super::transitions(&start, &unbound, true).events.is_empty());
        let ready = conditions(&start, Finding::new(READY, true, "Serving", ""));
        let lost = conditions(&ready, Finding::new(READY, false, "PodUnschedulable", "no machine"));
        assert_eq!(super::transitions(&ready, &lost, true).events.len(), 1, "it has served already");
    }

    fn conditions(before: &[Condition], finding: Finding) -> Vec<Condition> {
        let now = serde_json::from_value("2026-11-22T10:00:00Z".into()).expect("a time");
        merge(before, vec![finding], Some(1), &now)
    }

    #[test]
    fn one_event_a_transition() {
        let starting = conditions(&[], Finding::new(READY, false, "Starting", "0 of 3"));
        assert!(transitions(&[], &starting).is_empty(), "a new resource");
        let still = conditions(&starting, Finding::new(READY, false, "Starting", "1 of 3"));
        assert!(transitions(&starting, &still).is_empty(), "only the message moved");
        let ready = conditions(&still, Finding::new(READY, true, "Ready", "3 of 3"));
        let events = transitions(&still, &ready);
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].reason.as_str(), events[0].type_), ("Ready", EventType::Normal));
        assert!(transitions(&ready, &ready).is_empty());
    }

    #[test]
    fn a_good_start_is_told_once() {
        let start = |ready: bool, reason, known: ConditionStatus| {
            let now = serde_json::from_value("2026-11-22T10:00:00Z".into()).expect("a time");
            let findings = vec![
                Finding::new(READY, ready, reason, ""),
                Finding::new(STORE_REACHABLE, known, "Reachable", ""),
            ];
            merge(&[], findings, Some(1), &now)
        };
        let steps = [
            start(false, "PodStarting", ConditionStatus::Unknown),
            start(false, "NotServing", ConditionStatus::Unknown),
            start(true, "Serving", ConditionStatus::True),
        ];
        let told: Vec<_> = steps.windows(2).flat_map(|pair| transitions(&pair[0], &pair[1])).collect();
        let reasons: Vec<&str> = told.iter().map(|event| event.reason.as_str()).collect();
        assert_eq!(reasons, ["Serving"]);
        let away = transitions(&steps[1], &start(false, "NotServing", ConditionStatus::False));
        assert_eq!(away[0].type_, EventType::Warning, "a store that does not answer is told");
    }

    #[test]
    fn isolation_is_a_warning_and_its_end_is_not() {
        let well = conditions(&[], Finding::new(ISOLATED, false, "Connected", ""));
        let isolated = conditions(&well, Finding::new(ISOLATED, true, "NoCentralNode", "1 of 3"));
        assert_eq!(transitions(&well, &isolated)[0].type_, EventType::Warning);
        assert_eq!(transitions(&isolated, &well)[0].type_, EventType::Normal);
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let event = note("Ready".into(), "ä".repeat(800), true);
        assert!(event.note.is_some_and(|note| note.len() <= NOTE_BYTES));
    }

    #[test]
    fn laggards_are_told_about_when_there_are_some_and_when_there_are_none_left() {
        let step = |before: &[Condition], good, reason| {
            conditions(before, Finding::new(CONVERGED, good, reason, "1 of 2"))
        };
        let start = step(&[], false, "Replicating");
        let lagging = step(&start, false, PEERS_LAGGING);
        let told = |before: &[Condition], after: &[Condition]| {
            transitions(before, after).into_iter().map(|event| event.reason).collect::<Vec<_>>()
        };
        assert_eq!(told(&start, &lagging), [PEERS_LAGGING]);
        assert!(told(&lagging, &lagging).is_empty());
        assert_eq!(told(&lagging, &step(&lagging, true, "Converged")), ["PeersCaughtUp"]);
        assert!(told(&start, &step(&start, true, "Converged")).is_empty(), "publications are usual");
    }

    #[test]
    fn two_lineages_and_a_lost_register_are_told_about() {
        let step = |before: &[Condition], type_, good, reason| {
            conditions(before, Finding::new(type_, good, reason, "ab12 and cd34"))
        };
        let told = |before: &[Condition], after: &[Condition]| {
            transitions(before, after).into_iter().map(|event| event.reason).collect::<Vec<_>>()
        };
        let one = step(&[], CONVERGED, true, "Converged");
        let two = step(&one, CONVERGED, false, LINEAGES_DIFFER);
        assert_eq!(told(&one, &two), [LINEAGES_DIFFER]);
        assert!(told(&two, &two).is_empty());
        assert_eq!(told(&two, &step(&two, CONVERGED, false, PEERS_LAGGING)), [PEERS_LAGGING]);
        assert_eq!(told(&two, &one), ["LineagesAgree"]);
        let sound = step(&[], REGISTER_VALID, true, "Verified");
        let lost = step(&sound, REGISTER_VALID, false, "RegisterLost");
        assert_eq!(told(&sound, &lost), ["RegisterLost"]);
        assert_eq!(
            told(&lost, &step(&lost, REGISTER_VALID, false, "RegisterExchanged")),
            ["RegisterExchanged"]
        );
    }
}
