//! Making keys and certificates: ECDSA P-256.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, string::Ia5String,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::{
    BACKDATE, later,
    x509::{self, Certificate, CertificateFault, Names},
};

/// A private key, PEM. It shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// A key that was read.
    #[must_use]
    pub(crate) const fn new(pem: String) -> Self {
        Self(pem)
    }

    /// The key itself.
    #[must_use]
    pub(crate) fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: Key,
}

/// A new authority of a network. Its name holds a part of its key's hash, so that generations differ.
///
/// # Errors
/// When no key can be made.
pub(crate) fn authority(network: &str, lifetime: Duration, now: Timestamp) -> Result<Pair, CertificateFault> {
    let key = KeyPair::generate().map_err(fault)?;
    let digest = hex::encode(&Sha256::digest(key.der_bytes())[..4]);
    let mut params = params(now, later(now, lifetime));
    params.distinguished_name = authority_name(&format!("Sorcha CA {digest}"), network);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(fault)?;
    pair(certificate.der().clone(), &key)
}

/// A node's certificate, valid for so long, but not longer than the authority.
///
/// # Errors
/// When the authority's key can't be used.
pub(crate) fn leaf(
    common_name: &str,
    names: &Names,
    network: &str,
    signer: &Pair,
    lifetime: Duration,
    now: Timestamp,
) -> Result<Pair, CertificateFault> {
    let key = KeyPair::generate().map_err(fault)?;
    let signing = KeyPair::from_pem(signer.key.pem()).map_err(fault)?;
    let mut params = params(now, later(now, lifetime).min(signer.certificate.not_after));
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = alternative_names(names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = authority_name(&signer.certificate.subject, network);
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.signed_by(&key, &Issuer::new(issuer, signing)).map_err(fault)?;
    let made = pair(certificate.der().clone(), &key)?;
    // Never hand out what nobody accepts, such as under an authority whose key is another one.
    let chain = std::slice::from_ref(&made.certificate);
    x509::check_chain(chain, std::slice::from_ref(&signer.certificate), now).map_err(|error| {
        CertificateFault(format!("a certificate of {} is not accepted: {error}", signer.certificate.subject))
    })?;
    Ok(made)
}

fn authority_name(common_name: &str, network: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, network);
    name.push(DnType::CommonName, common_name);
    name
}

fn params(now: Timestamp, not_after: Timestamp) -> CertificateParams {
    let at = |at: Timestamp| {
        OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    let mut params = CertificateParams::default();
    params.not_before = at(now) - BACKDATE;
    params.not_after = at(not_after);
    params.distinguished_name = DistinguishedName::new();
    params
}

fn alternative_names(names: &Names) -> Result<Vec<SanType>, CertificateFault> {
    let text = |text: &String| Ia5String::try_from(text.as_str()).map_err(fault);
    let mut all = Vec::new();
    for uri in &names.uris {
        all.push(SanType::URI(text(uri)?));
    }
    for dns in &names.dns {
        all.push(SanType::DnsName(text(dns)?));
    }
    all.extend(names.ips.iter().map(|address| SanType::IpAddress(*address)));
    Ok(all)
}

fn pair(der: rustls::pki_types::CertificateDer<'static>, key: &KeyPair) -> Result<Pair, CertificateFault> {
    Ok(Pair { certificate: Certificate::parse(der)?, key: Key::new(key.serialize_pem()) })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn fault(error: rcgen::Error) -> CertificateFault {
    CertificateFault(format!("make a certificate: {error}"))
}
