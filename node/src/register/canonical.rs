//! Blueprint documents in canonical JSON (RFC 8785), the form in which they travel and are hashed
//! (design decision 8, contract D10, D11, U8).

use std::{collections::HashSet, fmt};

use bytes::Bytes;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
};

use super::{limits, names::Checksum};

/// Integers up to this one are exact as IEEE 754 doubles, the numbers of RFC 8785.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A blueprint document: its exact bytes and their checksum.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    bytes: Bytes,
    checksum: Checksum,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes, {})", self.bytes.len(), self.checksum)
    }
}

impl Document {
    /// Brings a JSON text into canonical form.
    ///
    /// # Errors
    /// [`InvalidDocument`] when it is not one JSON object, names a key twice, holds a number that would change
    /// its value, or is over the limit of 16 MB. Nothing is silently altered: what is accepted has one meaning.
    pub fn canonicalize(json: &[u8]) -> Result<Self, InvalidDocument> {
        // White space may only shrink; a text far over the limit is refused before it is parsed.
        if json.len() > 2 * limits::DOCUMENT_BYTES {
            return Err(InvalidDocument::TooLarge { actual: json.len() });
        }
        check_unambiguous(json)?;
        let value: serde_json::Value = serde_json::from_slice(json).map_err(InvalidDocument::Syntax)?;
        if !value.is_object() {
            return Err(InvalidDocument::NotAnObject);
        }
        let bytes = serde_json_canonicalizer::to_vec(&value).map_err(InvalidDocument::Syntax)?;
        if bytes.len() > limits::DOCUMENT_BYTES {
            return Err(InvalidDocument::TooLarge { actual: bytes.len() });
        }
        Ok(Self::from_received(bytes.into()))
    }

    /// Takes bytes as another node sent or a store kept them; they are hashed, not parsed.
    #[must_use]
    pub fn from_received(bytes: Bytes) -> Self {
        Self { checksum: Checksum::of(&bytes), bytes }
    }

    /// The bytes, exactly.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub const fn checksum(&self) -> Checksum {
        self.checksum
    }
}

/// Why a text is not acceptable as a blueprint document.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDocument {
    /// Not JSON, or JSON with two readings (a duplicate key, an inexact number).
    #[error("the document is not unambiguous JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// JSON, but not an object.
    #[error("the document is not a JSON object")]
    NotAnObject,
    /// Over the contract's limit.
    #[error("the document has {actual} bytes; the limit is {} (16 MB)", limits::DOCUMENT_BYTES)]
    TooLarge {
        /// Size found, bytes.
        actual: usize,
    },
}

fn check_unambiguous(json: &[u8]) -> Result<(), InvalidDocument> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Unambiguous.deserialize(&mut reader).and_then(|()| reader.end()).map_err(InvalidDocument::Syntax)
}

/// Walks a JSON text and fails where parsers may disagree about its meaning.
struct Unambiguous;

impl<'de> DeserializeSeed<'de> for Unambiguous {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Accepts an integer whose digits canonical JSON keeps.
fn check_integer<E: serde::de::Error>(
    number: impl fmt::Display,
    magnitude: u64,
    double: f64,
) -> Result<(), E> {
    let keeps_digits =
        || serde_json_canonicalizer::to_string(&double).is_ok_and(|text| text == number.to_string());
    if magnitude <= MAX_SAFE_INTEGER || keeps_digits() {
        return Ok(());
    }
    Err(E::custom(format_args!(
        "the integer {number} is beyond ±(2^53 - 1) and would lose digits in canonical JSON (RFC 8785); write it as a string"
    )))
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        check_integer(number, number.unsigned_abs(), number as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        check_integer(number, number, number as f64)
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = members.next_key::<Key>()? {
            if key.0.contains('\0') {
                return Err(serde::de::Error::custom(format_args!(
                    "the key {:?} holds a NUL character",
                    key.0
                )));
            }
            if let Some(key) = seen.replace(key.0) {
                return Err(serde::de::Error::custom(format_args!(
                    "the key {key:?} appears twice in one object"
                )));
            }
            members.next_value_seed(Self)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Key(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        String::from_utf8(Document::canonicalize(json.as_bytes()).unwrap().bytes().to_vec()).unwrap()
    }

    fn refusal(json: &str) -> String {
        Document::canonicalize(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn follows_rfc_8785() {
        assert_eq!(
            canonical(r#" { "b" : 1.0, "a" : [ true , null ], "€": 1e2 } "#),
            r#"{"a":[true,null],"b":1,"€":100}"#
        );
        // Keys sort by UTF-16 code units: U+1F600 (a surrogate pair) before U+FB33.
        assert_eq!(canonical("{\"\u{fb33}\":1,\"\u{1F600}\":2}"), "{\"\u{1F600}\":2,\"\u{fb33}\":1}");
        assert_eq!(canonical(r#"{"n":333333333.33333329,"z":-0.0}"#), r#"{"n":333333333.3333333,"z":0}"#);
    }

    #[test]
    fn same_value_same_checksum() {
        let a = Document::canonicalize(br#"{"x":1,"y":2}"#).unwrap();
        let b = Document::canonicalize(b"{ \"y\" : 2, \"x\" : 1 }").unwrap();
        assert_eq!(a.checksum(), b.checksum());
    }

    #[test]
    fn refuses_what_has_two_readings() {
        assert!(refusal(r#"{"a":1,"a":2}"#).contains("\"a\" appears twice"));
        assert!(refusal(r#"{"a":{"b":1,"b":1}}"#).contains("appears twice"));
        assert!(refusal(r#"{"n":9007199254740993}"#).contains("write it as a string"));
        assert!(refusal(r#"{"n":-9007199254740993}"#).contains("write it as a string"));
        assert!(refusal("[]").contains("not a JSON object"));
        assert!(refusal(r#"{"a":1} {"#).contains("trailing"));
        assert!(refusal("{\"a\\u0000\":1}").contains("NUL"));
        assert!(refusal("").contains("EOF"));
        assert!(refusal(&format!("{}{}", "[".repeat(500), "]".repeat(500))).contains("recursion"));
    }

    #[test]
    fn refuses_a_document_over_the_limit_by_its_canonical_size() {
        let text = |size: usize| format!("{{\"d\":\"{}\"}}", "x".repeat(size));
        let overhead = text(0).len();
        assert!(Document::canonicalize(text(limits::DOCUMENT_BYTES - overhead).as_bytes()).is_ok());
        let over =
            Document::canonicalize(text(limits::DOCUMENT_BYTES - overhead + 1).as_bytes()).unwrap_err();
        assert!(over.to_string().contains("16777217"), "{over}");
    }

    proptest::proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point(map in proptest::collection::btree_map(".{0,8}", proptest::num::f64::NORMAL, 0..8)) {
            let json = serde_json::to_vec(&map).unwrap();
            if let Ok(first) = Document::canonicalize(&json) {
                let second = Document::canonicalize(first.bytes()).unwrap();
                proptest::prop_assert_eq!(first, second);
            }
        }
    }
}
