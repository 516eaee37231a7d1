//! A CA of one's own, for tests: the node's and, by path, those of whole networks.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "two crates' tests have this file; a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A CA.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub certificate: String,
    der: Vec<u8>,
}

/// A certificate to be issued.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// URIs among its names.
    pub uris: Vec<String>,
    /// DNS names, or IP addresses.
    pub hosts: Vec<String>,
    /// First second, Unix time.
    pub not_before: i64,
    /// Last second, Unix time.
    pub not_after: i64,
}

impl Default for Leaf {
    fn default() -> Self {
        let (not_before, not_after) = (946_684_800, 4_102_444_800);
        Self { uris: Vec::new(), hosts: vec!["127.0.0.1".into(), "localhost".into()], not_before, not_after }
    }
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
    der: (Vec<u8>, Vec<u8>),
}

impl Pair {
    /// A certificate that nobody vouches for, and that is no CA's.
    #[must_use]
    pub fn self_signed() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Leaf::default().hosts).unwrap().self_signed(&key).unwrap();
        let der = (certificate.der().to_vec(), key.serialize_der());
        Self { certificate: certificate.pem(), key: key.serialize_pem(), der }
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate_der(&self) -> CertificateDer<'static> {
        self.der.0.clone().into()
    }

    /// The key, DER.
    #[must_use]
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.der.1.clone()).into()
    }
}

impl Ca {
    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// A new CA.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (certificate, der) = (certificate.pem(), certificate.der().to_vec());
        Self { issuer: Issuer::new(params, key), certificate, der }
    }

    /// Its certificate, DER.
    #[must_use]
    pub fn certificate_der(&self) -> CertificateDer<'static> {
        self.der.clone().into()
    }

    /// Issues a certificate, good for both sides of a connection.
    #[must_use]
    pub fn issue(&self, leaf: &Leaf) -> Pair {
        let mut params = CertificateParams::new(leaf.hosts.clone()).unwrap();
        let uris = leaf.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.not_before = OffsetDateTime::from_unix_timestamp(leaf.not_before).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(leaf.not_after).unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = (certificate.der().to_vec(), key.serialize_der());
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), der }
    }
}

/// Puts the files of mutual TLS into a folder as Kubernetes does with a mounted Secret, in the place of those that are
/// there: certificate, key and CAs change at once.
pub fn mount(folder: &Path, pair: &Pair, cas: &[&Ca]) -> [PathBuf; 3] {
    let number = fs::read_dir(folder).unwrap().count();
    let version = format!("..version-{number}");
    fs::create_dir(folder.join(&version)).unwrap();
    let bundle: String = cas.iter().map(|ca| ca.certificate.as_str()).collect();
    let contents = [("tls.crt", &pair.certificate), ("tls.key", &pair.key), ("ca.crt", &bundle)];
    for (name, content) in contents {
        fs::write(folder.join(&version).join(name), content).unwrap();
    }
    std::os::unix::fs::symlink(&version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    contents.map(|(name, _)| {
        let file = folder.join(name);
        if !file.is_symlink() {
            std::os::unix::fs::symlink(format!("..data/{name}"), &file).unwrap();
        }
        file
    })
}
