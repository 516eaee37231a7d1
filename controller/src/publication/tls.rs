//! Who a central node proves to be before it gets a token.

use std::{error::Error as _, sync::Arc};

use reqwest::ClientBuilder;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sorcha_identity::Identity;

use crate::pki::x509::{self, Certificate};

/// What a central node's certificate must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Authorities that may have signed it.
    pub trusted: Vec<Certificate>,
    /// Host name that it must stand for, whatever address it is reached at.
    pub host: String,
    /// SPIFFE identity that it must have, if it has any.
    pub identity: Identity,
}

/// A client's settings for one central node.
///
/// # Errors
/// What can't be checked that way.
pub(crate) fn builder(proof: &Proof) -> Result<ClientBuilder, String> {
    let provider = Arc::new(ring::default_provider());
    let roots = x509::roots(&proof.trusted).ok_or("there is no authority that is trusted")?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let verifier = Verifier {
        verifier: verifier.build().map_err(|error| error.to_string())?,
        host: ServerName::try_from(proof.host.clone()).map_err(|error| error.to_string())?,
        identity: proof.identity.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(reqwest::Client::builder().tls_backend_preconfigured(config).https_only(true))
}

/// Why a call failed, if it is the certificate.
#[must_use]
pub(crate) fn unproven(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let inner = deeper.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let fault = inner.and_then(|inner| inner.downcast_ref()).or_else(|| deeper.downcast_ref());
        if let Some(fault @ rustls::Error::InvalidCertificate(_)) = fault {
            return Some(fault.to_string());
        }
        cause = inner.map(|inner| inner as &dyn std::error::Error).or_else(|| deeper.source());
    }
    None
}

/// The usual checks, for the host that was meant; and the identity.
#[derive(Debug)]
struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    host: ServerName<'static>,
    identity: Identity,
}

impl Verifier {
    /// Any name of the SPIFFE scheme, however it is written, must be the one.
    fn has_identity(&self, certificate: &Certificate) -> bool {
        let spiffe =
            |uri: &&String| uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"));
        certificate
            .names
            .uris
            .iter()
            .filter(spiffe)
            .all(|uri| Identity::parse(uri).as_ref() == Ok(&self.identity))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(certificate, intermediates, &self.host, ocsp, now)?;
        let parsed = Certificate::parse(certificate.clone().into_owned())
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.has_identity(&parsed) {
            Ok(verified)
        } else {
            let other = std::io::Error::other(format!("its identity is not {}", self.identity));
            let other = rustls::OtherError(Arc::new(other));
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
