//! Certificates: the controller's own authority of each network and namespace, cert-manager, or a user's Secret (ADR 18).
//!
//! Decisions are pure functions of (Secrets as they are, spec, now): `authority::step`, `leaf::decide`,
//! `finding::judge`. All state lies in the Secrets, so that a controller may end after any write. What is done about
//! them is in `managed`, `foreign` and `cert_manager`. Keys are never logged.

pub(crate) mod x509;
pub mod identity;
pub(crate) mod issue;
pub mod authority;
pub(crate) mod leaf;
pub(crate) mod secret;
pub(crate) mod holder;
pub(crate) mod managed;
pub(crate) mod foreign;
pub(crate) mod cert_manager;
pub(crate) mod world;
pub(crate) mod finding;
pub(crate) mod ensure;
pub mod command;

use std::time::Duration;

use jiff::Timestamp;

pub(crate) use crate::config::Policy;

/// Certificates are valid from this long before they are made: clocks differ.
pub(crate) const BACKDATE: Duration = Duration::from_secs(300);

/// When a certificate that was made here is to be replaced: after two thirds of its validity.
#[must_use]
pub(crate) fn renew_at(certificate: &x509::Certificate) -> Timestamp {
    part(certificate, BACKDATE, 2, 3)
}

/// When a certificate that is still there is told as ending soon: half of the time in which it should have been renewed
/// is over. `backdate`: how long it was valid before it was made.
#[must_use]
pub(crate) fn warn_at(certificate: &x509::Certificate, backdate: Duration) -> Timestamp {
    part(certificate, backdate, 5, 6)
}

fn part(certificate: &x509::Certificate, backdate: Duration, count: i64, of: i64) -> Timestamp {
    let (from, to) = (later(certificate.not_before, backdate).as_second(), certificate.not_after.as_second());
    Timestamp::from_second(from + (to - from).max(0) * count / of).unwrap_or(certificate.not_after)
}

/// An instant so much later; the last one that can be written, if that is beyond it.
#[must_use]
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(at.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
