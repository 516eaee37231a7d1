//! The files of mutual TLS: read, checked, and told apart from those before.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sorcha_os::read::{Unreadable, unmarked};
use tokio_rustls::rustls::{
    self, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::certificate::Leaf;
use crate::config;

/// Largest file that is read, bytes: hundreds of certificates.
const FILE_BYTES: u64 = 1024 * 1024;

const CERTIFICATE: &str = "tls.certificate_file";
const KEY: &str = "tls.key_file";
const CA: &str = "tls.ca_file";

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
            Some(leaf) => Leaf::read(leaf).map_err(content)?,
            None => return Err(content("there is none".to_owned())),
        };
        let key = self.certified(chain, provider)?;
        let authorities = certificates(CA, &self.ca)?;
        let mut roots = RootCertStore::empty();
        for (number, authority) in (1..).zip(&authorities) {
            roots.add(authority.clone()).map_err(|error| TlsError::Content {
                setting: CA,
                path: self.ca.clone(),
                problem: format!("holds a CA certificate (number {number}) that can't be used: {error}"),
            })?;
        }
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
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| content(format!("holds no private key in PEM: {error}")))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => {
                TlsError::OtherKey { key: self.key.clone(), certificate: self.certificate.clone() }
            }
            error => content(format!("holds a private key that can't be used: {error}")),
        })
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
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES {
        let problem = format!("has {bytes} bytes; the limit is {FILE_BYTES}");
        return Err(TlsError::Content { setting, path: path.to_owned(), problem });
    }
    let bytes = fs::read(path).map_err(failed)?;
    let content = |error: Unreadable| TlsError::Content {
        setting,
        path: path.to_owned(),
        problem: format!("can't be used: {error}"),
    };
    unmarked(&bytes).map(<[u8]>::to_vec).map_err(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls::{
        configs::provider,
        testing::{Ca, Leaf as Wanted, Pair, mount},
    };

    fn write(folder: &Path, pair: &Pair, cas: &[&Ca]) -> Files {
        let [certificate, key, ca] = mount(folder, pair, cas);
        Files { certificate, key, ca }
    }

    /// The error for files of which one was changed.
    fn refused(change: impl FnOnce(&Files)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new("ca");
        let files = write(folder.path(), &ca.issue(&Wanted::default()), &[&ca]);
        files.load(&provider()).unwrap();
        change(&files);
        let error = files.load(&provider()).unwrap_err().to_string();
        let named = [&files.certificate, &files.key, &files.ca].map(|file| file.display().to_string());
        assert!(named.iter().any(|file| error.contains(file)), "names no file: {error}");
        error
    }

    fn put(file: &Path, content: impl AsRef<[u8]>) {
        fs::write(file, content).unwrap();
    }

    #[test]
    fn every_wrong_file_is_named_with_its_setting() {
        let ca = Ca::new("other");
        let other = ca.issue(&Wanted::default());
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = &other.certificate[..other.certificate.len() / 2];
        type Change<'a> = &'a dyn Fn(&Files);
        let rows: [(Change<'_>, &str); 13] = [
            (&|f| fs::remove_file(&f.certificate).unwrap(), "tls.certificate_file: read "),
            (&|f| fs::remove_file(&f.key).unwrap(), "tls.key_file: read "),
            (&|f| fs::remove_file(&f.ca).unwrap(), "tls.ca_file: read "),
            (&|f| put(&f.certificate, ""), "holds no certificate in PEM"),
            (&|f| put(&f.certificate, &other.key), "holds no certificate in PEM"),
            (&|f| put(&f.certificate, garbage), "tls.certificate_file: "),
            (&|f| put(&f.certificate, cut), "tls.certificate_file: "),
            (&|f| put(&f.key, ""), "holds no private key in PEM"),
            (&|f| put(&f.key, &other.certificate), "holds no private key in PEM"),
            (&|f| put(&f.key, &other.key), "is not the key of the certificate in"),
            (&|f| put(&f.ca, [0xff; 99]), "tls.ca_file: "),
            (&|f| put(&f.ca, garbage), "holds a CA certificate (number 1) that can't be used"),
            (&|f| put(&f.ca, vec![b'\n'; 2 << 20]), "the limit is 1048576"),
        ];
        for (change, told) in rows {
            let error = refused(change);
            assert!(error.contains(told), "{told:?} is not in: {error}");
        }
    }

    #[test]
    fn files_are_told_apart_by_what_they_hold() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ca = Ca::new("ca");
        let pair = ca.issue(&Wanted::default());
        fn load(folder: &tempfile::TempDir, pair: &Pair, cas: &[&Ca]) -> Material {
            write(folder.path(), pair, cas).load(&provider()).unwrap()
        }
        let before = load(&first, &pair, &[&ca]);
        assert!(before.equals(&load(&second, &pair, &[&ca])));
        assert!(!before.equals(&load(&second, &ca.issue(&Wanted::default()), &[&ca])));
        assert!(!before.equals(&load(&second, &pair, &[&ca, &Ca::new("new")])));
    }
}
