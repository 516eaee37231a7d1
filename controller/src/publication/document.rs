//! Documents of blueprints: what is sent, and the checksum that tells two apart (protocol D10, D11); pure.
//!
//! A document is read as it stands and never as a tree of values, which takes a hundred times its length. Its text gets into no
//! message.

use std::{fmt, ops::Range, sync::Arc};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::rounded::rounded;
use crate::feed::object::form;

/// A document to publish.
#[derive(Clone)]
pub struct Document {
    /// As it is sent: the text as the user wrote it, so that the central node judges that and nothing else.
    pub text: Arc<RawValue>,
    /// Checksum of its canonical form (RFC 8785), `sha256:` and 64 hex digits.
    pub checksum: String,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes, {})", self.text.get().len(), self.checksum)
    }
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
        "{place}{pointer} is {number}, and Kubernetes keeps numbers of this size as doubles, which may have lost digits: \
         write it as a string, or take the document from a ConfigMap (configMapRef), whose text is kept"
    )]
    Rounded {
        /// Where the document stands.
        place: String,
        /// JSON pointer in it.
        pointer: String,
        /// The number.
        number: String,
    },
    /// Its owner has not said that it may be published.
    #[error(
        "ConfigMap {name} lacks the label {PUBLISH_LABEL}=true, without which it is not published: add the label to the ConfigMap"
    )]
    NotReleased {
        /// The ConfigMap.
        name: String,
    },
    /// Not a JSON object.
    #[error("{place} is not a JSON object: {problem}")]
    NotAnObject {
        /// Where it stands.
        place: String,
        /// What it is.
        problem: String,
    },
    /// It was not read, because what is known of it from before may be enough.
    #[error("the document has not been read")]
    NotRead,
}

/// Label of ConfigMaps that may be published, with the value `true`: who writes a `SorchaBlueprint` may not be one who may
/// read the ConfigMap that it names.
pub(crate) const PUBLISH_LABEL: &str = "sorcha.dev/publish";

/// Where the document of a resource stands that has one itself.
pub(crate) const IN_RESOURCE: &str = "spec.document";

impl Missing {
    /// Whether the resource itself is what must change.
    #[must_use]
    pub(crate) fn is_in_resource(&self) -> bool {
        matches!(self, Self::NotAnObject { place, .. } if place == IN_RESOURCE)
    }

    /// Reason of the condition.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ConfigMap { .. } => "ConfigMapNotFound",
            Self::NotReleased { .. } => "ConfigMapNotReleased",
            Self::Rounded { .. } | Self::NotAnObject { .. } => "InvalidDocument",
            Self::NotRead => "NotRead",
        }
    }
}

impl Document {
    /// A document that stands in a resource, as the API server keeps it.
    ///
    /// # Errors
    /// [`Missing::Rounded`] where a number may be another one than the user wrote; as [`Document::parse`].
    pub(crate) fn inline(text: &str, place: &str) -> Result<Self, Missing> {
        match rounded(text) {
            Some((pointer, number)) => Err(Missing::Rounded { place: place.to_owned(), pointer, number }),
            None => Self::parse(text, place),
        }
    }

    /// A document from the text of a JSON object that stands at `place`.
    ///
    /// # Errors
    /// [`Missing::NotAnObject`].
    pub fn parse(text: &str, place: &str) -> Result<Self, Missing> {
        let wrong = |problem: String| Missing::NotAnObject { place: place.to_owned(), problem };
        let told = |error: serde_json::Error| wrong(format!("it {}", form(&error)));
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text: Box<RawValue> = serde_json::from_str(text).map_err(told)?;
        let (mut canonical, mut reader) = (Vec::new(), serde_json::Deserializer::from_str(text.get()));
        Canonical(&mut canonical).deserialize(&mut reader).map_err(told)?;
        if !canonical.starts_with(b"{") {
            return Err(wrong(format!("it is {}", kind(&canonical))));
        }
        let checksum = format!("sha256:{}", hex::encode(Sha256::digest(canonical)));
        Ok(Self { text: text.into(), checksum })
    }
}

const fn kind(canonical: &[u8]) -> &'static str {
    match canonical.first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "a list",
        _ => "a number",
    }
}

/// Writes a value's canonical form. It is as deep as the reader lets it be, 127 levels.
struct Canonical<'a>(&'a mut Vec<u8>);

impl Canonical<'_> {
    fn scalar<T: serde::Serialize, E: serde::de::Error>(self, value: &T) -> Result<(), E> {
        serde_json_canonicalizer::to_writer(value, self.0).map_err(|_| E::custom("no canonical form"))
    }
}

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Canonical<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar(&())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        let mut end = self.0.len();
        while list.next_element_seed(Canonical(self.0))?.is_some() {
            end = self.0.len();
            self.0.push(b',');
        }
        self.0.truncate(end);
        self.0.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (start, mut members) = (self.0.len(), Vec::<(String, Range<usize>)>::new());
        while let Some(key) = map.next_key::<String>()? {
            let from = self.0.len() - start;
            serde_json_canonicalizer::to_writer(&key, self.0)
                .map_err(|_| A::Error::custom("no canonical form"))?;
            self.0.push(b':');
            map.next_value_seed(Canonical(self.0))?;
            members.push((key, from..self.0.len() - start));
        }
        let text = self.0.split_off(start);
        members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        self.0.push(b'{');
        for (number, (key, place)) in members.iter().enumerate() {
            // Of a key that comes twice the last one counts, until a central node refuses the document.
            if members.get(number + 1).is_some_and(|(next, _)| next == key) {
                continue;
            }
            self.0.extend_from_slice(text.get(place.clone()).unwrap_or_default());
            self.0.push(b',');
        }
        if !members.is_empty() {
            self.0.pop();
        }
        self.0.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests;
