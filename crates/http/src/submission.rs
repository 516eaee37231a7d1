//! The body of a publication: what it may have, and how it is read without a copy of its document.

use std::{collections::BTreeMap, fmt};

use axum::body::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sorcha_register::{entry, limits, names::check_length};
use utoipa::ToSchema;

use super::{body, problem::Problem};

/// A blueprint to publish.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "blueprintId": "invoice-v1", "metadata": {"category": "finance"},
    "blueprint": {"@context": "https://sorcha.dev/blueprints/v1", "id": "invoice-v1", "name": "Invoice"}
}))]
pub(super) struct PublishRequest<'b> {
    /// Key of the new entry; published once.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[a-zA-Z0-9\-_]+$")]
    blueprint_id: String,
    /// The document: any JSON object of up to 16 MB in canonical form.
    #[schema(value_type = Object)]
    #[serde(borrow)]
    blueprint: &'b RawValue,
    /// Checked and otherwise unused: the register has no place for it.
    #[serde(default)]
    #[schema(max_length = 255)]
    previous_transaction_id: Option<String>,
    /// Extra pairs, up to 4096 bytes of keys and values together.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    metadata: Option<Metadata>,
    /// Who publishes; the token's name when it is not given. A Kubernetes identity publishes as itself only.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 255)]
    published_by: Option<String>,
}

/// Pairs as they are sent; of too many no more are kept than it takes to refuse them.
#[derive(Default)]
pub(super) struct Metadata {
    pub(super) pairs: BTreeMap<String, String>,
    bytes: usize,
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            self.bytes += key.len() + value.len();
            if self.bytes > limits::METADATA_BYTES {
                continue;
            }
            if self.pairs.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} appears twice in metadata")));
            }
            self.pairs.insert(key, value);
        }
        Ok(self)
    }
}

/// A publication as it was sent.
pub(super) struct Asked {
    pub(super) blueprint_id: String,
    /// A part of the body.
    pub(super) document: Bytes,
    pub(super) published_by: Option<String>,
    pub(super) metadata: Metadata,
}

impl Asked {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Problem`] naming the place, or the field and its limit.
    pub(super) fn parse(body: &Bytes) -> Result<Self, Problem> {
        let request: PublishRequest<'_> = body::parse(body)?;
        if let Some(id) = &request.previous_transaction_id {
            check_length("previous_transaction_id", id, limits::TRANSACTION_ID_CHARS)?;
        }
        let metadata = request.metadata.unwrap_or_default();
        entry::check_metadata_bytes(metadata.bytes)?;
        Ok(Self {
            blueprint_id: request.blueprint_id,
            document: body.slice_ref(request.blueprint.get().as_bytes()),
            published_by: request.published_by,
            metadata,
        })
    }
}
