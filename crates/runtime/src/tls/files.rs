//! The files of mutual TLS: read, checked, and told apart from those before.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sorcha_config as config;
use sorcha_identity::certificate::Leaf;
use sorcha_os::read::{self, unmarked};
use tokio_rustls::rustls::{
    self, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::suitable;

/// Largest file that is read, bytes: hundreds of certificates.
const FILE_BYTES: u64 = 1024 * 1024;

const CERTIFICATE: &str = "tls.certificate_file";
const KEY: &str = "tls.key_file";
const CA: &str = "tls.ca_file";

/// In every PEM of a key that needs a passphrase, and in no other.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// Why the files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{setting}: read {path}: {source}")]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{setting}: {path} {problem}")]
    Content {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The key is another certificate's.
    #[error("{KEY}: {key} is not the key of the certificate in {certificate} ({CERTIFICATE})")]
    OtherKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The parts fit, but TLS can't be set up with them.
    #[error("tls: {0}")]
    Setup(String),
}

/// The three files.
#[derive(Clone, Debug)]
pub struct Files {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// CAs believed.
    pub ca: PathBuf,
}

/// What the files held.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) leaf: Leaf,
    /// The CAs' certificates as they are in the file.
    authorities: Vec<CertificateDer<'static>>,
}

impl Material {
    /// The same identity, with these CAs believed and no others.
    fn trusting(&self, authorities: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        Self { key: Arc::clone(&self.key), roots: Arc::new(roots), leaf: self.leaf.clone(), authorities }
    }

    /// How many CAs are believed.
    pub(super) fn believed(&self) -> usize {
        self.roots.len()
    }

    /// Whether this is what those files held.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert && self.authorities == other.authorities
    }
}

impl Files {
    /// The files that a configuration names; none when it names not all of them.
    #[must_use]
    pub fn of(config: &config::Tls) -> Option<Self> {
        Some(Self {
            certificate: config.certificate_file.clone()?,
            key: config.key_file.clone()?,
            ca: config.ca_file.clone()?,
        })
    }

    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Material, TlsError> {
        let chain = certificates(CERTIFICATE, &self.certificate)?;
        let content = |problem: String| TlsError::Content {
            setting: CERTIFICATE,
            path: self.certificate.clone(),
            problem: format!("holds a certificate that can't be used: {problem}"),
        };
        let leaf = match chain.first() {
            Some(leaf) => {
                suitable::leaf(leaf, &provider.signature_verification_algorithms).map_err(content)?;
                Leaf::read(leaf).map_err(content)?
            }
            None => return Err(content("there is none".to_owned())),
        };
        let key = self.certified(chain, provider)?;
        let (authorities, roots) = authorities(CA, &self.ca, provider)?;
        Ok(Material { key: Arc::new(key), roots: Arc::new(roots), leaf, authorities })
    }

    /// The identity that is in use, with the CAs that can be used of the file as it is now: none where it is gone.
    pub(super) fn trust_for(&self, used: &Material) -> Material {
        let pem = read(CA, &self.ca).unwrap_or_default();
        let is_usable = |ca: &CertificateDer<'static>| RootCertStore::empty().add(ca.clone()).is_ok();
        used.trusting(CertificateDer::pem_slice_iter(&pem).flatten().filter(is_usable).collect())
    }

    fn certified(
        &self,
        chain: Vec<CertificateDer<'static>>,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let content = |problem| TlsError::Content { setting: KEY, path: self.key.clone(), problem };
        let pem = read(KEY, &self.key)?;
        if pem.windows(ENCRYPTED.len()).any(|words| words == ENCRYPTED) {
            let file = self.key.display();
            return Err(content(format!(
                "holds a private key that is encrypted, and nodes know no passphrase; decrypt it: openssl pkey -in {file} -out NEW"
            )));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| content(format!("holds no private key in PEM: {error}")))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => {
                TlsError::OtherKey { key: self.key.clone(), certificate: self.certificate.clone() }
            }
            error => {
                content(format!("holds a private key that can't be used: {error}; make {}", suitable::KEYS))
            }
        })
    }
}

/// The CAs' certificates in a file, and as what rustls believes. One that can vouch for nobody is logged, and does not keep the
/// others from it.
pub(super) fn authorities(
    setting: &'static str,
    path: &Path,
    provider: &CryptoProvider,
) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), TlsError> {
    let authorities = certificates(setting, path)?;
    let (mut roots, mut unsuitable) = (RootCertStore::empty(), None);
    for (number, authority) in (1..).zip(&authorities) {
        let refused = |why: String| {
            let problem = format!("holds a CA certificate (number {number}) that can't be used: {why}");
            TlsError::Content { setting, path: path.to_owned(), problem }
        };
        match suitable::authority(authority, &provider.signature_verification_algorithms) {
            Ok(()) => roots.add(authority.clone()).map_err(|error| refused(error.to_string()))?,
            Err(why) => {
                let error = unsuitable.insert(refused(why));
                tracing::warn!(%error, "a CA can't vouch for anybody");
            }
        }
    }
    match unsuitable {
        Some(error) if roots.is_empty() => Err(error),
        _ => Ok((authorities, roots)),
    }
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = |problem| TlsError::Content { setting, path: path.to_owned(), problem };
    let pem = read(setting, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(content("holds no certificate in PEM".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(content(format!("is no sound PEM: {error}"))),
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { setting, path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(failed)?.len();
    if found > FILE_BYTES {
        let problem = format!("has {found} bytes; the limit is {FILE_BYTES}");
        return Err(TlsError::Content { setting, path: path.to_owned(), problem });
    }
    let bytes = read::bytes(path, FILE_BYTES).map_err(|error| failed(error.into_io()))?;
    let content = |problem| TlsError::Content { setting, path: path.to_owned(), problem };
    if let [0x30, 0x80..=0x84, ..] = bytes[..] {
        let problem = "is binary (DER or PKCS #12), not PEM; convert it with openssl x509, pkey or pkcs12";
        return Err(content(problem.to_owned()));
    }
    unmarked(&bytes).map(<[u8]>::to_vec).map_err(|error| content(format!("can't be used: {error}")))
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
