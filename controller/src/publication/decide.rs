//! What to do next about one blueprint: a function of what is wanted and what the register holds.

use std::time::Duration;

use super::{
    Entry, Refusal,
    document::{Document, Missing},
};

/// What is wanted of the register.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Id of the blueprint.
    pub id: String,
    /// The document as it is now.
    pub document: Result<Document, Missing>,
    /// Checksum of what was published, once it is known; from then on no other document will do.
    pub pinned: Option<String>,
    /// Whether the blueprint is to be active.
    pub active: bool,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Publish the document. Where the register holds the same one already, this only makes sure.
    Publish,
    /// Deprecate the blueprint.
    Deprecate,
    /// Reactivate it.
    Reactivate,
    /// Everything is as wanted.
    Nothing,
    /// Change nothing, and say why.
    Refuse(Refusal),
}

/// The next step towards what is wanted. Each step brings it nearer; three at most lead to [`Step::Nothing`].
#[must_use]
pub(crate) fn decide(wanted: &Wanted, held: Option<&Entry>) -> Step {
    let now = wanted.document.as_ref().map(|document| &document.checksum);
    if let (Ok(now), Some(pinned)) = (now, &wanted.pinned)
        && now != pinned
    {
        return Step::Refuse(Refusal::Changed { now: now.clone(), pinned: pinned.clone() });
    }
    // A document that is gone is not missed while the register has it.
    let ours = match (now, &wanted.pinned, held) {
        (Ok(now), _, _) => now,
        (Err(_), Some(pinned), Some(_)) => pinned,
        (Err(missing), _, _) => return Step::Refuse(missing.clone().into()),
    };
    let Some(held) = held else { return Step::Publish };
    if *ours != held.checksum {
        return Step::Refuse(conflict(ours, held));
    }
    match (&wanted.pinned, held.is_active, wanted.active) {
        (None, _, _) => Step::Publish,
        (Some(_), true, false) => Step::Deprecate,
        (Some(_), false, true) => Step::Reactivate,
        (Some(_), true, true) | (Some(_), false, false) => Step::Nothing,
    }
}

fn conflict(ours: &str, held: &Entry) -> Refusal {
    Refusal::Conflict {
        ours: ours.to_owned(),
        theirs: held.checksum.clone(),
        version: held.version,
        by: held.published_by.clone().unwrap_or_else(|| "somebody".to_owned()),
    }
}

/// Whether a blueprint whose resource goes is to be deprecated: it is ours, and active.
#[must_use]
pub(crate) fn is_to_be_deprecated(pinned: Option<&str>, held: Option<&Entry>) -> bool {
    held.is_some_and(|held| held.is_active && pinned == Some(held.checksum.as_str()))
}

/// Wait after the first failure; doubled with each further one.
const RETRY: Duration = Duration::from_secs(5);
/// Longest wait, jitter aside.
const LONGEST_RETRY: Duration = Duration::from_secs(120);

/// Wait after so many failures in a row, up to half longer as `random` (0 to 1) says, so that many don't come at once.
#[must_use]
pub(crate) fn retry(failures: u32, random: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    RETRY.saturating_mul(doubled).min(LONGEST_RETRY).mul_f64(1.0 + random.clamp(0.0, 1.0) / 2.0)
}

/// A period, a tenth shorter or longer as `random` (0 to 1) says.
#[must_use]
pub(crate) fn spread(period: Duration, random: f64) -> Duration {
    period.mul_f64(0.9 + random.clamp(0.0, 1.0) / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = r#"{"a":1}"#;
    const B: &str = r#"{"b":1}"#;

    fn document(text: &str) -> Document {
        Document::parse(text, "here").unwrap()
    }

    fn gone() -> Missing {
        Missing::ConfigMap { name: "docs".into(), key: "a".into(), namespace: "shop".into() }
    }

    fn wanted(text: Option<&str>, pinned: Option<&str>, active: bool) -> Wanted {
        Wanted {
            id: "a-v1".into(),
            document: text.map(document).ok_or_else(gone),
            pinned: pinned.map(|text| document(text).checksum),
            active,
        }
    }

    fn held(text: &str, is_active: bool) -> Entry {
        Entry {
            version: 7,
            checksum: document(text).checksum,
            is_active,
            published_at: serde_json::from_value("2026-11-22T10:00:00Z".into()).unwrap(),
            published_by: Some("alice".into()),
        }
    }

    #[test]
    fn one_step_for_each_state() {
        for (document, pinned, active, register, expected) in [
            (Some(A), None, true, None, Step::Publish),
            (Some(A), None, false, None, Step::Publish),
            (Some(A), Some(A), true, None, Step::Publish),
            (Some(A), None, true, Some((A, true)), Step::Publish),
            (Some(A), Some(A), true, Some((A, true)), Step::Nothing),
            (Some(A), Some(A), false, Some((A, true)), Step::Deprecate),
            (Some(A), Some(A), true, Some((A, false)), Step::Reactivate),
            (Some(A), Some(A), false, Some((A, false)), Step::Nothing),
            // The document is gone, but not needed.
            (None, Some(A), true, Some((A, true)), Step::Nothing),
            (None, Some(A), false, Some((A, true)), Step::Deprecate),
            (None, None, true, None, Step::Refuse(gone().into())),
            (None, None, true, Some((A, true)), Step::Refuse(gone().into())),
            (None, Some(A), true, None, Step::Refuse(gone().into())),
        ] {
            let entry = register.map(|(text, active)| held(text, active));
            let step = decide(&wanted(document, pinned, active), entry.as_ref());
            assert_eq!(step, expected, "{document:?} pinned {pinned:?} active {active} over {register:?}");
        }
    }

    #[test]
    fn another_document_changes_nothing_and_names_both() {
        let (a, b) = (document(A).checksum, document(B).checksum);
        for active in [true, false] {
            let Step::Refuse(refusal) = decide(&wanted(Some(A), None, active), Some(&held(B, true))) else {
                panic!("refused");
            };
            let told = refusal.to_string();
            assert_eq!(refusal.reason(), "Conflict");
            assert!(told.contains(&a) && told.contains(&b) && told.contains("version 7 by alice"), "{told}");
            for register in [None, Some(held(A, true)), Some(held(B, true))] {
                let Step::Refuse(refusal) = decide(&wanted(Some(B), Some(A), active), register.as_ref())
                else {
                    panic!("refused");
                };
                assert_eq!(refusal, Refusal::Changed { now: b.clone(), pinned: a.clone() });
            }
        }
    }

    #[test]
    fn every_start_settles_within_three_steps() {
        for active in [true, false] {
            for start in [None, Some(true), Some(false)] {
                let mut wanted = wanted(Some(A), None, active);
                let mut register = start.map(|is_active| held(A, is_active));
                let mut steps = 0;
                loop {
                    match decide(&wanted, register.as_ref()) {
                        Step::Nothing => break,
                        Step::Publish => {
                            let entry = register.clone().unwrap_or_else(|| held(A, true));
                            wanted.pinned = Some(entry.checksum.clone());
                            register = Some(entry);
                        }
                        Step::Deprecate => register = Some(held(A, false)),
                        Step::Reactivate => register = Some(held(A, true)),
                        Step::Refuse(refusal) => panic!("{refusal}"),
                    }
                    steps += 1;
                    assert!(steps < 3, "{wanted:?}");
                }
                assert_eq!(register.map(|entry| entry.is_active), Some(active));
            }
        }
    }

    #[test]
    fn only_what_is_ours_and_active_is_deprecated_at_the_end() {
        let ours = document(A).checksum;
        assert!(is_to_be_deprecated(Some(&ours), Some(&held(A, true))));
        assert!(!is_to_be_deprecated(Some(&ours), Some(&held(A, false))));
        assert!(!is_to_be_deprecated(Some(&ours), Some(&held(B, true))));
        assert!(!is_to_be_deprecated(None, Some(&held(A, true))));
        assert!(!is_to_be_deprecated(Some(&ours), None));
    }

    #[test]
    fn waits_grow_and_spread() {
        let seconds = |failures, random| retry(failures, random).as_secs_f64();
        assert_eq!([seconds(1, 0.0), seconds(2, 0.0), seconds(3, 1.0)], [5.0, 10.0, 30.0]);
        assert_eq!([seconds(9, 0.0), seconds(u32::MAX, 1.0)], [120.0, 180.0]);
        assert_eq!(spread(Duration::from_secs(600), 0.0), Duration::from_secs(540));
        assert_eq!(spread(Duration::from_secs(600), 1.0), Duration::from_secs(660));
    }
}
