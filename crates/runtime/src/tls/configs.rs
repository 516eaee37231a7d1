//! What rustls is told, on both sides: ring, both certificates verified, HTTP/2, no resumption; and HTTPS, where callers
//! show no certificate.
//!
//! A resumed session would go on without looking at the certificate again, past its end or the end of its CA.

use std::{fmt, sync::Arc};

use sorcha_config::TlsVersion;
use sorcha_register::clock::Clock;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::UnixTime,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};

use super::files::{Material, TlsError};

mod nobody;

use self::nobody::Nobody;

const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// The one provider of cryptography, stated at every use: a process-wide default would depend on other crates.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The node's clock, as certificates are judged by.
struct Time(Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_millis().div_euclid(1000)).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

const fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
    match oldest {
        TlsVersion::V1_2 => BOTH,
        TlsVersion::V1_3 => NEWEST,
    }
}

fn failed(error: impl fmt::Display) -> TlsError {
    TlsError::Setup(error.to_string())
}

/// For accepted connections: the client must show a certificate of one of the CAs.
pub(super) fn server(
    material: &Material,
    oldest: TlsVersion,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let roots: Arc<RootCertStore> = Arc::clone(&material.roots);
    let verifier: Arc<dyn ClientCertVerifier> = if roots.is_empty() {
        Arc::new(Nobody)
    } else {
        WebPkiClientVerifier::builder_with_provider(roots, provider()).build().map_err(failed)?
    };
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(clock))))
        .with_protocol_versions(versions(oldest))
        .map_err(failed)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&material.key))));
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For connections of HTTPS: no certificate is asked for.
pub(super) fn https(
    material: &Material,
    oldest: TlsVersion,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(clock))))
        .with_protocol_versions(versions(oldest))
        .map_err(failed)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&material.key))));
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For connections opened: the server must show a certificate of one of these CAs, for the name that was dialled.
pub(super) fn client(
    material: &Material,
    roots: &Arc<RootCertStore>,
    oldest: TlsVersion,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = Arc::clone(roots);
    let verifier: Arc<dyn ServerCertVerifier> = if roots.is_empty() {
        Arc::new(Nobody)
    } else {
        WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(failed)?
    };
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(clock))))
        .with_protocol_versions(versions(oldest))
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&material.key))));
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
