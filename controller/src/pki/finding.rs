//! The condition `CertificateValid` and `status.certificate`: a function of Secrets, reports and now.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sorcha_crds::{
    conditions::{CERTIFICATE_VALID, Finding},
    tls::{CertificateStatus, TlsMode},
};

use super::{
    BACKDATE, foreign,
    holder::Holder,
    leaf::{self, Leaf},
    managed, secret, warn_at,
    x509::{self, Fault},
};
use crate::{
    context::Ctx,
    names::{self, Component},
    network::Network,
    reconcile::{Error, Progress},
};

/// What is said of a resource's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// For the status.
    pub certificate: Option<CertificateStatus>,
    /// For the conditions.
    pub finding: Finding,
}

/// A running node, and until when the certificate is valid that it says it uses.
pub type Use<'a> = (&'a str, Option<&'a Time>);

/// How a resource's certificate stands.
#[must_use]
pub fn found(
    ctx: &Ctx,
    holder: &Holder,
    network: &Network,
    uses: &[Use<'_>],
    result: &Result<Progress, Error>,
    now: Timestamp,
) -> Found {
    let held = held(ctx, holder);
    let backdate = if holder.tls.mode == TlsMode::Managed { BACKDATE } else { Duration::ZERO };
    let note = (holder.tls.mode == TlsMode::Managed).then(|| managed::waits(ctx, holder, now).1).flatten();
    let mut found = judge(held.as_ref(), holder.secret_name().as_deref(), backdate, uses, note, now);
    let strangers = strangers(ctx, holder, held.as_ref().and_then(|held| held.as_ref().ok()), network, now);
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

/// The certificate that a resource's pods are given, as far as it is known without a call.
fn held(ctx: &Ctx, holder: &Holder) -> Option<Result<Leaf, Fault>> {
    let name = holder.secret_name()?;
    match holder.tls.mode {
        TlsMode::Secret => foreign::seen(ctx, &holder.namespace, &name),
        _ => foreign::cached(ctx, &holder.namespace, &name),
    }
}

/// Judges one certificate.
#[must_use]
pub fn judge(
    held: Option<&Result<Leaf, Fault>>,
    secret_name: Option<&str>,
    backdate: Duration,
    uses: &[Use<'_>],
    note: Option<String>,
    now: Timestamp,
) -> Found {
    let say =
        |status: bool, reason, message: String| Finding::new(CERTIFICATE_VALID, status, reason, message);
    let Some(name) = secret_name else {
        let message = "tls.mode is Disabled: nodes talk plain text, and everybody may say to be anybody";
        return Found { certificate: None, finding: say(false, "PlainText", message.to_owned()) };
    };
    let leaf = match held {
        Some(Ok(leaf)) => leaf,
        Some(Err(fault)) => {
            let finding = say(false, "CertificateUnusable", format!("Secret {name}: {fault}"));
            return Found { certificate: None, finding };
        }
        None => {
            let finding = say(false, "WaitingForCertificate", format!("Secret {name} is not there yet"));
            return Found { certificate: None, finding };
        }
    };
    let certificate = &leaf.pair.certificate;
    let used = |at: Timestamp| uses.iter().find(|(_, end)| end.is_some_and(|end| end.0 <= at));
    let ends = format!("signed by {}, valid until {}", certificate.issuer, certificate.not_after);
    let soon = warn_at(certificate, backdate);
    let finding = if now >= certificate.not_after {
        say(false, "Expired", format!("{ends}: nodes refuse each other's new connections"))
    } else if let Some((node, _)) = used(now) {
        say(
            false,
            "Expired",
            format!("{node} still uses a certificate that has ended, though Secret {name} has a new one"),
        )
    } else if now >= soon {
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
fn strangers(
    ctx: &Ctx,
    peers: &Holder,
    mine: Option<&Leaf>,
    network: &Network,
    now: Timestamp,
) -> Option<String> {
    if peers.component != Component::Peer {
        return None;
    }
    network.nodes.iter().find_map(|node| {
        let central = Holder::central(ctx, node);
        let name = &central.name;
        let plain = |tls: &sorcha_crds::tls::Tls| tls.mode == TlsMode::Disabled;
        match (plain(&peers.tls), plain(&central.tls)) {
            (true, true) => return None,
            (true, false) => {
                return Some(format!(
                    "tls.mode is Disabled, but central node {name} uses TLS: make them alike"
                ));
            }
            (false, true) => {
                return Some(format!("tls.mode of central node {name} is Disabled: make them alike"));
            }
            (false, false) => {}
        }
        let theirs = held(ctx, &central)?.ok()?;
        let (mine, theirs) = (trusting(ctx, peers, mine?), trusting(ctx, &central, &theirs));
        // Ends are judged elsewhere.
        let accepts = |mine: &Leaf, theirs: &Leaf| {
            let certificate = &theirs.pair.certificate;
            let at = now.min(certificate.not_after).max(certificate.not_before);
            let roots = x509::read(mine.trust.as_bytes()).unwrap_or_default();
            x509::check_chain(std::slice::from_ref(certificate), &roots, at).is_ok()
        };
        let add = "name its authority in spec.tls.trust";
        if !accepts(&mine, &theirs) {
            return Some(format!("the certificate of central node {name} is not trusted: {add}"));
        }
        (!accepts(&theirs, &mine))
            .then(|| format!("central node {name} does not trust these peers' certificate: {add} there"))
    })
}

/// A certificate with all that its holder trusts.
fn trusting(ctx: &Ctx, holder: &Holder, leaf: &Leaf) -> Leaf {
    let map = ctx.caches.get::<k8s_openapi::api::core::v1::ConfigMap>(
        &holder.namespace,
        &names::trust_config_map(&holder.name),
    );
    let wider = map.filter(|_| holder.tls.mode != TlsMode::Managed && !holder.trust.is_empty());
    let trust = wider.and_then(|map| map.data.as_ref()?.get(secret::TRUST).cloned());
    Leaf { trust: trust.unwrap_or_else(|| leaf.trust.clone()), ..leaf.clone() }
}

/// When a resource's certificate is to be looked at again, whatever happens.
#[must_use]
pub fn look_again(ctx: &Ctx, holder: &Holder, now: Timestamp) -> Option<Timestamp> {
    if holder.tls.mode != TlsMode::Managed {
        return None;
    }
    let due = match held(ctx, holder) {
        Some(Ok(held)) => Some(leaf::due(&held.pair.certificate, &holder.names)),
        _ => None,
    };
    [due, managed::waits(ctx, holder, now).0].into_iter().flatten().min()
}
