//! The authority of a network, and how one follows another; pure.
//!
//! 1. `Stable`: one authority. When it is due or somebody asks, a new one is made, which does not sign yet.
//! 2. `Distributing`: everybody is told to trust both. When every node has had the time to learn that, the new one signs.
//! 3. `Replacing`: every certificate is made anew. When the last one has been in use long enough, and none that was
//!    handed out to the outside lives any more, the old authority is forgotten.
//!
//! So at every moment any two nodes accept each other, whichever of the last contents of its Secret each of them uses.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    BACKDATE, Policy,
    issue::{Key, Pair},
    later, renew_at,
    x509::{self, Certificate},
};

/// Where a change of authorities is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none.
    Stable,
    /// The new authority is made known and does not sign yet.
    Distributing,
    /// The new authority signs; certificates of the old one are being replaced.
    Replacing,
}

/// What the authority's Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// The newest authority.
    pub newest: Pair,
    /// Older ones that are still trusted, the last one first.
    pub previous: Vec<Certificate>,
    /// Key of the last one, while it signs. Missing though `Distributing`: it is lost.
    pub previous_key: Option<Key>,
    /// Where a change is.
    pub phase: Phase,
    /// Until when a certificate lives that the signing authority gave to a node outside the cluster.
    pub outside_until: Option<Timestamp>,
    /// The same of older authorities.
    pub previous_until: Option<Timestamp>,
    /// Requests for a new authority that are done.
    pub done: BTreeSet<String>,
}

impl Authority {
    /// The first one.
    #[must_use]
    pub(crate) fn first(newest: Pair, done: BTreeSet<String>) -> Self {
        Self {
            newest,
            previous: Vec::new(),
            previous_key: None,
            phase: Phase::Stable,
            outside_until: None,
            previous_until: None,
            done,
        }
    }

    /// One after another that was lost, though nodes still have its certificates.
    #[must_use]
    pub(crate) fn after_loss(newest: Pair, lost: Vec<Certificate>, done: BTreeSet<String>) -> Self {
        Self { previous: lost, phase: Phase::Distributing, ..Self::first(newest, done) }
    }

    /// Whom nodes trust.
    #[must_use]
    pub(crate) fn trusted(&self) -> Vec<Certificate> {
        let mut all = vec![self.newest.certificate.clone()];
        all.extend(self.previous.iter().filter(|c| **c != self.newest.certificate).cloned());
        all
    }

    /// The same as text.
    #[must_use]
    pub(crate) fn bundle(&self) -> String {
        x509::bundle(&self.trusted())
    }

    /// Who signs. An authority that has ended signs nothing that anybody would accept.
    #[must_use]
    pub(crate) fn signer(&self, now: Timestamp) -> Pair {
        match (self.phase, self.previous.first(), &self.previous_key) {
            (Phase::Distributing, Some(certificate), Some(key)) if now < certificate.not_after => {
                Pair { certificate: certificate.clone(), key: key.clone() }
            }
            _ => self.newest.clone(),
        }
    }

    /// The new authority signs from now on; the key of the old one is not needed any more.
    fn replacing(&self) -> Self {
        Self {
            previous_key: None,
            phase: Phase::Replacing,
            previous_until: self.outside_until.max(self.previous_until),
            outside_until: None,
            ..self.clone()
        }
    }

    /// The old authority is forgotten.
    fn stable(&self) -> Self {
        Self { previous: Vec::new(), phase: Phase::Stable, previous_until: None, ..self.clone() }
    }

    /// A new authority beside the one that signs.
    #[must_use]
    pub(crate) fn distributing(&self, newest: Pair, requests: &BTreeSet<String>) -> Self {
        Self {
            newest,
            previous: vec![self.newest.certificate.clone()],
            previous_key: Some(self.newest.key.clone()),
            phase: Phase::Distributing,
            done: self.done.union(requests).cloned().collect(),
            ..self.clone()
        }
    }
}

/// What the Secret of a node holds, as far as a change of authorities asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Resource that it belongs to.
    pub name: String,
    /// Whom it tells to trust, PEM; `None`: it is not there, though nodes may run that read it.
    pub trust: Option<String>,
    /// Who signed its certificate.
    pub issuer: Option<String>,
    /// When it was written last.
    pub written: Option<Timestamp>,
}

/// What is to be done about the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RotationStep {
    /// Nothing before that instant, or before something changes; the text says what is waited for.
    Wait(Option<Timestamp>, Option<String>),
    /// Make a new authority, which does not sign yet.
    Begin,
    /// Write this; the text tells what changed.
    Write(Box<Authority>, &'static str),
}

/// The next step.
#[must_use]
pub(crate) fn step(
    authority: &Authority,
    held: &[Held],
    requests: &BTreeSet<String>,
    policy: &Policy,
    now: Timestamp,
) -> RotationStep {
    match authority.phase {
        Phase::Stable => {
            let due = renew_at(&authority.newest.certificate);
            if now >= due || !requests.is_subset(&authority.done) {
                return RotationStep::Begin;
            }
            RotationStep::Wait(Some(due), None)
        }
        Phase::Distributing => distribute(authority, held, policy, now),
        Phase::Replacing => replace(authority, held, policy, now),
    }
}

fn distribute(authority: &Authority, held: &[Held], policy: &Policy, now: Timestamp) -> RotationStep {
    let newest = authority.newest.certificate.pem();
    let knows = |held: &Held| held.trust.as_ref().is_some_and(|trust| trust.contains(&newest));
    let made = later(authority.newest.certificate.not_before, BACKDATE);
    match settled(held, made, policy.settle, now, knows) {
        Ok(()) => {
            let next = authority.replacing();
            RotationStep::Write(Box::new(next), "signs from now on: every node trusts it")
        }
        Err(wait) => wait.step("trusts the new authority"),
    }
}

fn replace(authority: &Authority, held: &[Held], policy: &Policy, now: Timestamp) -> RotationStep {
    let newest = &authority.newest.certificate.subject;
    let renewed = |held: &Held| held.issuer.as_ref() == Some(newest);
    let outside = authority.previous_until.unwrap_or(Timestamp::MIN);
    match settled(held, Timestamp::MIN, policy.settle, now, renewed) {
        Ok(()) if now < outside => RotationStep::Wait(
            Some(outside),
            Some(format!("certificates of nodes outside the cluster end at {outside}")),
        ),
        Ok(()) => {
            let next = authority.stable();
            RotationStep::Write(Box::new(next), "is the only one: no certificate of the old one is in use")
        }
        Err(wait) => wait.step("uses a certificate of the new authority"),
    }
}

/// Who holds a change up.
enum Unsettled<'a> {
    /// This resource's Secret is not that far.
    Behind(&'a str),
    /// Nodes may not have read their Secret before that instant.
    Until(Timestamp),
}

impl Unsettled<'_> {
    fn step(self, what: &str) -> RotationStep {
        match self {
            Self::Behind(name) => RotationStep::Wait(None, Some(format!("waits until {name} {what}"))),
            Self::Until(at) => {
                RotationStep::Wait(Some(at), Some(format!("waits until {at}, so that every node {what}")))
            }
        }
    }
}

/// Whether something holds of every Secret, and has for so long that every node knows.
fn settled<'a>(
    held: &'a [Held],
    since: Timestamp,
    settle: Duration,
    now: Timestamp,
    holds: impl Fn(&Held) -> bool,
) -> Result<(), Unsettled<'a>> {
    if let Some(behind) = held.iter().find(|held| !holds(held) || held.written.is_none()) {
        return Err(Unsettled::Behind(&behind.name));
    }
    let last = held.iter().filter_map(|held| held.written).fold(since, Timestamp::max);
    // Instants are cut to whole seconds.
    let at = if last == Timestamp::MIN { last } else { later(last, settle + Duration::from_secs(1)) };
    if now < at { Err(Unsettled::Until(at)) } else { Ok(()) }
}
