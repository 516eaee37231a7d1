//! The certificate of one resource: whether what its Secret holds will do; pure.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    BACKDATE,
    authority::{Authority, Phase},
    issue::{Key, Pair},
    later,
    x509::{self, Certificate, CertificateFault, Names},
};

/// What a Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Certificate and key.
    pub pair: Pair,
    /// Whom the node trusts, PEM.
    pub trust: String,
    /// Request for renewal that is done.
    pub token: Option<String>,
    /// When certificate, key or trust were written last.
    pub written: Option<Timestamp>,
}

/// What it should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedLeaf {
    /// Names of the holder.
    pub names: Names,
    /// Request for renewal.
    pub token: Option<String>,
    /// Authorities that the spec adds.
    pub further: Vec<Certificate>,
}

impl WantedLeaf {
    /// Whom the node is to trust, PEM.
    #[must_use]
    pub(crate) fn trust(&self, authority: &Authority) -> String {
        x509::bundle(authority.trusted().iter().chain(&self.further))
    }
}

/// Why a certificate is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There is none.
    Missing,
    /// What is there can't be used.
    Damaged(String),
    /// It stands for other names.
    Names,
    /// The annotation asks for it.
    Asked,
    /// Another authority signs now.
    Authority,
    /// Two thirds of its validity are over.
    Due,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there was none"),
            Self::Damaged(why) => write!(f, "the Secret could not be used: {why}"),
            Self::Names => f.write_str("the names that it stands for have changed"),
            Self::Asked => write!(f, "annotation {}", sorcha_crds::ROTATE_CERTIFICATE_ANNOTATION),
            Self::Authority => f.write_str("the network's authority has changed"),
            Self::Due => f.write_str("the old one was due"),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing before that instant.
    Keep(Timestamp),
    /// The certificate will do, whom it trusts is to be written anew.
    Trust,
    /// Make a certificate.
    Issue(Why),
}

/// Decides about what a Secret holds; `Err` when it can't be read.
#[must_use]
pub(crate) fn decide(
    held: Option<&Result<Leaf, CertificateFault>>,
    wanted: &WantedLeaf,
    authority: &Authority,
    now: Timestamp,
) -> Decision {
    let leaf = match held {
        None => return Decision::Issue(Why::Missing),
        Some(Err(fault)) => return Decision::Issue(Why::Damaged(fault.to_string())),
        Some(Ok(leaf)) => leaf,
    };
    if let Some(why) = replaced(leaf, wanted, authority, now) {
        return Decision::Issue(why);
    }
    let sound = leaf.written.is_some_and(|written| written <= now);
    if leaf.trust != wanted.trust(authority) || !sound {
        return Decision::Trust;
    }
    Decision::Keep(due(&leaf.pair.certificate, &wanted.names))
}

fn replaced(leaf: &Leaf, wanted: &WantedLeaf, authority: &Authority, now: Timestamp) -> Option<Why> {
    let certificate = &leaf.pair.certificate;
    if certificate.names != wanted.names {
        return Some(Why::Names);
    }
    // Its end is judged below.
    let living = now.min(certificate.not_after).max(certificate.not_before);
    let accepted =
        |by: &[Certificate]| x509::check_chain(std::slice::from_ref(certificate), by, living).is_ok();
    let newest = std::slice::from_ref(&authority.newest.certificate);
    let good = match authority.phase {
        Phase::Distributing => accepted(&authority.trusted()),
        Phase::Stable | Phase::Replacing => accepted(newest),
    };
    if !good {
        return Some(Why::Authority);
    }
    // Signed by a new authority that not everybody trusts yet, it would be refused: better the old one to its end.
    let lost = authority.phase == Phase::Distributing && authority.previous_key.is_none();
    let by_lost = lost && !accepted(newest);
    if by_lost && now < certificate.not_after {
        return None;
    }
    if wanted.token.is_some() && wanted.token != leaf.token {
        return Some(Why::Asked);
    }
    (now >= due(certificate, &wanted.names)).then_some(Why::Due)
}

/// When it is renewed: after two thirds of its validity, a little earlier for some than for others, so that a thousand
/// that were made together are not renewed together.
#[must_use]
pub(crate) fn due(certificate: &Certificate, names: &Names) -> Timestamp {
    let hash = names.uris.iter().next().map(Sha256::digest).map_or(0, |digest| digest[0]);
    let life = certificate.not_after.as_second() - later(certificate.not_before, BACKDATE).as_second();
    let early = life.max(0) * i64::from(hash) / (15 * 255);
    let at = super::renew_at(certificate).as_second() - early;
    Timestamp::from_second(at).unwrap_or(certificate.not_after)
}

impl Leaf {
    /// A leaf from what a Secret holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(certificate: &[u8], key: &[u8], trust: &[u8]) -> Result<Self, CertificateFault> {
        let chain = x509::read(certificate).map_err(|fault| CertificateFault(format!("tls.crt: {fault}")))?;
        x509::check_key(&chain, key).map_err(|fault| CertificateFault(format!("tls.key: {fault}")))?;
        let Some(first) = chain.into_iter().next() else {
            return Err(CertificateFault("tls.crt is empty".to_owned()));
        };
        let key =
            String::from_utf8(key.to_vec()).map_err(|_| CertificateFault("tls.key: not text".to_owned()))?;
        Ok(Self {
            pair: Pair { certificate: first, key: Key::new(key) },
            trust: String::from_utf8_lossy(trust).into_owned(),
            token: None,
            written: None,
        })
    }
}
