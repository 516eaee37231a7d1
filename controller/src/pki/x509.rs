//! Reading certificates, and whether one is accepted: what a node's TLS library says of it.

use std::{collections::BTreeSet, fmt, net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject as _},
    },
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use sorcha_crds::text::{NAME, cut};
use x509_cert::{
    Certificate as Parsed,
    der::{Decode as _, EncodePem as _, pem::LineEnding},
    ext::pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
    name::Name,
};

/// Why something is no certificate, no key, or not accepted. What a library says of a text that it can't read may quote it,
/// and any key of any Secret may be named: such texts are said in words of our own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CertificateFault(pub String);

/// A certificate.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its encoding.
    pub der: CertificateDer<'static>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Who signed it: its common name, or all of its name.
    pub issuer: String,
    /// Whose it is.
    pub subject: String,
    /// May sign others.
    pub is_ca: bool,
    /// Names that it stands for.
    pub names: Names,
}

/// Names that a certificate stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Identities.
    pub uris: BTreeSet<String>,
    /// Host names, in lower case.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub ips: BTreeSet<IpAddr>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} until {}", self.subject, self.issuer, self.not_after)
    }
}

impl Certificate {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn parse(der: CertificateDer<'static>) -> Result<Self, CertificateFault> {
        let parsed =
            Parsed::from_der(&der).map_err(|_| CertificateFault("not a certificate (X.509)".to_owned()))?;
        let body = parsed.tbs_certificate();
        let extension = |_| CertificateFault("not a certificate: an extension can't be read".to_owned());
        let names = body.get_extension::<SubjectAltName>().map_err(extension)?;
        let constraints = body.get_extension::<BasicConstraints>().map_err(extension)?;
        Ok(Self {
            not_before: instant(body.validity().not_before.to_unix_duration()),
            not_after: instant(body.validity().not_after.to_unix_duration()),
            issuer: text(body.issuer()),
            subject: text(body.subject()),
            is_ca: constraints.is_some_and(|(_, constraints)| constraints.ca),
            names: names.map(|(_, SubjectAltName(names))| read_names(&names)).unwrap_or_default(),
            der,
        })
    }

    /// As text.
    #[must_use]
    pub(crate) fn pem(&self) -> String {
        // What was parsed can be written.
        Parsed::from_der(&self.der).and_then(|parsed| parsed.to_pem(LineEnding::LF)).unwrap_or_default()
    }
}

fn instant(since_epoch: Duration) -> Timestamp {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn text(name: &Name) -> String {
    match name.common_name() {
        Ok(Some(common)) => cut(&common.value(), NAME),
        _ => cut(&name.to_string(), NAME),
    }
}

fn read_names(list: &[GeneralName]) -> Names {
    let mut names = Names::default();
    for name in list {
        match name {
            GeneralName::UniformResourceIdentifier(uri) => {
                names.uris.insert(uri.to_string());
            }
            GeneralName::DnsName(dns) => {
                names.dns.insert(dns.to_string().to_ascii_lowercase());
            }
            GeneralName::IpAddress(bytes) => names.ips.extend(address(bytes.as_bytes())),
            _ => {}
        }
    }
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// All certificates of a PEM text.
///
/// # Errors
/// When there is none, or one can't be read.
pub(crate) fn read(pem: &[u8]) -> Result<Vec<Certificate>, CertificateFault> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .map(|der| Certificate::parse(der.map_err(|error| malformed(&error))?))
        .collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        return Err(CertificateFault("there is no certificate (PEM) in it".to_owned()));
    }
    Ok(certificates)
}

/// What is wrong with PEM. A Secret whose line breaks were lost is one line, which the library's error holds.
fn malformed(error: &pem::Error) -> CertificateFault {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed: are its line breaks lost?",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it can't be read",
    };
    CertificateFault(format!("not PEM: {what}"))
}

/// Certificates as one text, each once.
#[must_use]
pub(crate) fn bundle<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    let mut seen = BTreeSet::new();
    certificates.into_iter().map(Certificate::pem).filter(|pem| seen.insert(pem.clone())).collect()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Whether a private key (PEM) belongs to a chain's first certificate.
///
/// # Errors
/// What is wrong with the key.
pub(crate) fn check_key(chain: &[Certificate], key: &[u8]) -> Result<(), CertificateFault> {
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| CertificateFault("there is no private key (PEM) in it".to_owned()))?;
    let chain = chain.iter().map(|certificate| certificate.der.clone()).collect();
    CertifiedKey::from_der(chain, key, &provider())
        .map(drop)
        .map_err(|_| CertificateFault("the private key does not belong to the certificate".to_owned()))
}

/// Whether whoever trusts `bundle` accepts a chain as a client's at an instant.
///
/// # Errors
/// Why not.
pub(crate) fn check_chain(
    chain: &[Certificate],
    bundle: &[Certificate],
    now: Timestamp,
) -> Result<(), CertificateFault> {
    let (Some(first), Some(roots)) = (chain.first(), roots(bundle)) else {
        return Err(CertificateFault("there is no authority that is trusted".to_owned()));
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| CertificateFault(error.to_string()))?;
    let rest: Vec<CertificateDer<'static>> = chain.iter().skip(1).map(|c| c.der.clone()).collect();
    verifier
        .verify_client_cert(&first.der, &rest, unix(now))
        .map(drop)
        .map_err(|error| CertificateFault(error.to_string()))
}

/// The authorities of a bundle, as a TLS library takes them.
pub(crate) fn roots(bundle: &[Certificate]) -> Option<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in bundle {
        roots.add(certificate.der.clone()).ok()?;
    }
    (!roots.is_empty()).then(|| Arc::new(roots))
}

pub(super) fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default()))
}
