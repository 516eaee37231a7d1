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
    /// A number that the API server may have rounded.
    #[error(
        "{place}{pointer} is {number}, and Kubernetes keeps numbers of this size as doubles: digits may be lost that nobody sees any \
         more; write it as a string, or take the document from a ConfigMap (configMapRef), whose text is kept"
    )]
    Rounded {
        /// Where the document stands.
        place: String,
        /// JSON pointer in it.
        pointer: String,
        /// The number.
        number: String,
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
            Self::Rounded { .. } | Self::NotAnObject { .. } => "InvalidDocument",
        }
    }
}

impl Document {
    /// A document that stands in a resource, as the API server keeps it.
    ///
    /// # Errors
    /// [`Missing::Rounded`] where a number may be another one than the user wrote; as [`Document::parse`].
    pub fn inline(value: &Value, place: &str) -> Result<Self, Missing> {
        match rounded(value) {
            Some((pointer, number)) => Err(Missing::Rounded { place: place.to_owned(), pointer, number }),
            None => Self::parse(&value.to_string(), place),
        }
    }

    /// A document from the text of a JSON object that stands at `place`.
    ///
    /// # Errors
    /// [`Missing::NotAnObject`].
    pub fn parse(text: &str, place: &str) -> Result<Self, Missing> {
        let wrong = |problem: String| Missing::NotAnObject { place: place.to_owned(), problem };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text: Box<RawValue> = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let value: Value = serde_json::from_str(text.get()).map_err(|error| wrong(error.to_string()))?;
        if !value.is_object() {
            return Err(wrong(format!("it is {}", kind(&value))));
        }
        let canonical = serde_json_canonicalizer::to_vec(&value).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { text, checksum: format!("sha256:{}", hex::encode(Sha256::digest(canonical))) })
    }
}

/// The first number that may have been rounded without leaving a trace: beyond 2^53, and exact as a double. Others of this size a
/// central node refuses.
fn rounded(value: &Value) -> Option<(String, String)> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let step = |key: &str, found: (String, String)| {
        (format!("/{}{}", key.replace('~', "~0").replace('/', "~1"), found.0), found.1)
    };
    match value {
        Value::Number(number) => {
            let is_large = number.as_f64().is_some_and(|double| double.abs() >= EXACT);
            let is_kept =
                || serde_json_canonicalizer::to_string(number).is_ok_and(|text| text == number.to_string());
            (is_large && (number.is_f64() || is_kept())).then(|| (String::new(), number.to_string()))
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(place, item)| Some(step(&place.to_string(), rounded(item)?)))
        }
        Value::Object(members) => members.iter().find_map(|(key, value)| Some(step(key, rounded(value)?))),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
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
    fn a_number_that_the_api_server_may_have_rounded_is_refused_with_its_place() {
        // As it comes from the API server for 18446744073709551617, 9007199254740993.0 and 1e300.
        for number in [
            "18446744073709552000",
            "1.8446744073709552e19",
            "9007199254740992",
            "-9007199254740992",
            "1e300",
        ] {
            let value: Value =
                serde_json::from_str(&format!(r#"{{"a/b": [0.1, {{"n": {number}}}]}}"#)).unwrap();
            let error = Document::inline(&value, "spec.document").unwrap_err();
            let told = error.to_string();
            assert!(told.starts_with("spec.document/a~1b/1/n is "), "{told}");
            assert!(told.contains("write it as a string") && told.contains("configMapRef"), "{told}");
            assert_eq!(error.reason(), "InvalidDocument");
        }
        // What a node refuses is left to it, and what cannot have lost anything is taken.
        for number in ["9007199254740993", "9007199254740991", "0.1", "-1", "1e15"] {
            let value: Value = serde_json::from_str(&format!(r#"{{"n": {number}}}"#)).unwrap();
            assert!(Document::inline(&value, "spec.document").is_ok(), "{number}");
        }
    }

    #[test]
    fn a_byte_order_mark_in_a_config_map_is_no_part_of_the_document() {
        let plain = Document::parse("{\"a\":1}", "x").unwrap();
        let marked = Document::parse("\u{feff}{\"a\":1}", "x").unwrap();
        assert_eq!((marked.text.get(), &marked.checksum), (plain.text.get(), &plain.checksum));
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
