//! Whether certificates are of a kind that nodes can use: what can't work is told at start, in words, and not by the first peer that
//! fails. Pure.

use tokio_rustls::rustls::{crypto::WebPkiSupportedAlgorithms, pki_types::CertificateDer};
use x509_cert::{
    Certificate,
    certificate::Version,
    der::{Decode as _, Encode as _, asn1::ObjectIdentifier},
    ext::pkix::BasicConstraints,
    spki::AlgorithmIdentifierOwned,
};

/// What a key has to be.
pub(super) const KEYS: &str = "a P-256, P-384, Ed25519 or RSA key (2,048 bits or more)";
/// A public RSA key of 2,048 bits has so many bytes at the least.
const RSA_BYTES: usize = 256;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Names of what is met most often of that which can't be used.
const UNUSABLE: [(ObjectIdentifier, &str); 8] = [
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "P-521"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.10"), "secp256k1"),
    (ObjectIdentifier::new_unwrap("1.3.101.113"), "Ed448"),
    (ObjectIdentifier::new_unwrap("1.2.840.10040.4.1"), "DSA"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), "ECDSA with SHA-512"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), "ECDSA with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), "RSA with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), "RSA with MD5"),
];

/// Whether others can take a certificate from a node.
///
/// # Errors
/// What stands in the way, and what to do about it.
pub(super) fn leaf(der: &CertificateDer<'_>, known: &WebPkiSupportedAlgorithms) -> Result<(), String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    if certificate.tbs_certificate().version() != Version::V3 {
        return Err("it is an X.509 certificate of version 1 or 2, which states no names; have it issued as version 3, with subject \
             alternative names (openssl x509 -req … -extfile)"
            .to_owned());
    }
    key(&certificate, known)?;
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    if let Ok(Some((_, BasicConstraints { ca: true, .. }))) = constraints {
        return Err("it is a CA's own (CA:TRUE), and nodes refuse that from each other; name it in tls.ca_file, and have it issue \
             this node a certificate with CA:FALSE, which comes first in this file"
            .to_owned());
    }
    let algorithm = certificate.signature_algorithm();
    if !known.all.iter().any(|known| known.signature_alg_id().as_ref() == content(algorithm)) {
        return Err(format!(
            "it is signed with {}, which nodes can't verify; have it issued by a CA that has {KEYS} and signs with SHA-256 or SHA-384",
            name(algorithm)
        ));
    }
    Ok(())
}

/// Whether anything that a CA has signed can be verified.
///
/// # Errors
/// Why not.
pub(super) fn authority(der: &CertificateDer<'_>, known: &WebPkiSupportedAlgorithms) -> Result<(), String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    key(&certificate, known)
}

fn key(certificate: &Certificate, known: &WebPkiSupportedAlgorithms) -> Result<(), String> {
    let key = certificate.tbs_certificate().subject_public_key_info();
    let remedy = format!("nodes can't use that: make {KEYS}, and a certificate for it");
    if !known.all.iter().any(|known| known.public_key_alg_id().as_ref() == content(&key.algorithm)) {
        return Err(format!("its key is of the kind {}; {remedy}", name(&key.algorithm)));
    }
    if key.algorithm.oid == RSA && key.subject_public_key.raw_bytes().len() < RSA_BYTES {
        return Err(format!("its key is RSA of fewer than 2,048 bits; {remedy}"));
    }
    Ok(())
}

/// An algorithm as rustls compares it: without the tag and length around it, which has one byte.
fn content(algorithm: &AlgorithmIdentifierOwned) -> Vec<u8> {
    algorithm.to_der().map(|der| der.get(2..).unwrap_or_default().to_vec()).unwrap_or_default()
}

fn name(algorithm: &AlgorithmIdentifierOwned) -> String {
    let curve = algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let oid = curve.unwrap_or(algorithm.oid);
    let known = UNUSABLE.iter().find(|(known, _)| *known == oid);
    known.map_or_else(|| oid.to_string(), |(_, name)| (*name).to_owned())
}
