//! Clients that trust no certificate: for addresses of plain HTTP.
//!
//! The HTTP library speaks TLS where another crate of the workspace asks for it. Left to itself it would then want the
//! machine's certificates and a process-wide provider of cryptography for each client, also for one that needs neither.

use std::sync::Arc;

use reqwest::{Client, ClientBuilder};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// A client's settings, to be added to.
pub fn builder() -> ClientBuilder {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    match config {
        Ok(config) => Client::builder().tls_backend_preconfigured(config),
        // The provider knows these versions.
        Err(_) => Client::builder(),
    }
}

/// A client with default settings.
///
/// # Errors
/// When it can't be set up.
pub fn plain() -> reqwest::Result<Client> {
    builder().build()
}
