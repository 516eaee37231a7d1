//! Entries and a genesis for tests, of this crate and of those above it.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::collections::BTreeMap;

use crate::{
    canonical::Document,
    entry::Entry,
    lineage::Genesis,
    names::{BlueprintId, Version},
};
use ed25519_dalek::SigningKey;

use crate::clock::Timestamp;

/// An entry for tests: its document and metadata depend on id and version.
#[must_use]
pub fn entry(id: &str, version: i64) -> Entry {
    Entry {
        blueprint_id: BlueprintId::new(id).unwrap(),
        version: Version::new("version", version).unwrap(),
        document: Document::canonicalize(format!(r#"{{"id":"{id}","name":"Blueprint {id}"}}"#).as_bytes())
            .unwrap(),
        published_at: Timestamp::from_millis(1_700_000_000_000_i64.saturating_add(version)),
        published_by: "tester".into(),
        is_active: true,
        transaction_id: format!("tx-{version}"),
        metadata: BTreeMap::from([("category".into(), "test".into()), ("tags".into(), "a,b".into())]),
        trace_parent: String::new(),
    }
}

/// A genesis that depends on `seed` alone.
#[must_use]
pub fn genesis(seed: u8) -> Genesis {
    let key = SigningKey::from_bytes(&[seed; 32]);
    Genesis::create("n0.sorcha.dev", &key, Timestamp::from_millis(1_700_000_000_000)).unwrap()
}
