//! What publishers asked for and what they were told, and whether a register agrees with it.

use std::collections::{BTreeMap, BTreeSet};

/// The blueprint that every register begins with.
pub const SEED: &str = "register-creation-v1";

/// What a publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is stored, in this state.
    Acknowledged(State),
    /// It is not stored.
    Refused,
    /// Nobody knows: there was no answer, or one that leaves it open. The state that was asked for.
    Unknown {
        /// Whether the blueprint would be active then.
        is_active: bool,
    },
}

/// A blueprint's place in the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Version of its newest state.
    pub version: i64,
    /// False once deprecated.
    pub is_active: bool,
}

/// An entry as a node lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Blueprint id.
    pub id: String,
    /// Checksum of its document.
    pub checksum: String,
    /// Its place.
    pub state: State,
}

/// How much of a register a node must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// All of it.
    Everything,
    /// A full sync carries no deprecated entries.
    MayLackInactive,
}

/// How often something was asked for, by what was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored.
    pub acknowledged: usize,
    /// Not stored.
    pub refused: usize,
    /// Open.
    pub unknown: usize,
}

#[derive(Debug, Default)]
struct Blueprint {
    checksum: String,
    answers: Vec<Answer>,
}

/// All questions and answers. One publisher at a time asks for a blueprint, so that its answers have an order.
#[derive(Debug, Default)]
pub struct History {
    blueprints: BTreeMap<String, Blueprint>,
}

impl History {
    /// Notes an answer about a blueprint whose document has this checksum.
    pub fn note(&mut self, id: &str, checksum: &str, answer: Answer) {
        let blueprint = self.blueprints.entry(id.to_owned()).or_default();
        checksum.clone_into(&mut blueprint.checksum);
        blueprint.answers.push(answer);
    }

    /// How many answers of each kind there were.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for answer in self.blueprints.values().flat_map(|blueprint| &blueprint.answers) {
            match answer {
                Answer::Acknowledged(_) => counts.acknowledged += 1,
                Answer::Refused => counts.refused += 1,
                Answer::Unknown { .. } => counts.unknown += 1,
            }
        }
        counts
    }

    /// The highest version that anybody was told.
    #[must_use]
    pub fn highest(&self) -> i64 {
        self.acknowledged().map(|(_, state)| state.version).max().unwrap_or(0)
    }

    /// Ids that were acknowledged, with the checksums of their documents.
    pub fn acknowledged_ids(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_acknowledged =
            |b: &Blueprint| b.answers.iter().any(|answer| matches!(answer, Answer::Acknowledged(_)));
        let known = self.blueprints.iter().filter(move |(_, blueprint)| is_acknowledged(blueprint));
        known.map(|(id, blueprint)| (id.as_str(), blueprint.checksum.as_str()))
    }

    fn acknowledged(&self) -> impl Iterator<Item = (&str, State)> {
        self.blueprints.iter().flat_map(|(id, blueprint)| {
            blueprint.answers.iter().filter_map(move |answer| match answer {
                Answer::Acknowledged(state) => Some((id.as_str(), *state)),
                _ => None,
            })
        })
    }

    /// What a node's entries and the answers can't both be true of; empty when all is well.
    #[must_use]
    pub fn disagreements(&self, entries: &[Held], holder: Holder) -> Vec<String> {
        let mut wrong = self.contradictions();
        let mut versions = BTreeSet::new();
        let mut held = BTreeMap::new();
        for entry in entries {
            if !versions.insert(entry.state.version) {
                wrong.push(format!("version {} is held twice", entry.state.version));
            }
            if held.insert(entry.id.as_str(), entry).is_some() {
                wrong.push(format!("{} is held twice", entry.id));
            }
            if entry.id != SEED && !self.blueprints.contains_key(&entry.id) {
                wrong.push(format!("{}: nobody asked for it", entry.id));
            }
        }
        for (id, blueprint) in &self.blueprints {
            let entry = held.get(id.as_str()).copied();
            wrong.extend(blueprint.disagreement(entry, holder).map(|what| format!("{id}: {what}")));
        }
        wrong
    }

    /// Versions that were told about two blueprints.
    fn contradictions(&self) -> Vec<String> {
        let mut told: BTreeMap<i64, &str> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (id, State { version, .. }) in self.acknowledged() {
            if let Some(other) = told.insert(version, id).filter(|other| *other != id) {
                wrong.push(format!("version {version} was acknowledged for {other} and for {id}"));
            }
        }
        wrong
    }
}

impl Blueprint {
    /// Why what is held can't have come from the answers.
    fn disagreement(&self, held: Option<&Held>, holder: Holder) -> Option<String> {
        let newest = self.answers.iter().rposition(|answer| matches!(answer, Answer::Acknowledged(_)));
        let known = newest.and_then(|at| match self.answers[at] {
            Answer::Acknowledged(state) => Some(state),
            _ => None,
        });
        // What was left open after the newest acknowledgement may have happened.
        let open: Vec<bool> = self.answers[newest.map_or(0, |at| at + 1)..]
            .iter()
            .filter_map(|answer| match answer {
                Answer::Unknown { is_active } => Some(*is_active),
                _ => None,
            })
            .collect();
        let Some(held) = held else {
            let may_be_inactive = known.is_some_and(|state| !state.is_active) || open.contains(&false);
            let may_lack = holder == Holder::MayLackInactive && may_be_inactive;
            return match known {
                Some(state) if !may_lack => Some(format!("lost, acknowledged at version {}", state.version)),
                _ => None,
            };
        };
        if held.checksum != self.checksum {
            return Some(format!("its document has {}, published was {}", held.checksum, self.checksum));
        }
        let after = known.map_or(0, |state| state.version);
        let is_left_open = held.state.version > after && open.contains(&held.state.is_active);
        if Some(held.state) == known || is_left_open {
            return None;
        }
        Some(format!("held as {:?}; acknowledged was {known:?}, left open {open:?}", held.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: bool = true;

    fn state(version: i64, is_active: bool) -> State {
        State { version, is_active }
    }

    fn held(id: &str, version: i64, is_active: bool) -> Held {
        Held { id: id.into(), checksum: format!("sum of {id}"), state: state(version, is_active) }
    }

    fn told(answers: &[(&str, Answer)]) -> History {
        let mut history = History::default();
        for (id, answer) in answers {
            history.note(id, &format!("sum of {id}"), *answer);
        }
        history
    }

    fn agrees(history: &History, entries: &[Held]) -> bool {
        history.disagreements(entries, Holder::Everything).is_empty()
    }

    #[test]
    fn what_was_acknowledged_must_be_there_as_it_was_acknowledged() {
        let history = told(&[("a", Answer::Acknowledged(state(2, ACTIVE)))]);
        assert!(agrees(&history, &[held(SEED, 1, ACTIVE), held("a", 2, ACTIVE)]));
        let wrong = history.disagreements(&[], Holder::MayLackInactive);
        assert_eq!(wrong, ["a: lost, acknowledged at version 2"]);
        assert!(!agrees(&history, &[held("a", 3, ACTIVE)]));
        assert!(!agrees(&history, &[held("a", 2, !ACTIVE)]));
        let other = Held { checksum: "other".into(), ..held("a", 2, ACTIVE) };
        assert!(!agrees(&history, &[other]));
    }

    #[test]
    fn what_was_refused_must_not_be_there_and_what_is_open_may() {
        let refused = told(&[("a", Answer::Refused)]);
        assert!(agrees(&refused, &[]) && !agrees(&refused, &[held("a", 2, ACTIVE)]));
        let open = told(&[("a", Answer::Unknown { is_active: ACTIVE })]);
        assert!(agrees(&open, &[]) && agrees(&open, &[held("a", 2, ACTIVE)]));
        assert!(!agrees(&open, &[held("a", 2, !ACTIVE)]));
        assert!(!agrees(&open, &[held("b", 2, ACTIVE)]), "nobody asked for b");
    }

    #[test]
    fn an_open_change_may_have_happened_after_what_is_known() {
        let history = told(&[
            ("a", Answer::Unknown { is_active: ACTIVE }),
            ("a", Answer::Acknowledged(state(5, ACTIVE))),
            ("a", Answer::Unknown { is_active: !ACTIVE }),
            ("a", Answer::Refused),
        ]);
        assert!(agrees(&history, &[held("a", 5, ACTIVE)]) && agrees(&history, &[held("a", 9, !ACTIVE)]));
        assert!(!agrees(&history, &[held("a", 4, !ACTIVE)]) && !agrees(&history, &[held("a", 9, ACTIVE)]));
        assert!(!agrees(&history, &[]));
        assert!(history.disagreements(&[], Holder::MayLackInactive).is_empty());
    }

    #[test]
    fn versions_are_unique() {
        let twice = told(&[
            ("a", Answer::Acknowledged(state(2, ACTIVE))),
            ("b", Answer::Acknowledged(state(2, ACTIVE))),
        ]);
        assert!(twice.disagreements(&[], Holder::Everything)[0].contains("for a and for b"));
        let again = told(&[
            ("a", Answer::Acknowledged(state(2, ACTIVE))),
            ("a", Answer::Acknowledged(state(2, ACTIVE))),
        ]);
        assert!(agrees(&again, &[held("a", 2, ACTIVE)]));
        assert_eq!((again.highest(), again.counts().acknowledged), (2, 2));
        let history = told(&[("a", Answer::Unknown { is_active: ACTIVE })]);
        assert!(!agrees(&history, &[held(SEED, 2, ACTIVE), held("a", 2, ACTIVE)]));
    }
}
