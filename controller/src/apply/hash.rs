//! The hash by which a setting that was removed from a desired object is noticed.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cache::Cached;

/// Annotation with the hash of the desired object.
pub(crate) const HASH_ANNOTATION: &str = "sorcha.dev/desired-hash";

/// Hash that the annotation of an applied object has.
///
/// # Errors
/// When the object can't be written as JSON, which no object of Kubernetes does.
pub(crate) fn hash_of<K: Cached + Serialize>(desired: &K) -> Result<String, serde_json::Error> {
    hashed(desired).map(|(_, hash)| hash)
}

/// The desired object as JSON, with its hash as an annotation.
pub(super) fn hashed<K: Cached + Serialize>(desired: &K) -> Result<(Value, String), serde_json::Error> {
    let mut value = serde_json::to_value(desired)?;
    let hash = hex::encode(&Sha256::digest(value.to_string())[..16]);
    value["metadata"]["annotations"][HASH_ANNOTATION] = Value::String(hash.clone());
    Ok((value, hash))
}
