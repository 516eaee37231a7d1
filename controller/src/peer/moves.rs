//! Which peers have moved to another central node, and why: what their reports say now against what they said before; pure.

use std::collections::BTreeMap;

/// Pods that one Event names of those that made the same move.
const NAMED: usize = 3;

/// Where a peer was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerPlace {
    /// Central node that it was connected to last.
    pub(super) central: Option<String>,
    /// Moves since its pod started.
    pub(super) failovers: i64,
    /// What went wrong last, in its own words.
    pub(super) trouble: Option<String>,
}

/// Where all peers of a resource were seen last, by pod.
pub(crate) type Places = BTreeMap<String, PeerPlace>;

/// What is known after another look. Of one that is on its way, where it was stays known, and so does what went wrong.
pub(super) fn known(before: &Places, now: &Places) -> Places {
    now.iter()
        .map(|(pod, place)| {
            let before = before.get(pod).cloned().unwrap_or_default();
            let arrived = place.central.is_some();
            let known = PeerPlace {
                central: place.central.clone().or(before.central),
                // Counted when it is somewhere again.
                failovers: if arrived { place.failovers } else { before.failovers.min(place.failovers) },
                trouble: place.trouble.clone().or(if arrived { None } else { before.trouble }),
            };
            (pod.clone(), known)
        })
        .collect()
}

/// The Event's text: who moved from where to where, and why. `why`: what is known of a central node that was left.
pub(super) fn told(before: &Places, now: &Places, why: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut moves: BTreeMap<(&str, &str, Option<String>), Vec<&str>> = BTreeMap::new();
    for (pod, place) in now {
        let (Some(then), Some(to)) = (before.get(pod), &place.central) else { continue };
        let Some(from) = &then.central else { continue };
        if place.failovers <= then.failovers {
            continue;
        }
        let reason = then.trouble.clone().or_else(|| why(from));
        moves.entry((from, to, reason)).or_default().push(pod);
    }
    let told: Vec<String> = moves
        .into_iter()
        .map(|((from, to, reason), pods)| {
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            if from == to {
                return format!("{} left {from} and came back to it{reason}", list(&pods));
            }
            format!("{} moved from {from} to {to}{reason}", list(&pods))
        })
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn list(pods: &[&str]) -> String {
    let (named, more) = (pods.len().min(NAMED), pods.len().saturating_sub(NAMED));
    match (&pods[..named], more) {
        ([one], _) => (*one).to_owned(),
        (named, 0) => {
            let (last, first) = named.split_last().map_or(("", named), |(last, first)| (*last, first));
            format!("{} and {last}", first.join(", "))
        }
        (named, more) => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(list: &[(&str, Option<&str>, i64, Option<&str>)]) -> Places {
        let place = |(pod, central, failovers, trouble): &(&str, Option<&str>, i64, Option<&str>)| {
            let place = PeerPlace {
                central: central.map(str::to_owned),
                failovers: *failovers,
                trouble: trouble.map(str::to_owned),
            };
            ((*pod).to_owned(), place)
        };
        list.iter().map(place).collect()
    }

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn an_event_names_who_moved_from_where_to_where_and_why() {
        let before = places(&[
            ("edge-0", Some("n0"), 0, None),
            ("edge-1", Some("n0"), 0, None),
            ("edge-2", Some("n0"), 1, None),
            ("edge-3", Some("n2"), 4, None),
        ]);
        let now = places(&[
            ("edge-0", Some("n1"), 1, None),
            ("edge-1", Some("n1"), 1, None),
            ("edge-2", Some("n2"), 2, None),
            ("edge-3", Some("n2"), 4, None),
        ]);
        let why = |central: &str| (central == "n0").then(|| "n0 is draining".to_owned());
        assert_eq!(
            told(&before, &now, why).as_deref(),
            Some(
                "edge-0 and edge-1 moved from n0 to n1 (n0 is draining); edge-2 moved from n0 to n2 (n0 is draining)"
            )
        );
        assert_eq!(told(&now, &now, why), None);
    }

    #[test]
    fn one_that_was_on_its_way_is_told_when_it_arrives() {
        let start = places(&[("edge-0", Some("n0"), 0, None)]);
        let away = places(&[("edge-0", None, 0, Some("heartbeats are missed: deadline"))]);
        let failed = places(&[("edge-0", None, 1, None)]);
        let there = places(&[("edge-0", Some("n1"), 1, None)]);
        assert_eq!(told(&start, &away, nothing), None);
        let known_then = known(&known(&start, &away), &failed);
        assert_eq!(told(&known_then, &failed, nothing), None);
        assert_eq!(
            told(&known_then, &there, nothing).as_deref(),
            Some("edge-0 moved from n0 to n1 (heartbeats are missed: deadline)")
        );
        assert_eq!(known(&known_then, &there), there);
    }

    #[test]
    fn a_pod_that_is_new_or_has_restarted_did_not_move() {
        let before = places(&[("edge-0", Some("n0"), 7, None)]);
        let now = places(&[("edge-0", Some("n1"), 0, None), ("edge-1", Some("n1"), 3, None)]);
        assert_eq!(told(&before, &now, nothing), None);
        assert_eq!(known(&before, &now), now);
    }

    #[test]
    fn many_are_counted() {
        let all = |central: &str, failovers: i64| {
            (0..9)
                .map(|pod| {
                    (
                        format!("edge-{pod}"),
                        PeerPlace { central: Some(central.into()), failovers, trouble: None },
                    )
                })
                .collect()
        };
        let (before, now): (Places, Places) = (all("n0", 0), all("n1", 1));
        assert_eq!(
            told(&before, &now, nothing).as_deref(),
            Some("edge-0, edge-1, edge-2 and 6 more moved from n0 to n1")
        );
        let back: Places = all("n0", 2);
        assert_eq!(
            told(&before, &back, nothing).as_deref(),
            Some("edge-0, edge-1, edge-2 and 6 more left n0 and came back to it")
        );
    }
}
