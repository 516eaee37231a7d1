//! A publication, and the answer to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Instant;

/// A publication as a caller sends it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Publication<'a> {
    /// Key of the new entry.
    pub blueprint_id: &'a str,
    /// The document.
    pub blueprint: &'a RawValue,
    /// Extra pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Who publishes; the token's name when it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_by: Option<&'a str>,
}

/// What is published now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "transactionId": "019a9f6e-7c00-7000-8000-000000000000", "blueprintId": "invoice-v1", "version": 42, "isActive": true,
    "publishedAt": "2026-11-22T09:30:00.000Z", "checksum": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
})))]
pub struct Published {
    /// Audit link of the publication or change.
    pub transaction_id: String,
    #[expect(missing_docs, reason = "the API description has none either")]
    pub blueprint_id: String,
    /// Register-wide version of the entry's newest state.
    pub version: i64,
    #[expect(missing_docs, reason = "the API description has none either")]
    pub published_at: Instant,
    #[expect(missing_docs, reason = "the API description has none either")]
    pub checksum: String,
    #[expect(missing_docs, reason = "the API description has none either")]
    pub is_active: bool,
}
