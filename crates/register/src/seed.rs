//! The seed entry `register-creation-v1` (protocol section 6.8).

use std::collections::BTreeMap;

use super::{
    canonical::{Document, InvalidDocument},
    names::BlueprintId,
};

/// Id of the seed entry.
pub const ID: &str = "register-creation-v1";
/// Publisher of the seed entry.
pub const PUBLISHER: &str = "system";

const DOCUMENT: &str = include_str!("register-creation-v1.json");

/// The seed's id, document and metadata.
///
/// # Errors
/// [`SeedError`] when the compiled-in document is invalid, which a test excludes.
pub fn seed() -> Result<(BlueprintId, Document, BTreeMap<String, String>), SeedError> {
    let metadata = [("category", "register"), ("type", "creation"), ("isDefault", "true")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok((BlueprintId::new(ID)?, Document::canonicalize(DOCUMENT.as_bytes())?, BTreeMap::from(metadata)))
}

/// The compiled-in seed is not valid.
#[derive(Debug, thiserror::Error)]
#[error("the compiled-in seed blueprint is not valid")]
pub enum SeedError {
    /// Its id is not.
    Id(#[from] super::names::InvalidField),
    /// Its document is not.
    Document(#[from] InvalidDocument),
}

#[cfg(test)]
mod tests {
    #[test]
    fn has_the_contracts_shape() {
        let (id, document, metadata) = super::seed().unwrap();
        let json: serde_json::Value = serde_json::from_slice(document.bytes()).unwrap();
        assert_eq!(json["id"], id.as_str());
        assert_eq!(json["@context"], "https://sorcha.dev/blueprints/v1");
        assert_eq!(json["version"], "1.0.0");
        let actions: Vec<_> =
            json["actions"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap()).collect();
        assert_eq!(actions, ["validate-request", "create-register", "publish-transaction"]);
        assert_eq!(metadata["isDefault"], "true");
    }
}
