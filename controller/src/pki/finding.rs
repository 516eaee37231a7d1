//! The condition `CertificateValid` and `status.certificate`: a function of Secrets, reports and now.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sorcha_crds::{
    conditions::{CERTIFICATE_VALID, Finding},
    tls::{CertificateStatus, TlsMode},
};

use super::{
    BACKDATE,
    holder::Holder,
    leaf::{self, Leaf},
    warn_at,
    world::TlsWorld,
    x509::{self, CertificateFault},
};
use crate::reconcile::{Error, Progress};

/// What is said of a resource's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// For the status.
    pub certificate: Option<CertificateStatus>,
    /// For the conditions.
    pub finding: Finding,
}

/// A running node, and until when the certificate is valid that it says it uses.
pub(crate) type Use<'a> = (&'a str, Option<&'a Time>);

/// How a resource's certificate stands.
#[must_use]
pub(crate) fn found(
    world: &TlsWorld,
    uses: &[Use<'_>],
    result: &Result<Progress, Error>,
    now: Timestamp,
) -> Found {
    let (holder, held) = (&world.holder, world.papers.leaf());
    let backdate = if holder.tls.mode == TlsMode::Managed { BACKDATE } else { Duration::ZERO };
    let note = world.waits(now).1;
    let mut found = judge(held.as_ref(), holder.secret_name().as_deref(), backdate, uses, note, now);
    let strangers = strangers(world, held.as_ref().and_then(|held| held.as_ref().ok()), now);
    if let Some(why) = strangers
        && (found.finding.status == true.into() || found.finding.reason == "PlainText")
    {
        found.finding = Finding::new(CERTIFICATE_VALID, false, "NotTrusted", why);
    }
    // What stands in the way of a better one is told with it.
    if let Err(Error::Certificate { reason, message }) = result {
        found.finding = Finding::new(CERTIFICATE_VALID, false, reason, message.clone());
    }
    found
}

/// Judges one certificate.
#[must_use]
pub(crate) fn judge(
    held: Option<&Result<Leaf, CertificateFault>>,
    secret_name: Option<&str>,
    backdate: Duration,
    uses: &[Use<'_>],
    note: Option<String>,
    now: Timestamp,
) -> Found {
    let say =
        |status: bool, reason, message: String| Finding::new(CERTIFICATE_VALID, status, reason, message);
    let Some(name) = secret_name else {
        let message = "tls.mode is Disabled: connections are plain text, and anybody in reach can read them and speak for any node";
        return Found { certificate: None, finding: say(false, "PlainText", message.to_owned()) };
    };
    let told = |reason, message| Found { certificate: None, finding: say(false, reason, message) };
    let certificate = match held {
        Some(Ok(leaf)) => &leaf.pair.certificate,
        Some(Err(fault)) => return told("CertificateUnusable", format!("Secret {name}: {fault}")),
        None => return told("WaitingForCertificate", format!("Secret {name} is not there yet")),
    };
    let used = uses.iter().find(|(_, end)| end.is_some_and(|end| end.0 <= now));
    let ends = format!("signed by {}, valid until {}", certificate.issuer, certificate.not_after);
    let finding = if now >= certificate.not_after {
        say(false, "Expired", format!("{ends}: nodes refuse each other's new connections"))
    } else if let Some((node, _)) = used {
        let message = "still uses a certificate that has ended, though Secret";
        say(false, "Expired", format!("{node} {message} {name} has a new one"))
    } else if now >= warn_at(certificate, backdate) {
        say(true, "ExpiringSoon", format!("{ends}: it should have been renewed by now"))
    } else {
        let note = note.map(|note| format!("; {note}")).unwrap_or_default();
        say(true, "Issued", format!("{ends}{note}"))
    };
    let certificate = CertificateStatus {
        not_after: Some(Time(certificate.not_after)),
        issuer: Some(certificate.issuer.clone()),
        secret_name: Some(name.to_owned()),
    };
    Found { certificate: Some(certificate), finding }
}

/// Whether peers and the central nodes that are published for them would refuse each other.
fn strangers(world: &TlsWorld, mine: Option<&Leaf>, now: Timestamp) -> Option<String> {
    let is_plain = |holder: &Holder| holder.tls.mode == TlsMode::Disabled;
    world.centrals.iter().find_map(|(central, papers)| {
        let name = &central.name;
        match (is_plain(&world.holder), is_plain(central)) {
            (true, true) => None,
            (true, false) => {
                Some(format!("tls.mode is Disabled, but central node {name} uses TLS: make them alike"))
            }
            (false, true) => Some(format!("tls.mode of central node {name} is Disabled: make them alike")),
            (false, false) => {
                let theirs = papers.trusting(&papers.leaf()?.ok()?);
                refused(name, &world.papers.trusting(mine?), &theirs, now)
            }
        }
    })
}

/// Which of two certificates the holder of the other one refuses, and the remedy.
fn refused(name: &str, mine: &Leaf, theirs: &Leaf, now: Timestamp) -> Option<String> {
    // Ends are judged elsewhere.
    let accepts = |mine: &Leaf, theirs: &Leaf| {
        let certificate = &theirs.pair.certificate;
        let at = now.min(certificate.not_after).max(certificate.not_before);
        let roots = x509::read(mine.trust.as_bytes()).unwrap_or_default();
        x509::check_chain(std::slice::from_ref(certificate), &roots, at).is_ok()
    };
    let add = "name its authority in spec.tls.trust";
    if !accepts(mine, theirs) {
        return Some(format!("the certificate of central node {name} is not trusted: {add}"));
    }
    (!accepts(theirs, mine))
        .then(|| format!("central node {name} does not trust these peers' certificate: {add} there"))
}

/// When a resource's certificate is to be looked at again, whatever happens.
#[must_use]
pub(crate) fn look_again(world: &TlsWorld, now: Timestamp) -> Option<Timestamp> {
    if world.holder.tls.mode != TlsMode::Managed {
        return None;
    }
    let held = world.papers.leaf().and_then(Result::ok);
    let due = held.map(|held| leaf::due(&held.pair.certificate, &world.holder.names));
    [due, world.waits(now).0].into_iter().flatten().min()
}
