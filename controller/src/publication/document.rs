//! Documents of blueprints: what is sent, and the checksum that tells two apart (contract D10, D11); pure.

use serde_json::{Value, value::RawValue};
use sha2::{Digest as _, Sha256};

/// A document to publish.
#[derive(Clone, Debug)]
pub struct Document {
    /// As it is sent: the text as the user wrote it, so that the central node judges that and nothing else.
    pub text: Box<RawValue>,
    /// Checksum of its canonical form (RFC 8785), `sha256:` and 64 hex digits.
    pub checksum: String,
}

/// Why there is no document. The text tells the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No such ConfigMap or key.
    #[error(
        "ConfigMap {name} has no key {key} in its data, or does not exist: create it in namespace {namespace}"
    )]
    ConfigMap {
        /// The ConfigMap.
        name: String,
        /// The key.
        key: String,
        /// Where it is looked for.
        namespace: String,
    },
    /// Not a JSON object.
    #[error("{place} is not a JSON object: {problem}")]
    NotAnObject {
        /// Where it stands.
        place: String,
        /// What it is.
        problem: String,
    },
}

impl Missing {
    /// Reason of the condition.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ConfigMap { .. } => "ConfigMapNotFound",
            Self::NotAnObject { .. } => "InvalidDocument",
        }
    }
}

impl Document {
    /// A document from the text of a JSON object that stands at `place`.
    ///
    /// # Errors
    /// [`Missing::NotAnObject`].
    pub fn parse(text: &str, place: &str) -> Result<Self, Missing> {
        let wrong = |problem: String| Missing::NotAnObject { place: place.to_owned(), problem };
        let text: Box<RawValue> = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let value: Value = serde_json::from_str(text.get()).map_err(|error| wrong(error.to_string()))?;
        if !value.is_object() {
            return Err(wrong(format!("it is {}", kind(&value))));
        }
        let canonical = serde_json_canonicalizer::to_vec(&value).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { text, checksum: format!("sha256:{}", hex::encode(Sha256::digest(canonical))) })
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use sorcha_node::register::canonical;

    use super::*;

    #[test]
    fn the_checksum_is_the_nodes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../blueprints");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut texts: Vec<String> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        assert!(texts.len() > 5, "the samples are there");
        texts.push(
            r#"{"z": 1.0, "a": [1e21, "\u00e9\ud83d\ude00", null, -0.0, 0.1], "\u20ac": {}}"#.to_owned(),
        );
        for text in texts {
            let node = canonical::Document::canonicalize(text.as_bytes()).unwrap();
            assert_eq!(Document::parse(&text, "x").unwrap().checksum, node.checksum().to_string());
        }
    }

    #[test]
    fn what_is_no_object_is_named() {
        for (text, problem) in [
            ("[1]", "it is a list"),
            ("null", "it is null"),
            ("\"{}\"", "it is a string"),
            ("{\"a\": }", "line 1 column 7"),
            ("{} {}", "trailing"),
            ("", "EOF"),
        ] {
            let error = Document::parse(text, "key a of ConfigMap b").unwrap_err();
            let told = error.to_string();
            assert!(told.starts_with("key a of ConfigMap b is not a JSON object: "), "{told}");
            assert!(told.contains(problem), "{told}");
        }
    }
}
