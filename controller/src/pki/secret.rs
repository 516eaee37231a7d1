//! How authorities and certificates lie in Secrets; pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};
use sorcha_crds::{ROTATE_CA_ANNOTATION, ROTATE_CERTIFICATE_ANNOTATION};

use super::{
    authority::{Authority, Held, Phase},
    issue::{Key, Pair},
    leaf::Leaf,
    x509::{self, CertificateFault},
};
pub(crate) use crate::names::tls_key::{CERTIFICATE, KEY, TRUST};

/// Type of the Secrets.
pub(crate) const TYPE: &str = "kubernetes.io/tls";

/// Keys that are read here.
pub(crate) const KEYS: [&str; 5] = [CERTIFICATE, KEY, TRUST, PREVIOUS_CERTIFICATES, PREVIOUS_KEY];

const PREVIOUS_CERTIFICATES: &str = "previous.crt";
const PREVIOUS_KEY: &str = "previous.key";
const PHASE: &str = "sorcha.dev/ca-phase";
const OUTSIDE_UNTIL: &str = "sorcha.dev/outside-until";
const PREVIOUS_UNTIL: &str = "sorcha.dev/previous-until";
const REQUESTS_DONE: &str = "sorcha.dev/rotate-ca-done";
const WRITTEN: &str = "sorcha.dev/written-at";

/// Annotation of the authority's Secret until when a certificate lives that was given to a node outside the cluster.
pub(crate) const OUTSIDE_UNTIL_ANNOTATION: &str = OUTSIDE_UNTIL;

/// Data and annotations that a Secret is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Values by key.
    pub data: BTreeMap<String, Vec<u8>>,
    /// Annotations; `None`: it must not be there.
    pub annotations: BTreeMap<&'static str, Option<String>>,
}

pub(crate) fn value<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[], |value| &value.0)
}

fn instant(secret: &Secret, annotation: &str) -> Option<Timestamp> {
    secret.annotations().get(annotation)?.parse().ok()
}

/// The authority that a Secret holds.
///
/// # Errors
/// What can't be read. Such a Secret is never written over: whoever holds the key could still repair it.
pub(crate) fn read_authority(secret: &Secret) -> Result<Authority, CertificateFault> {
    let chain = x509::read(value(secret, CERTIFICATE)).map_err(|fault| named(CERTIFICATE, &fault))?;
    x509::check_key(&chain, value(secret, KEY)).map_err(|fault| named(KEY, &fault))?;
    let certificate = chain.into_iter().next().filter(|certificate| certificate.is_ca);
    let certificate =
        certificate.ok_or_else(|| CertificateFault(format!("{CERTIFICATE} is no authority's")))?;
    let previous = match value(secret, PREVIOUS_CERTIFICATES) {
        [] => Vec::new(),
        pem => x509::read(pem).map_err(|fault| named(PREVIOUS_CERTIFICATES, &fault))?,
    };
    let previous_key = match value(secret, PREVIOUS_KEY) {
        [] => None,
        pem => {
            x509::check_key(&previous, pem).map_err(|fault| named(PREVIOUS_KEY, &fault))?;
            Some(key(pem)?)
        }
    };
    let phase = match secret.annotations().get(PHASE).map(String::as_str) {
        Some("Distributing") => Phase::Distributing,
        Some("Replacing") => Phase::Replacing,
        // With an old authority in it, nothing is forgotten because of an annotation that is gone.
        _ if previous_key.is_some() => Phase::Distributing,
        _ if !previous.is_empty() => Phase::Replacing,
        _ => Phase::Stable,
    };
    let done = secret.annotations().get(REQUESTS_DONE);
    Ok(Authority {
        newest: Pair { certificate, key: key(value(secret, KEY))? },
        previous,
        previous_key,
        phase,
        outside_until: instant(secret, OUTSIDE_UNTIL),
        previous_until: instant(secret, PREVIOUS_UNTIL),
        done: done.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default(),
    })
}

fn named(key: &str, fault: &CertificateFault) -> CertificateFault {
    CertificateFault(format!("{key}: {fault}"))
}

fn key(pem: &[u8]) -> Result<Key, CertificateFault> {
    String::from_utf8(pem.to_vec())
        .map(Key::new)
        .map_err(|_| CertificateFault("a key is not text".to_owned()))
}

/// What an authority's Secret is to hold.
#[must_use]
pub(crate) fn authority_content(authority: &Authority) -> Content {
    let mut content = Content::default();
    let mut put = |key: &str, value: &str| content.data.insert(key.to_owned(), value.as_bytes().to_vec());
    put(CERTIFICATE, &authority.newest.certificate.pem());
    put(KEY, authority.newest.key.pem());
    put(TRUST, &authority.bundle());
    if !authority.previous.is_empty() {
        put(PREVIOUS_CERTIFICATES, &x509::bundle(&authority.previous));
    }
    if let Some(key) = &authority.previous_key {
        put(PREVIOUS_KEY, key.pem());
    }
    let phase = match authority.phase {
        Phase::Stable => None,
        Phase::Distributing => Some("Distributing".to_owned()),
        Phase::Replacing => Some("Replacing".to_owned()),
    };
    let done =
        (!authority.done.is_empty()).then(|| serde_json::to_string(&authority.done).unwrap_or_default());
    content.annotations = BTreeMap::from([
        (PHASE, phase),
        (OUTSIDE_UNTIL, authority.outside_until.map(|at| at.to_string())),
        (PREVIOUS_UNTIL, authority.previous_until.map(|at| at.to_string())),
        (REQUESTS_DONE, done),
    ]);
    content
}

/// Longest value of an annotation that is kept as it is, bytes.
const TOKEN_BYTES: usize = 128;

/// The value of an annotation that asks for something, by which one request is told from another; of a long one its hash.
#[must_use]
pub(crate) fn token(value: &str) -> String {
    if value.len() <= TOKEN_BYTES {
        return value.to_owned();
    }
    format!("sha256:{}", hex::encode(Sha256::digest(value)))
}

/// Requests for a new authority that stand on objects.
#[must_use]
pub(crate) fn request(object: &impl kube::ResourceExt) -> Option<String> {
    let value = object.annotations().get(ROTATE_CA_ANNOTATION)?;
    (!value.is_empty()).then(|| token(value))
}

/// All requests: on the resources, and on the Secret.
#[must_use]
pub(crate) fn requests<'a>(
    on_resources: impl IntoIterator<Item = &'a String>,
    secret: Option<&Secret>,
) -> BTreeSet<String> {
    on_resources.into_iter().cloned().chain(secret.and_then(request)).collect()
}

/// The certificate that a Secret holds.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_leaf(secret: &Secret) -> Result<Leaf, CertificateFault> {
    let leaf = Leaf::read(value(secret, CERTIFICATE), value(secret, KEY), value(secret, TRUST))?;
    Ok(Leaf {
        token: secret.annotations().get(ROTATE_CERTIFICATE_ANNOTATION).cloned(),
        written: instant(secret, WRITTEN),
        ..leaf
    })
}

/// What a change of authorities asks about a Secret; one that can't be read is behind.
#[must_use]
pub(crate) fn held(name: &str, secret: Option<&Secret>) -> Held {
    let text = |secret: &Secret| String::from_utf8_lossy(value(secret, TRUST)).into_owned();
    let issuer = |secret: &Secret| Some(x509::read(value(secret, CERTIFICATE)).ok()?.first()?.issuer.clone());
    Held {
        name: name.to_owned(),
        trust: secret.map(text),
        issuer: secret.and_then(issuer),
        written: secret.and_then(|secret| instant(secret, WRITTEN)),
    }
}

/// What the Secret of a certificate is to hold.
#[must_use]
pub(crate) fn leaf_content(leaf: &Leaf) -> Content {
    let data = [
        (CERTIFICATE, leaf.pair.certificate.pem()),
        (KEY, leaf.pair.key.pem().to_owned()),
        (TRUST, leaf.trust.clone()),
    ];
    Content {
        data: data.into_iter().map(|(key, value)| (key.to_owned(), value.into_bytes())).collect(),
        annotations: BTreeMap::from([
            (ROTATE_CERTIFICATE_ANNOTATION, leaf.token.clone()),
            (WRITTEN, leaf.written.map(|at| at.to_string())),
        ]),
    }
}

/// A Secret as it is to be: what is held, with content, labels and owners put right. Labels and annotations of others stay.
#[must_use]
pub(crate) fn wanted(held: Option<&Secret>, metadata: kube::api::ObjectMeta, content: Content) -> Secret {
    let mut secret = held.cloned().unwrap_or_default();
    secret.metadata.name = metadata.name;
    secret.metadata.namespace = metadata.namespace;
    secret.metadata.owner_references = metadata.owner_references.filter(|owners| !owners.is_empty());
    secret.metadata.labels.get_or_insert_default().extend(metadata.labels.unwrap_or_default());
    let annotations = secret.metadata.annotations.get_or_insert_default();
    for (key, value) in content.annotations {
        match value {
            Some(value) => annotations.insert(key.to_owned(), value),
            None => annotations.remove(key),
        };
    }
    if annotations.is_empty() {
        secret.metadata.annotations = None;
    }
    secret.type_.get_or_insert_with(|| TYPE.to_owned());
    secret.string_data = None;
    secret.data = Some(content.data.into_iter().map(|(key, value)| (key, ByteString(value))).collect());
    secret
}
