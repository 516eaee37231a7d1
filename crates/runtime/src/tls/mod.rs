//! Mutual TLS on gRPC (ADR 38): who this node is, whom it believes, and what a certificate shown to it says.
//!
//! The files are looked at again and again. What they hold newly serves connections opened from then on; those that exist
//! live on. Where they can't be used together, the certificate and key before stay in use, and the fault is told. Trust does
//! not wait for that: a CA that is not in its file any more is not believed, and without a file nobody is.

mod configs;
mod explain;
mod files;
pub mod handshakes;
mod status;
mod suitable;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::{
    convert::Infallible,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{file_watch::FileWatch, metrics::Metrics};
use arc_swap::ArcSwap;
use sorcha_config as config;
use sorcha_config::TlsVersion;
use sorcha_identity::certificate::{Age, NoIdentity, Validity};
use sorcha_register::{clock::Clock, names::PeerId};
use tokio::sync::watch;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

pub use self::explain::tls_error;
use self::files::Material;
pub use self::{
    explain::explain,
    files::{Files, TlsError},
    status::Status,
};

/// The setting that names a central node's own CAs.
const CENTRAL_NODE_CA: &str = "central_nodes.ca_file";

/// A node's part in mutual TLS.
pub struct Tls {
    files: Files,
    oldest: TlsVersion,
    reload_interval: Duration,
    warn_before: Duration,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    current: ArcSwap<Current>,
    looks: Mutex<Looks>,
    status: watch::Sender<Status>,
}

struct Current {
    material: Material,
    server: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// What earlier looks at the files have seen and said.
struct Looks {
    watches: [FileWatch; 3],
    age: Age,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files that the configuration names; none when it names none. A certificate whose time is over or has not
    /// come is taken: it may be renewed any moment, and the log says so loudly.
    ///
    /// # Errors
    /// [`TlsError`] naming the setting, the file and what is wrong with it.
    pub fn load(
        config: &config::Tls,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(files) = Files::of(config) else { return Ok(None) };
        let watches =
            [&files.certificate, &files.key, &files.ca].map(|file| FileWatch::from_now(file.clone()));
        let current = Current::load(&files, config.min_version, &clock)?;
        let (validity, credential) =
            (current.material.leaf.validity, current.material.leaf.credential.clone());
        let age = validity.age(config.warn_before, clock.now());
        let tls = Self {
            files,
            oldest: config.min_version,
            reload_interval: config.reload_interval,
            warn_before: config.warn_before,
            clock,
            metrics,
            looks: Mutex::new(Looks { watches, age }),
            status: watch::Sender::new(Status { validity, credential, age, fault: None }),
            current: ArcSwap::from_pointee(current),
        };
        tls.metrics.certificate_not_after(validity.not_after);
        tls.tell_of("TLS certificate in use");
        tls.tell_age(age, validity);
        Ok(Some(Arc::new(tls)))
    }

    /// Says loudly that central nodes will refuse a peer whose certificate does not name it.
    pub fn check_peer(&self, peer: &PeerId, network: &str) {
        let why = match self.status().credential {
            Err(none) => none.to_string(),
            Ok(identity) if identity.network() != network => {
                format!("{identity} is not of network {network}")
            }
            Ok(identity) if !identity.speaks_for(peer) => format!("{identity} may not speak for it"),
            Ok(_) => return,
        };
        let file = self.files.certificate.display();
        tracing::error!(peer_id = %peer, %file, why, "configuration error: central nodes will refuse this peer's certificate");
    }

    /// Says loudly that peers will refuse a central node whose certificate names somebody else.
    pub fn check_central_node(&self, network: &str) {
        let why = match self.status().credential {
            // Good by its host names alone.
            Err(NoIdentity::Missing) => return,
            Err(none) => none.to_string(),
            Ok(identity) if identity.network() != network => {
                format!("{identity} is not of network {network}")
            }
            Ok(identity) if !identity.is_central_node() => format!("{identity} is no central node"),
            Ok(_) => return,
        };
        let file = self.files.certificate.display();
        tracing::error!(%file, why, "configuration error: peers will refuse this central node's certificate");
    }

    /// For the next accepted connection.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// For the next accepted connection of HTTPS.
    #[must_use]
    pub fn https(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().https)
    }

    /// For the next connection that is opened.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.load().client)
    }

    /// For one connection to a central node with CAs of its own: no other is believed there, and these nowhere else. The file
    /// is read at each call, so that what it holds newly serves the next connection.
    ///
    /// # Errors
    /// [`TlsError`] naming the file and what is wrong with it.
    pub fn client_believing(&self, ca_file: &Path) -> Result<Arc<ClientConfig>, TlsError> {
        let (_, roots) = files::authorities(CENTRAL_NODE_CA, ca_file, &configs::provider())?;
        configs::client(&self.current.load().material, &Arc::new(roots), self.oldest, &self.clock)
    }

    /// How this node's certificate stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Looks at the files every `tls.reload_interval`, for ever.
    pub async fn watch(&self) -> Infallible {
        loop {
            tokio::time::sleep(self.reload_interval).await;
            self.look();
        }
    }

    /// Looks at the files, and at the clock.
    pub fn look(&self) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        // Each is looked at, whatever the others are.
        let changed = looks.watches.iter_mut().map(FileWatch::has_changed).filter(|changed| *changed).count();
        if changed > 0 {
            self.reload();
        }
        let validity = self.current.load().material.leaf.validity;
        let age = validity.age(self.warn_before, self.clock.now());
        if std::mem::replace(&mut looks.age, age) != age {
            self.status.send_modify(|status| status.age = age);
            self.tell_age(age, validity);
        }
    }

    fn reload(&self) {
        let fault = match Current::load(&self.files, self.oldest, &self.clock) {
            Ok(current) => {
                self.metrics.tls_reloaded("ok");
                self.take(current);
                None
            }
            Err(error) => {
                self.metrics.tls_reloaded("refused");
                tracing::error!(%error, "TLS files have changed and can't be used; the certificate before stays in use");
                Some(self.take_trust(&error))
            }
        };
        self.status.send_modify(|status| status.fault = fault);
    }

    fn take(&self, current: Current) {
        if current.material.equals(&self.current.load().material) {
            return;
        }
        let leaf = current.material.leaf.clone();
        self.current.store(Arc::new(current));
        self.metrics.certificate_not_after(leaf.validity.not_after);
        self.status.send_modify(|status| {
            (status.validity, status.credential) = (leaf.validity, leaf.credential);
        });
        self.tell_of("TLS files have changed; new connections use them");
    }

    /// Believes those CAs that are in the file now, whatever is wrong with the other files; what to tell about it.
    fn take_trust(&self, error: &TlsError) -> String {
        let used = self.current.load();
        let material = self.files.trust_for(&used.material);
        if material.equals(&used.material) {
            return error.to_string();
        }
        let believed = material.believed();
        match Current::of(material, self.oldest, &self.clock) {
            Ok(current) => {
                self.current.store(Arc::new(current));
                tracing::warn!(
                    believed,
                    "the CAs in tls.ca_file are others now; new connections believe those only"
                );
                format!("{error}; CAs believed: {believed}")
            }
            Err(fault) => {
                tracing::error!(%fault, "the CAs in tls.ca_file are others now and can't be used");
                format!("{error}; {fault}")
            }
        }
    }

    fn tell_of(&self, what: &str) {
        let status = self.status();
        let identity = match &status.credential {
            Ok(identity) => identity.to_string(),
            Err(none) => format!("none: {none}"),
        };
        tracing::info!(identity, not_after = %status.validity.not_after, "{what}");
    }

    fn tell_age(&self, age: Age, validity: Validity) {
        let Validity { not_before, not_after } = validity;
        let file = self.files.certificate.display();
        match age {
            Age::Valid => {}
            Age::EndsSoon => {
                let hours = not_after.millis_since(self.clock.now()) / 3_600_000;
                tracing::warn!(%not_after, hours_left = hours, %file, "the TLS certificate ends soon and was not renewed");
            }
            Age::Expired => {
                tracing::error!(%not_after, %file, "the TLS certificate has expired: no new connection will succeed until it is renewed; put a new one into these files, no restart is needed");
            }
            Age::NotYetValid => {
                tracing::error!(%not_before, %file, "the TLS certificate is not valid yet: no new connection will succeed; is the clock right?");
            }
        }
    }
}

impl Current {
    fn load(files: &Files, oldest: TlsVersion, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        Self::of(files.load(&configs::provider())?, oldest, clock)
    }

    fn of(material: Material, oldest: TlsVersion, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        let server = configs::server(&material, oldest, clock)?;
        let https = configs::https(&material, oldest, clock)?;
        let client = configs::client(&material, &material.roots, oldest, clock)?;
        Ok(Self { material, server, https, client })
    }
}

#[cfg(test)]
mod tests;
